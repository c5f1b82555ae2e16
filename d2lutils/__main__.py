"""``python -m d2lutils COMMAND``: the package's own commands."""

from __future__ import annotations

import argparse
import importlib
import sys

#: A command is `main(argv) -> exit status` in the module of the same name.
COMMANDS = {
    "doctor": "say what works on this machine, and how to get the rest",
    "cuda11": "MXNet's CUDA 11 build for NVIDIA cards that it supports",
    "colab": "prepare a Colab runtime, changing nothing that is there",
}


def main(argv: list[str] | None = None) -> int:
    """Hand everything after the command's name to the command."""
    arguments = sys.argv[1:] if argv is None else argv
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog="python -m d2lutils",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(
            f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()
        ),
    )
    parser.add_argument("command", choices=COMMANDS)
    command = parser.parse_args(arguments[:1]).command
    module = importlib.import_module(f"d2lutils.{command}")
    status: int = module.main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main())
