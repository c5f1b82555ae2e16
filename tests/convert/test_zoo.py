"""Whole model zoos, converted: MXNet's own, and gluoncv2 where `make bench` put it."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from benchmarks import cases
from d2lutils.compat import mx
from d2lutils.porting import convert

pytestmark = pytest.mark.rare

#: MXNet's nets by the smallest size that is tried; together they are its whole zoo.
MXNET = {
    **{f"resnet{n}_v{v}": 64 for n in (18, 34, 50, 101, 152) for v in (1, 2)},
    **{f"vgg{n}{norm}": 32 for n in (11, 13, 16, 19) for norm in ("", "_bn")},
    **{f"mobilenet{v}{w}": 64 for v in ("", "v2_") for w in (0.25, 0.5, 0.75, 1.0)},
    **{f"densenet{n}": 224 for n in (121, 161, 169, 201)},
    **{"squeezenet1.0": 224, "squeezenet1.1": 224, "alexnet": 224, "inceptionv3": 299},
}
#: Nets of many families, by gluoncv2's module.
GLUONCV2 = {
    "alexnet": "alexnet",
    "bn_vgg11b": "vgg",
    "resnet18": "resnet",
    "preresnet18": "preresnet",
    "seresnet18": "seresnet",
    "sepreresnet18": "sepreresnet",
    "resnext14_16x4d": "resnext",
    "bam_resnet18": "bamresnet",
    "cbam_resnet18": "cbamresnet",
    "resattnet56": "resattnet",
    "sknet50": "sknet",
    "mobilenet_wd4": "mobilenet",
    "mobilenetv2_wd4": "mobilenetv2",
    "shufflenet_g1_wd4": "shufflenet",
    "shufflenetv2_wd2": "shufflenetv2",
    "menet108_8x1_g3": "menet",
    "squeezenet_v1_1": "squeezenet",
    "squeezeresnet_v1_1": "squeezenet",
    "densenet121": "densenet",
    "peleenet": "peleenet",
    "dpn68": "dpn",
    "darknet_ref": "darknet",
    "channelnet": "channelnet",
    "igcv3_wd4": "igcv3",
    "fbnet_cb": "fbnet",
    "proxylessnas_cpu": "proxylessnas",
    "efficientnet_b0": "efficientnet",
    "mixnet_s": "mixnet",
    "ghostnet": "ghostnet",
}


def check(net: Any, size: int) -> None:
    """Converted, the net is the same at every node and overall."""
    mx.random.seed(0)
    net.initialize(mx.init.Xavier())
    net.hybridize()
    shape = 1, 3, size, size
    net(mx.nd.random.normal(shape=shape))
    proof = convert.to_pytorch(net, inputs={"data": shape}).proof
    assert proof is not None
    assert not proof.apart, proof
    assert not proof.reason, proof
    worst = max(proof.differences.values())
    assert worst < (1e-5 if proof.single else 1e-10), proof


@pytest.mark.parametrize("name", MXNET)
def test_mxnet(name: str) -> None:
    check(mx.gluon.model_zoo.vision.get_model(name, classes=10), MXNET[name])


@pytest.mark.parametrize("name", GLUONCV2)
def test_gluoncv2(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package is of 2020
        net = cases.public_net("gluoncv2", GLUONCV2[name], name)
    if net is None:
        pytest.skip("gluoncv2 is not installed; `make bench` gets it")
    check(net, 224)
