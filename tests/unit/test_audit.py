"""``make audit`` without Lighthouse, and what keeps the pages light."""

from __future__ import annotations

import functools
import gzip
import http.server
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

lighten = pytest.importorskip("lighten", reason="needs the book's packages")

audit = pytest.importorskip("tools.audit")


def report(**scores: float) -> dict[str, Any]:
    """A report with all that is read of one."""
    given = {"performance": 0.97, "accessibility": 1, "best-practices": 1, "seo": 1}
    given |= scores
    requests = [
        {"url": "http://127.0.0.1:8/chapters/a.html", "transferSize": 60_000},
        {"url": "http://127.0.0.1:8/_images/figure.png", "transferSize": 900_000},
        {"url": "data:image/svg+xml,x", "transferSize": 7},
    ]
    return {
        "categories": {name: {"score": score} for name, score in given.items()},
        "audits": {
            "network-requests": {"details": {"items": requests}},
            "largest-contentful-paint": {"numericValue": 1800.0},
            "cumulative-layout-shift": {"numericValue": 0.001},
            "total-blocking-time": {"numericValue": 120.0},
        },
    }


def test_what_a_report_says() -> None:
    found = audit.measured(report())
    assert (found["performance"], found["seo"]) == (0.97, 1)
    assert (found[audit.BARE], found[audit.SHOWN]) == (60_000, 960_000)
    assert [found[name] for name in audit.TIMES] == [1800, 0.001, 120]
    for failed in ({**report(), "runtimeError": {"message": "x"}}, report(seo=None)):
        with pytest.raises(RuntimeError, match="Lighthouse"):
            audit.measured(failed)


def test_median_is_taken_of_each_quantity_by_itself() -> None:
    visits = [audit.measured(report(performance=p)) for p in (0.9, 0.99, 0.95)]
    visits[0]["TBT"] = 1000
    found = audit.median(visits)
    assert (found["performance"], found["TBT"]) == (0.95, 120)


def test_each_bound_can_be_broken() -> None:
    for name, least in audit.BOUNDS.items():
        assert audit.broken("a", audit.measured(report(**{name: least}))) == []
        lost = audit.measured(report(**{name: least - 0.01}))
        said = f"a: {name} {least - 0.01:.2f}, not {least:.2f}"
        assert audit.broken("a", lost) == [said]
    found = audit.measured(report()) | {audit.BARE: audit.HEAVIEST + 1}
    assert audit.broken("a", found) == ["a: 400 KiB without figures, not 400"]


def test_row_stands_below_its_head() -> None:
    line = audit.row("chapters/a", audit.measured(report()))
    fields = "chapters/a 0.97 1.00 1.00 1.00 1.80 0.001 120 59 938"
    assert " ".join(line.split()) == fields
    assert line.index("1.80") + 4 == audit.HEAD.index("LCP s") + 5


def test_pages_are_those_of_the_contents(tmp_path: Path) -> None:
    toc = tmp_path / "_toc.yml"
    toc.write_text("root: book/i\nparts:\n- chapters: [{file: a/b}, {file: a/c}]\n")
    assert audit.pages(toc) == ["book/i", "a/b", "a/c"]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A folder with a page and a picture, served."""
    (tmp_path / "page.html").write_text("<p>" + "word " * 1000)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG" + bytes(1000))
    handler = functools.partial(audit.Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("file", "asked", "packed"),
    [
        ("page.html", "gzip", True),
        ("page.html", "identity", False),
        ("picture.png", "gzip", False),
    ],
)
def test_server_is_like_a_static_host(
    address: str, tmp_path: Path, file: str, asked: str, packed: bool
) -> None:
    request = urllib.request.Request(
        f"{address}/{file}", headers={"Accept-Encoding": asked}
    )
    with urllib.request.urlopen(request) as answer:
        sent = answer.read()
        assert answer.headers["Cache-Control"] == "max-age=600"
        assert int(answer.headers["Content-Length"]) == len(sent)
        assert (answer.headers["Content-Encoding"] == "gzip") == packed
    content = (tmp_path / file).read_bytes()
    assert (gzip.decompress(sent) if packed else sent) == content


# --- book/ext/lighten.py --------------------------------------------------------------


def test_rules_that_match_nothing_are_dropped(tmp_path: Path) -> None:
    (tmp_path / "_static").mkdir()
    (tmp_path / "page.html").write_text(
        '<html><p class="here" id="there">Text</p></html>'
    )
    (tmp_path / "_static" / "a.js").write_text('e.classList.add("later")')
    css = (
        ":root { --read: red; --idle: blue }\n.here { color: var(--read) }\n"
        ".gone, #there { margin: 0 }\n@media print { .gone { margin: 0 } }\n"
        ".later:not(.gone) { margin: 0 }\n"
        'html[data-theme="dark"] p { margin: 0 }\n'
    )
    kept = lighten.purge(css, tmp_path)
    for word in (".here", "#there", ".later", "--read", "data-theme"):
        assert word in kept, word
    for word in (".gone,", "@media", "--idle"):
        assert word not in kept, word


def test_joined_sheets_find_their_files(tmp_path: Path) -> None:
    (tmp_path / "katex").mkdir()
    (tmp_path / "a.css").write_text('a{b:url(x.png);c:url("data:image/svg+xml,y")}')
    (tmp_path / "katex" / "b.css").write_text('d{e:url(fonts/f.woff2);g:url("h.png")}')
    assert lighten.joined(tmp_path, ["a.css", "katex/b.css"]).splitlines() == [
        'a{b:url(x.png);c:url("data:image/svg+xml,y")}',
        'd{e:url(katex/fonts/f.woff2);g:url("katex/h.png")}',
    ]


def test_plain_code_keeps_every_letter() -> None:
    code = '<span class="n">x</span> <span class="o">=</span><span class="p">(</span>'
    code += '<span class="s2">&quot;</span><span class="s2">a</span> '
    code += '<span class="s2">&quot;</span><span class="k">if</span>'
    text = '<span class="n">not code</span>'
    for begin in ("<pre>", '<pre tabindex="0">'):
        assert lighten.plain_code(f"{begin}{code}</pre>{text}") == (
            f'{begin}x =(<span class="s2">&quot;a &quot;</span>'
            f'<span class="k">if</span></pre>{text}'
        )
