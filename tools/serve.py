"""Serve the rendered book on localhost: ``python -m tools.serve [port]``.

Without a port a free one is chosen. ``Ctrl+C`` ends it.
"""

from __future__ import annotations

import functools
import http.server
import sys
from pathlib import Path

SITE = Path(__file__).resolve().parents[1] / "_build" / "html"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files only, and no line for each of them."""

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


def server(site: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A server for one folder; the tests use it, too."""
    handler = functools.partial(Handler, directory=str(site))
    return http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)


def main() -> None:
    """Serve until interrupted."""
    if not (SITE / "index.html").exists():
        sys.exit("there is no rendered book yet: make book")
    with server(SITE, int(sys.argv[1]) if sys.argv[1:] else 0) as running:
        print(f"The book is at http://127.0.0.1:{running.server_port}/  (Ctrl+C ends)")
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
