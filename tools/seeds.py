"""An extension of IPython that reports cells which draw without a seed.

`tools/execute.py` and the tests load it into every kernel. A cell that draws from a
global generator nobody has seeded, or makes a generator without a seed, gets a line on
stderr, which makes the run red: its output would differ in the next run.

- Python's `random` and NumPy's global generator: the state has changed, and `seed` was
  never called with a number.
- PyTorch's reports its seed. One from the system has 53 bits or more; one that a person
  chose is taken to be below 2**32, the limit that NumPy sets.
- New generators: `np.random.default_rng()` and its like take their bits from the
  system, as `random.Random()` does. This counts where a notebook or the package asks,
  not where a library names its temporary files. (`RandomState` takes system bits even
  with a seed; use `default_rng`.)
- MXNet starts with seed 0 in each process, so it repeats itself without one.
"""

from __future__ import annotations

import pickle
import random
import sys
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

CHOSEN = 2**32
ADVICE = "this cell draws without a seed"


class Watch:
    """The generators' states before a cell, and which of them were seeded."""

    def __init__(self) -> None:
        import numpy as np

        self.found: list[str] = []
        self.seeded: set[str] = set()
        self.generators = {
            "random": (random.getstate, random),
            "np.random": (lambda: np.random.get_state()[1:3], np.random),
        }
        for name, (_, module) in self.generators.items():
            self._watch_seed(name, module)
        self.states: dict[str, bytes] = {}
        self._watch_new(np)

    def _watch_seed(self, name: str, module: Any) -> None:
        seed = module.seed

        def watched(value: Any = None, *arguments: Any, **options: Any) -> None:
            (self.seeded.discard if value is None else self.seeded.add)(name)
            seed(value, *arguments, **options)

        module.seed = watched

    def _watch_new(self, np: Any) -> None:
        bits = np.random.bit_generator
        randbits, seed = bits.randbits, random.Random.seed

        def watched_bits(*arguments: Any) -> Any:
            self._note("a NumPy generator was made without a seed")
            return randbits(*arguments)

        def watched_seed(
            generator: random.Random, value: Any = None, version: int = 2
        ) -> None:
            if value is None:
                self._note("random.Random was made without a seed")
            seed(generator, value, version)

        bits.randbits = watched_bits
        random.Random.seed = watched_seed  # type: ignore[method-assign]

    def _note(self, what: str) -> None:
        """Note what a watched function was asked for, if not by a library."""
        frame = sys._getframe(2)
        while frame.f_globals.get("__name__") == "random" and frame.f_back:
            frame = frame.f_back
        if frame.f_globals.get("__name__", "").startswith(("__main__", "d2lutils")):
            self.found.append(what)

    def _states(self) -> dict[str, bytes]:
        # As bytes: NumPy's state is an array.
        return {n: pickle.dumps(state()) for n, (state, _) in self.generators.items()}

    def before(self, *_: Any) -> None:
        """Before a cell: store the states, since the kernel draws between cells."""
        self.states = self._states()

    def after(self, *_: Any) -> None:
        """After a cell: say on stderr what it drew without a seed."""
        self.found += [
            f"{name} was never seeded"
            for name, state in self._states().items()
            if state != self.states.get(name, state) and name not in self.seeded
        ]
        torch = sys.modules.get("torch")
        if torch is not None and hasattr(torch, "initial_seed"):
            seed = torch.initial_seed()
            fresh = torch.Generator().manual_seed(seed).get_state()
            if seed >= CHOSEN and not torch.equal(fresh, torch.get_rng_state()):
                self.found.append("torch was never seeded")
                torch.seed()  # so that the next cell is judged by itself
        if self.found:
            print(f"{ADVICE}: {'; '.join(self.found)}", file=sys.stderr)
        self.found.clear()


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Watch every cell from now on; IPython calls this."""
    watch = Watch()
    shell.events.register("pre_run_cell", watch.before)
    shell.events.register("post_run_cell", watch.after)
