"""The memory ledger: the bytes that one training step of NiN takes.

It opens with NiN at 224, Adam and 64 images: 499.02 MiB, red. In-place ReLU does not
shorten the bar. Half precision does not halve it, because PyTorch stores the place of
each maximum in 8 bytes. 32 images just miss the goal with Adam and with momentum, but
fit with plain SGD, or in Gluon, which stores a place in 4 bytes.

The numbers are those of `d2lutils.ledger`, computed from a plain list of layers;
tests/parity/test_memory.py compares the two.
"""

from __future__ import annotations

from typing import Annotated, Any

from d2lutils._arguments import Bool, Positive, checked_as, one_of
from d2lutils.explorers.base import choice, number, opener, plural, slider, switch

__all__ = ["compute", "memory_ledger", "words"]

# A "block": kernel size, stride, padding, and the widths of its convolutions, each
# followed by a ReLU; "logits": the same, without the last ReLU. "max", "avg": a 3x3
# pooling with stride 2, and whether it rounds up. Every net ends in a mean of each map.
NETS: dict[str, dict[str, Any]] = {
    "nin": {
        "label": "NiN",
        "channels": 1,
        "smallest": 67,
        "plan": [
            ["block", 11, 4, 0, 96, 96, 96],
            ["max", 0],
            ["block", 5, 1, 2, 256, 256, 256],
            ["max", 0],
            ["block", 3, 1, 1, 384, 384, 384],
            ["max", 0],
            ["dropout"],
            ["block", 3, 1, 1, 10, 10, 10],
        ],
    },
    "cifar": {
        "label": "NiN for CIFAR",
        "channels": 3,
        "smallest": 6,
        "plan": [
            ["block", 5, 1, 2, 192, 160, 96],
            ["max", 1],
            ["dropout"],
            ["block", 5, 1, 2, 192, 192, 192],
            ["avg", 1],
            ["dropout"],
            ["block", 3, 1, 1, 192, 192, 10],
        ],
    },
    "small": {
        "label": "nin_small",
        "channels": 1,
        "smallest": 15,
        "plan": [
            ["block", 3, 1, 1, 24, 24, 24],
            ["max", 0],
            ["block", 5, 1, 2, 48, 48, 48],
            ["max", 0],
            ["block", 3, 1, 1, 64, 64, 64],
            ["max", 0],
            ["dropout"],
            ["logits", 3, 1, 1, 64, 64, 10],
        ],
    },
}
ITEMS = {"float32": 4, "float16": 2, "float64": 8}
STATES = {"sgd": 0, "momentum": 1, "adam": 2}
PLACES = {"pytorch": 8, "gluon": 4}  # bytes for the place of a maximum
MODES = ("training", "inference")
IMAGES, LIMIT = 32, 256 * 2**20  # the goal

WORDS = {"state": "optimiser's state", "indices": "places of maxima"}
WORDS |= {"masks": "dropout masks", "live": "largest live set"}

CONTROLS = (
    slider("size", "Image size", 28, 256),
    number("batch_size", "Batch size", 1, 256),
    choice("net", "Net", *((name, net["label"]) for name, net in NETS.items())),
    choice(
        "framework", "Framework", ("pytorch", "PyTorch"), ("gluon", "Gluon (MXNet)")
    ),
    choice(
        "optimizer",
        "Optimiser",
        ("sgd", "SGD"),
        ("momentum", "SGD, momentum"),
        ("adam", "Adam"),
    ),
    choice("dtype", "Numbers", *((name, name) for name in ITEMS)),
    choice("mode", "Mode", *((name, name) for name in MODES)),
    switch("inplace", "In-place ReLU"),
    switch("dropout", "Dropout"),
)


@checked_as("memory_ledger")
def compute(
    net: Annotated[str, one_of(NETS)] = "nin",
    framework: Annotated[str, one_of(PLACES)] = "pytorch",
    batch_size: Positive = 64,
    size: Positive = 224,
    optimizer: Annotated[str, one_of(STATES)] = "adam",
    dtype: Annotated[str, one_of(ITEMS)] = "float32",
    inplace: Bool = False,
    dropout: Bool = True,
    mode: Annotated[str, one_of(*MODES)] = "training",
) -> dict[str, Any]:
    """Bytes of one training step and of inference, as `d2lutils.ledger` counts them.

    Args:
        net: "nin" and "small" for images of one channel, "cifar" for three.
        framework: "pytorch" or "gluon".
        batch_size: images; size: their height and width.
        optimizer: "sgd", "momentum" or "adam".
        dtype: "float32", "float16" or "float64", for parameters and activations alike.
        inplace: whether ReLUs work in place (PyTorch only).
        dropout: whether dropout is on; if not, its rate is 0.
        mode: "training" or "inference": what the figure shows.

    Returns:
        A JSON-serialisable dict:

        - "settings": the arguments;
        - "error": why the net cannot take such images, else ""; with an error the only
          other key is "ok";
        - "parts": bytes of a training step after its forward pass, by name;
        - "training": the sum of the parts; "inference": bytes of the parameters and of
          the largest live set;
        - "rows": bytes that training keeps for the input and each layer: "group",
          "name", "activations", "indices", "masks";
        - "ops": bytes that each operation of inference needs at the same time: "group",
          "name", "input", "maps", "indices"; "largest": the first with the largest sum;
        - "crossover": the smallest batch whose kept bytes exceed those of parameters,
          gradients and optimiser's state together, which are "fixed"; "example": the
          bytes that each image adds;
        - "spared": bytes that in-place ReLU saves, by mode;
        - "ok": whether a training step of NiN on at least 32 images fits into 256 MiB.

    Raises:
        TypeError, ValueError: a bad argument, named. An image too small for the net is
            reported in "error" instead.
    """
    s = dict(locals())  # the arguments
    chain = NETS[net]
    if size < chain["smallest"]:
        error = (
            f"{chain['label']} needs at least {chain['smallest']} pixels, not {size}"
        )
        return {"settings": s, "error": error, "ok": False}
    torch = framework == "pytorch"
    plain, reused = _walk(s, False), _walk(s, torch)
    now = reused if inplace else plain
    fixed = now["parameters"] * (2 + STATES[optimizer])
    parts = {
        "parameters": now["parameters"],
        "gradients": now["parameters"],
        "state": now["parameters"] * STATES[optimizer],
        "input": now["rows"][0]["activations"],
    }
    for name in ("activations", "indices", "masks"):
        parts[name] = sum(row[name] for row in now["rows"][1:])
    training = sum(parts.values())
    example = (training - fixed) // batch_size
    fits = mode == "training" and batch_size >= IMAGES and training <= LIMIT
    return {
        "settings": s,
        "error": "",
        "parts": parts,
        "training": training,
        "inference": now["parameters"] + now["live"],
        "rows": now["rows"],
        "ops": now["ops"],
        "largest": now["largest"],
        "crossover": fixed // example + 1,
        "fixed": fixed,
        "example": example,
        "spared": {
            "training": plain["kept"] - reused["kept"],
            "inference": plain["live"] - reused["live"],
        },
        "ok": net == "nin" and fits,
    }


def _walk(s: dict[str, Any], inplace: bool) -> dict[str, Any]:
    """The bytes of each layer of the net; each tensor is counted at most once."""
    net, torch = NETS[s["net"]], s["framework"] == "pytorch"
    item, n, channels = ITEMS[s["dtype"]], s["size"], net["channels"]
    parameters = 0
    rows: list[dict[str, Any]] = []
    ops: list[dict[str, Any]] = []

    def places() -> int:
        return s["batch_size"] * channels * n * n

    def row(group: str, name: str, indices: int = 0, masks: int = 0) -> None:
        sizes = {"activations": 0, "indices": indices, "masks": masks}
        rows.append({"group": group, "name": name} | sizes)

    # The previous layer's output; "row" is the row of the layer that keeps it.
    now: dict[str, Any] = {"bytes": item * places(), "kept": False, "row": 0}
    tensors = [now]

    def layer(
        group: str,
        name: str,
        needs: str,
        same: bool = False,
        index: int = 0,
        mask: int = 0,
        runs: bool = True,
    ) -> None:
        """Add a layer.

        `needs`: what backward needs: "input", "output", both or neither. `same`: the
        output shares the input's memory. `index`, `mask`: bytes per output. `runs`:
        whether it also runs in inference.
        """
        nonlocal now
        read = 0 if now is tensors[0] else now["bytes"]
        written = item * places()
        now["kept"] |= "input" in needs
        if not same:
            now = {"bytes": written, "kept": False, "row": len(rows)}
            tensors.append(now)
        elif "output" in needs:
            now["row"] = len(rows)
        now["kept"] |= "output" in needs
        row(group, name, index * places(), mask * places())
        if runs:
            maps = read if same else read + written
            sizes = {"input": tensors[0]["bytes"], "maps": maps}
            sizes["indices"] = index * places() if torch else 0
            ops.append({"group": group, "name": name} | sizes)

    row("in", "input")
    counts = dict.fromkeys(("block", "pooling", "dropout"), 0)

    def numbered(kind: str) -> str:
        counts[kind] += 1
        return f"{kind} {counts[kind]}"

    for kind, *sizes in net["plan"]:
        if kind in ("block", "logits"):
            block = numbered("block")
            k, stride, padding, *widths = sizes
            for i, width in enumerate(widths, 1):
                n = (n + 2 * padding - k) // stride + 1
                parameters += item * width * (channels * k * k + 1)
                channels, k, stride, padding = width, 1, 1, 0
                layer(block, f"{block}, convolution {i}", "input")
                if kind == "block" or i < len(widths):
                    layer(block, f"{block}, ReLU {i}", "output", inplace)
        elif kind == "dropout":
            mask = item if s["dropout"] else 0
            # At rate 0 PyTorch returns the input itself, Gluon a copy.
            same = torch and not s["dropout"]
            layer("d", numbered("dropout"), "", same, mask=mask, runs=False)
        else:
            n = (n - 3 + sizes[0]) // 2 + 1
            index = PLACES[s["framework"]] if kind == "max" else 0
            needs = "input" if torch else "input, output"
            layer("p", numbered("pooling"), needs, index=index)
    n = 1
    layer("m", "mean", "" if torch else "input, output")
    for tensor in tensors:
        if tensor["kept"]:
            rows[tensor["row"]]["activations"] += tensor["bytes"]
    needed = [op["input"] + op["maps"] + op["indices"] for op in ops]
    rows = [row for row in rows if row["activations"] + row["indices"] + row["masks"]]
    return {
        "parameters": parameters,
        "rows": rows,
        "ops": ops,
        "kept": sum(r["activations"] + r["indices"] + r["masks"] for r in rows),
        "live": max(needed),
        "largest": needed.index(max(needed)),
    }


def _mib(n: int) -> str:
    """Bytes in MiB with two decimals, rounded half up."""
    hundredths = (100 * n + 2**19) // 2**20
    return f"{hundredths // 100:,}.{hundredths % 100:02d} MiB"


def words(result: dict[str, Any]) -> tuple[str, str]:
    """Verdict and summary."""
    s = result["settings"]
    if result["error"]:
        return f"✗ {result['error']}", f"No output: {result['error']}."
    label, training = NETS[s["net"]]["label"], s["mode"] == "training"
    images, total = plural(s["batch_size"], "image"), result[s["mode"]]
    if not training:
        verdict = f"✗ inference takes {_mib(total)}; a training step was asked for"
    elif s["net"] != "nin":
        verdict = f"✗ {_mib(total)}, but of {label}; NiN was asked for"
    elif s["batch_size"] < IMAGES:
        verdict = f"✗ {_mib(total)}, but on {images}; {IMAGES} were asked for"
    elif result["ok"]:
        verdict = f"✓ {_mib(total)}: a training step on {images} fits"
    else:
        still = ", in-place ReLU or not" if s["inplace"] else ""
        verdict = f"✗ {_mib(total)}, {_mib(total - LIMIT)} too much{still}"
    parts = result["parts"]
    if not training:
        parameters = parts["parameters"]
        parts = {"parameters": parameters, "live": total - parameters}
    sizes = ", ".join(f"{WORDS.get(k, k)} {_mib(n)}" for k, n in parts.items())
    summary = f"{label}, {s['mode']}, {images} of {s['size']} pixels: {sizes}; "
    summary += f"together {_mib(total)}."
    if training:
        summary += f" Crossover at batch {result['crossover']}."
    return verdict, summary


memory_ledger = opener(
    "memory_ledger",
    compute,
    words,
    CONTROLS,
    title="Memory ledger",
    goal="Fit one training step of NiN, on at least 32 images, into 256 MiB.",
    tables={"nets": NETS, "words": WORDS},
)
