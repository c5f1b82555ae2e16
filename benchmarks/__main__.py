"""Run the benchmarks and store them: ``python -m benchmarks`` (``make bench``)."""

from __future__ import annotations

import argparse
import datetime
import json
from collections.abc import Callable, Iterable
from pathlib import Path

from benchmarks import (
    batch_norm,
    condconv,
    convert,
    graph,
    one_idea,
    shortcuts,
    stochastic_depth,
)
from benchmarks.cases import Case
from d2lutils import timing
from d2lutils.gpu_report.speed import machine, measured

#: In the package, so that an installed one has them.
RESULTS = Path(timing.__file__).parent / "results"
SUITES: dict[str, Callable[[], Iterable[Case]]] = {
    "shortcuts": shortcuts.cases,
    "pyramidnet": shortcuts.whole_nets,
    "condconv": condconv.cases,
    "condconv_layers": condconv.layers,
    "one_idea": one_idea.cases,
    "batch_norm": batch_norm.cases,
    "graph": graph.cases,
    "stochastic_depth": stochastic_depth.cases,
    "convert": convert.cases,
}


def main() -> None:
    """Run the suites, print their tables, store them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--repeat", type=int, default=30)
    options = parser.parse_args()
    unknown = set(options.suites) - set(SUITES)
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    today = datetime.date.today().isoformat()
    for suite in options.suites or SUITES:
        stored = []
        for case in SUITES[suite]():
            stored.append(measured(case, options.repeat))
        RESULTS.mkdir(exist_ok=True)
        # A GPU's results stand beside the CPU's, which the chapters' figures need.
        found = machine()
        where = "" if found["device"] == "CPU" else ".gpu"
        path = RESULTS / f"{suite}{where}.json"
        result = {"date": today, "machine": found, "cases": stored}
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"\nstored in {path.relative_to(Path(__file__).parents[1])}")


if __name__ == "__main__":
    main()
