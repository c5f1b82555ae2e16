"""Sphinx extension: which files a page loads, and which the site leaves out.

The theme's style sheets weigh half a megabyte, a quarter of which this book uses, and
come in ten files. Here they become one, ``site.css``, and PurgeCSS removes the rules
that match nothing in any page: over a phone's network that is 60 kB less before
anything is shown. Scripts are deferred. Of the theme's and its extensions' scripts only
those in ``SCRIPTS`` are loaded: ``book/assets/frame.js`` replaces the others, drawings
in ``book/assets/frame.css`` the icon font, and ``book/assets/search.js`` fetches the
search index when somebody searches. Code is written with half the elements. Files that
no page loads are deleted from the site.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zlib
from pathlib import Path
from typing import Any

import offline_math
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

SITE_CSS = "site.css"
OURS = ("frame.css", "book.css")
#: What ``site.css`` is made of, in this order: patterns below ``_static``.
SHEETS = (
    *("basic.css", "styles/pydata-sphinx-theme.css", "pygments.css"),
    *("styles/sphinx-book-theme.css", "copybutton.css", "mystnb.*.css", *OURS),
    *("katex/katex.min.css", "katex-math.css"),
)
#: What a page loads of the scripts that the theme and the extensions offer.
SCRIPTS = {
    *("documentation_options.js", "doctools.js", "sphinx_highlight.js"),
    *("clipboard.min.js", "copybutton.js", "frame.js", "search.js", "book.js"),
    "porting.js",
}
PURGECSS = "7.0.2"
PURGE = """
const [package, settings] = process.argv.slice(1);
const { PurgeCSS } = require(package);
const css = [{ raw: require("fs").readFileSync(0, "utf8") }];
new PurgeCSS().purge({ ...JSON.parse(settings), css })
  .then(([used]) => process.stdout.write(used.css));
"""
#: Attributes that scripts set or change, which no page has as it is written.
DYNAMIC = [
    *("data-framework", "data-mode", "data-theme", "data-ok"),
    *("open", "hidden", "disabled", "aria-expanded", "aria-pressed", "style"),
]
#: Below ``_static``: what no page of the book loads.
BALLAST = (
    *("**/*.map", "**/*macros.html", "scripts", "vendor", "locales"),
    *("sphinx-design*", "design-tabs.js", "togglebutton.*", "copybutton_funcs.js"),
    *("styles/theme.css", "plus.png", "minus.png"),
)
ICON_FONT = re.compile(r"@font-face\s*{[^}]*Font Awesome[^}]*}")
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
CODE = re.compile(r'<pre(?: tabindex="0")?>.*?</pre>', re.DOTALL)
# Names, operators, punctuation and blanks have the colour of the text around them.
PLAIN = re.compile(r'<span class="[nopw]">([^<]*)</span>')
SAME = re.compile(r'(<span class="(\w+)">[^<]*)</span>( *)<span class="\2">')


def joined(static: Path, names: list[str]) -> str:
    """The sheets one after the other, with addresses relative to ``_static``."""
    texts = []
    for name in names:
        folder = f"{Path(name).parent}/".removeprefix("./")
        text = re.sub(
            r"url\((['\"]?)(?!data:|[#/'\"]|https?:)",
            rf"url(\g<1>{folder}",
            ICON_FONT.sub("", COMMENT.sub("", (static / name).read_text("utf-8"))),
        )
        # All of ours is used, and PurgeCSS does not understand some of it.
        if name in OURS:
            text = f"/* purgecss start ignore */{text}/* purgecss end ignore */"
        texts.append(text)
    return "\n".join(texts)


def purge(css: str, site: Path) -> str:
    """The style sheet without the rules that no page or script of the site uses."""
    package = offline_math.npm_package("purgecss", PURGECSS)
    settings = {
        "content": [
            f"{site.as_posix()}/{kind}" for kind in ("**/*.html", "_static/*.js")
        ],
        "variables": True,
        "dynamicAttributes": DYNAMIC,
    }
    command = [offline_math.katex.NODEJS_BINARY, "-e", PURGE, package]
    ran = subprocess.run(
        [*command, json.dumps(settings)],
        input=css,
        capture_output=True,
        encoding="utf-8",
    )
    if ran.returncode or not ran.stdout:
        raise ExtensionError(f"purgecss failed:\n{ran.stderr}")
    return ran.stdout


def plain_code(body: str) -> str:
    """Remove the elements around names and commas: half of a page's elements."""

    def lighter(code: re.Match[str]) -> str:
        plain, merges = PLAIN.sub(r"\1", code[0]), 1
        while merges:
            plain, merges = SAME.subn(r"\1\3", plain)
        return plain

    return CODE.sub(lighter, body)


def sheets(static: Path) -> list[str]:
    """The style sheets that are joined, in their order."""
    found = [path for pattern in SHEETS for path in sorted(static.glob(pattern))]
    return [path.relative_to(static).as_posix() for path in found]


def choose(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Set a page's style sheet and scripts, after the theme's own handlers."""
    if app.builder.format != "html":
        return
    context["body"] = plain_code(context.get("body") or "")
    context["site_css"] = SITE_CSS
    context["css_files"] = []
    chosen: dict[str, Any] = {}  # some extensions offer the same script twice
    for script in context["script_files"]:
        file = str(script.filename or "").split("?")[0].removeprefix("_static/")
        if file in SCRIPTS:
            chosen.setdefault(file, script).attributes.setdefault("defer", "defer")
    context["script_files"] = list(chosen.values())


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Write the joined style sheet, and delete what no page loads."""
    static = Path(app.outdir, "_static")
    if exception or app.builder.format != "html":
        return
    for pattern in BALLAST:
        for path in static.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    css = purge(joined(static, sheets(static)), Path(app.outdir))
    (static / SITE_CSS).write_text(css, "utf-8")
    version = f"{SITE_CSS}?v={zlib.crc32(css.encode()):08x}"
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text("utf-8")
        stated = re.sub(rf"(_static/){SITE_CSS}(\?v=\w+)?", rf"\g<1>{version}", text)
        if stated != text:
            path.write_text(stated, "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the handlers and our own small parts."""
    app.add_js_file("frame.js", priority=150)  # before Sphinx marks searched words
    app.add_js_file("search.js")
    app.connect("html-page-context", choose, priority=950)
    # After the theme, which then writes the colours of code.
    app.connect("build-finished", finish, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
