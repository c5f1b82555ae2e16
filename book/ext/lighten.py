"""Sphinx extension: what a page loads, and what the site leaves out.

The theme's style sheets weigh half a megabyte, of which this book uses a quarter, and
come in ten files, one of which asks for another. Here they become one, ``site.css``,
and PurgeCSS takes out the rules that match nothing in any page. Scripts wait until the
page can be read; those of the theme and of Bootstrap are replaced by
``book/assets/frame.js``, the icon font by drawings in ``book/assets/frame.css``, and
the search index comes when someone searches (``book/assets/search.js``), figures when
they are near, and code has half the elements. What no page asks for is taken out
of the site.
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
OURS = ("book.css", "frame.css")
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
#: What the theme's layout loads by itself, before all others.
FIRST = ("basic.css", "styles/pydata-sphinx-theme.css")
# Of extensions that Jupyter Book always loads and that no page of this book uses: their
# files, and scripts in the page that serve them or repeat a default of the theme.
UNUSED = (
    *("thebe", "sphinx-design", "design-tabs", "togglebutton", "toggleHint"),
    *("toggleOpenOnPrint", "DOCUMENTATION_OPTIONS.", "sphinx-book-theme.js"),
)
#: Below ``_static``: what no page of the book asks for.
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
    """The sheets one after the other, their addresses seen from ``_static``."""
    texts = []
    for name in names:
        folder = f"{Path(name).parent}/".removeprefix("./")
        text = re.sub(
            r"url\((['\"]?)(?!data:|[#/'\"]|https?:)",
            rf"url(\g<1>{folder}",
            ICON_FONT.sub("", COMMENT.sub("", (static / name).read_text("utf-8"))),
        )
        # Ours has nothing idle, and PurgeCSS does not understand all of it.
        ours = name in OURS
        if ours:
            text = f"/* purgecss start ignore */{text}/* purgecss end ignore */"
        texts.append(text)
    return "\n".join(texts)


def purge(css: str, site: Path) -> str:
    """The style sheet without what no page or script of the site can match."""
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
    """Code without an element around each name and comma: half of a page's elements."""

    def lighter(code: re.Match[str]) -> str:
        plain, merges = PLAIN.sub(r"\1", code[0]), 1
        while merges:
            plain, merges = SAME.subn(r"\1\3", plain)
        return plain

    return CODE.sub(lighter, body)


def file_of(asset: Any) -> str:
    """The file of a script or style sheet below ``_static``; "" if it has none."""
    name = getattr(asset, "filename", asset)
    return str(name or "").split("?")[0].removeprefix("_static/")


def used_once(assets: list[Any]) -> list[Any]:
    """Each script or style sheet once, without those that no page uses."""
    seen: dict[str, Any] = {}
    for asset in assets:
        name = getattr(asset, "attributes", {}).get("body") or file_of(asset)
        if not any(word in name for word in UNUSED):
            seen.setdefault(name, asset)
    return list(seen.values())


def sheets(app: Sphinx) -> list[str]:
    """The style sheets that are joined, in their order."""
    builder: Any = app.builder  # the list of a single page may be longer
    listed = getattr(builder, "_orig_css_files", builder.css_files)
    everywhere = [file_of(sheet) for sheet in used_once(listed)]
    ours = [name for name in everywhere if name.endswith(".css") and "//" not in name]
    return list(dict.fromkeys([*FIRST, *ours]))


def choose(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """The last word on a page's files, after the theme's own handlers."""
    if app.builder.format != "html":
        return
    context["body"] = plain_code(context.get("body") or "")
    everywhere = sheets(app)
    context["site_css"] = SITE_CSS
    context["css_files"] = [
        sheet
        for sheet in used_once(context["css_files"])
        if file_of(sheet) not in everywhere
    ]
    context["script_files"] = used_once(context["script_files"])
    for script in context["script_files"]:
        if file_of(script):
            script.attributes.setdefault("defer", "defer")


def finish(app: Sphinx, exception: Exception | None) -> None:
    """Write the joined style sheet and take out the ballast."""
    static = Path(app.outdir, "_static")
    if exception or app.builder.format != "html":
        return
    for pattern in BALLAST:
        for path in static.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    css = purge(joined(static, sheets(app)), Path(app.outdir))
    (static / SITE_CSS).write_text(css, "utf-8")
    version = f"{SITE_CSS}?v={zlib.crc32(css.encode()):08x}"
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text("utf-8")
        stated = re.sub(rf"(_static/){SITE_CSS}(\?v=\w+)?", rf"\g<1>{version}", text)
        if stated != text:
            path.write_text(stated, "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the handlers and our own small parts."""
    app.add_css_file("frame.css")
    app.add_js_file("frame.js", priority=150)  # before Sphinx marks searched words
    app.add_js_file("search.js")
    app.connect("html-page-context", choose, priority=950)
    # After the theme, which then writes the colours of code.
    app.connect("build-finished", finish, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
