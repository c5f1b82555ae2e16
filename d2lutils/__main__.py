"""``python -m d2lutils COMMAND``: the package's own commands."""

from __future__ import annotations

import argparse
import importlib
import sys

#: Command → the module whose `main(argv)` runs it, and its help text.
COMMANDS = {
    "doctor": ("doctor", "say what works on this machine, and how to get the rest"),
    "convert": ("porting.convert", "an exported Gluon net as PyTorch source"),
    "cuda11": ("_compat.cuda11", "MXNet's CUDA 11 build for NVIDIA cards it supports"),
    "gpu-report": ("gpu_report", "parity, speed, training and chapters on a card"),
    "colab": ("colab", "prepare a Colab runtime, changing nothing that is there"),
}


def main(argv: list[str] | None = None) -> int:
    """Run the named command with the arguments that follow its name."""
    arguments = sys.argv[1:] if argv is None else argv
    width = max(map(len, COMMANDS))
    parser = argparse.ArgumentParser(
        prog="python -m d2lutils",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(
            f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()
        ),
    )
    parser.add_argument("command", choices=COMMANDS)
    module_name, _ = COMMANDS[parser.parse_args(arguments[:1]).command]
    module = importlib.import_module(f"d2lutils.{module_name}")
    status: int = module.main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main())
