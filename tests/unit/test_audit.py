"""``make audit`` without Lighthouse, and what keeps the pages light."""

from __future__ import annotations

import gzip
import urllib.request
from pathlib import Path
from typing import Any

import pytest

lighten = pytest.importorskip("lighten", reason="needs the book's packages")

audit = pytest.importorskip("tools.audit")


def report(**scores: float | None) -> dict[str, Any]:
    """A report with all that is read of one."""
    given = dict.fromkeys(audit.BOUNDS, 0.97) | scores
    requests = [
        {"url": "http://127.0.0.1:8/chapters/a.html", "transferSize": 61_440},
        {"url": "http://127.0.0.1:8/_images/figure.png", "transferSize": 921_600},
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
    rest = {name: found[name] for name in found if name not in audit.BOUNDS}
    assert rest == {
        **{"LCP s": 1.8, "CLS": 0.001, "TBT ms": 120},
        **{"KiB": 60, "with figures": 960},
    }
    for failed in ({**report(), "runtimeError": {"message": "x"}}, report(seo=None)):
        with pytest.raises(RuntimeError, match="Lighthouse"):
            audit.measured(failed)


def test_each_bound_can_be_broken() -> None:
    good = audit.measured(report()) | audit.BOUNDS
    assert list(audit.broken("a", good)) == []
    for name, least in audit.BOUNDS.items():
        said = f"a: {name} {least - 0.01:.2f}, not {least:.2f}"
        assert list(audit.broken("a", good | {name: least - 0.01})) == [said]
    heavy = good | {"KiB": audit.HEAVIEST + 1}
    assert list(audit.broken("a", heavy)) == ["a: 401 KiB without figures, not 400"]


def test_server_is_like_a_static_host(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>" + "word " * 1000)
    (tmp_path / "picture.png").write_bytes(b"\x89PNG" + bytes(1000))
    with audit.browser.served(tmp_path, audit.StaticHost) as address:
        for file, asked, packed in (
            ("page.html", "gzip", True),
            ("page.html", "identity", False),
            ("picture.png", "gzip", False),
        ):
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
