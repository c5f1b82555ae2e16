"""What all tests share: warnings that are MXNet's own, and hypothesis' settings."""

from __future__ import annotations

import pytest
import without_mxnet
from hypothesis import settings

# Shared machines are slow at times, and no test here is about time.
settings.register_profile("d2l", deadline=None, derandomize=True)
settings.load_profile("d2l")


def pytest_configure(config: pytest.Config) -> None:
    """Warnings are errors here, but for two that only the frameworks can avoid."""
    config.addinivalue_line("markers", without_mxnet.MARKER)
    if without_mxnet.is_missing():
        config.pluginmanager.register(without_mxnet.WithoutMXNet())
    # mx.nd.array() looks at `scipy.sparse.csr.csr_matrix`, a name that SciPy has moved.
    config.addinivalue_line(
        "filterwarnings", "ignore:Please import `csr_matrix`:DeprecationWarning"
    )
    # torch.compile says so on 3.13.0 alone, from inside, where it turns into an error.
    config.addinivalue_line(
        "filterwarnings", "ignore:Guards may run slower on Python 3.13.0:RuntimeWarning"
    )
