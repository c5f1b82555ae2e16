"""Sphinx extension: what a page loads, and what the site leaves out.

The theme's style sheets weigh half a megabyte, of which this book uses a quarter, and
come in ten files, one of which asks for another. Here they become one, ``site.css``,
without the rules that match nothing in any page. Scripts wait until the page can be
read; those of the theme and of Bootstrap are replaced by ``book/assets/frame.js``, the
icon font by drawings in ``book/assets/frame.css``, and the search index comes when
someone searches (``book/assets/search.js``). Figures are loaded when they come near,
and code has half the elements. What no page asks for is taken out of the site.
"""

from __future__ import annotations

import re
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

SITE_CSS = "site.css"
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
# Strings and addresses are read as a whole, because they may hold the other signs.
SIGNS = re.compile(
    r"""(?P<whole>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|url\([^)"']*\)|\\.)"""
    r"""|(?P<comment>/\*.*?\*/)|(?P<space>\s+)|[{};]""",
    re.DOTALL,
)
# Names, punctuation and blanks have the colour of the text around them.
CODE = re.compile(r"<pre>.*?</pre>", re.DOTALL)
PLAIN = re.compile(r'<span class="[npw]">([^<]*)</span>')
NAME = re.compile(r"[\w-]+")


def tight(css: str) -> str:
    """The style sheet without comments and with single spaces."""

    def shorter(sign: re.Match[str]) -> str:
        return "" if sign["comment"] else " " if sign["space"] else sign[0]

    return SIGNS.sub(shorter, css)


def statements(css: str) -> Iterator[tuple[str, str | None]]:
    """What stands before each block, and the block; None for what ends without one."""
    depth = start = opened = 0
    for sign in SIGNS.finditer(css):
        if sign[0] == "{":
            opened = opened if depth else sign.start()
            depth += 1
        elif sign[0] == "}":
            depth -= 1
            if depth == 0:
                yield css[start:opened].strip(), css[opened + 1 : sign.start()]
                start = sign.end()
        elif sign[0] == ";" and depth == 0:
            yield css[start : sign.start()].strip(), None
            start = sign.end()
    if rest := css[start:].strip():
        yield rest, None


def alternatives(selector: str) -> list[str]:
    """The parts of a list of selectors, separated by commas outside of brackets."""
    parts, depth = [""], 0
    for char in selector:
        depth += (char in "([") - (char in ")]")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def matches(selector: str, words: set[str]) -> bool:
    """Whether all classes and ids that a selector demands are among ``words``.

    What stands in brackets, such as the choices of ``:is()``, demands nothing here.
    """
    bare, count = re.subn(r"\[[^\]]*\]|\([^()]*\)", "", selector)
    while count:
        bare, count = re.subn(r"\([^()]*\)", "", bare)
    demanded = re.findall(r"[.#]((?:\\.|[\w-])+)", bare)
    return all(name.replace("\\", "") in words for name in demanded)


def used_rules(css: str, words: set[str]) -> str:
    """The rules of a style sheet whose classes and ids are among ``words``."""
    kept = []
    for head, block in statements(css):
        if block is None:
            continue  # @charset, and @import of a sheet that is joined anyway
        if head.startswith(("@media", "@supports", "@container", "@layer")):
            block = used_rules(block, words)
        elif not head.startswith("@"):
            head = ",".join(s for s in alternatives(head) if matches(s, words))
        if head and block.strip() and "Font Awesome" not in block.replace("\\", ""):
            kept.append(f"{head}{{{block.strip()}}}")
    return "\n".join(kept)


def without_idle_variables(css: str, others: str) -> str:
    """The style sheet without variables that neither it nor ``others`` ever reads."""

    def kept(block: str, read: set[str]) -> str:
        parts = []
        for part, inner in statements(block):
            if inner is not None:
                parts.append(f"{part}{{{kept(inner, read)}}}\n")
            elif not part.startswith("--") or part.split(":")[0].strip() in read:
                parts.append(f"{part};")
        return "".join(parts)

    elsewhere = set(re.findall(r"--[\w-]+", others))
    before = ""
    while before != css:  # a variable may have been read by an idle one only
        before = css
        css = kept(css, elsewhere | set(re.findall(r"var\(\s*(--[\w-]+)", css)))
    return css


def vocabulary(pages: list[str], scripts: list[str]) -> set[str]:
    """All words that may be a class or an id: of the pages, or set by a script."""
    words: set[str] = set()
    for page in pages:
        for value in re.findall(r'\b(?:class|id)="([^"]*)"', page):
            words.update(value.split())
        scripts = [*scripts, *re.findall(r"<script\b[^>]*>(.*?)</script>", page, re.S)]
    for script in scripts:
        words.update(NAME.findall(script))
    return words


def joined(static: Path, names: list[str]) -> str:
    """The sheets one after the other, their addresses seen from ``_static``."""
    texts = []
    for name in names:
        folder = f"{Path(name).parent}/".removeprefix("./")
        texts.append(
            re.sub(
                r"url\((['\"]?)(?!data:|[#/'\"]|https?:)",
                rf"url(\g<1>{folder}",
                tight((static / name).read_text("utf-8")),
            )
        )
    return "\n".join(texts)


def plain_code(body: str) -> str:
    """Code without an element around each name and comma: half of a page's elements."""
    return CODE.sub(lambda code: PLAIN.sub(r"\1", code[0]), body)


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
    files = list(Path(app.outdir).rglob("*.html"))
    pages = [path.read_text("utf-8") for path in files]
    scripts = [path.read_text("utf-8") for path in static.rglob("*.js")]
    css = used_rules(joined(static, sheets(app)), vocabulary(pages, scripts))
    css = without_idle_variables(css, "\n".join([*pages, *scripts]))
    (static / SITE_CSS).write_text(css, "utf-8")
    version = f"{SITE_CSS}?v={zlib.crc32(css.encode()):08x}"
    for path, text in zip(files, pages, strict=True):
        stated = re.sub(rf"(_static/){SITE_CSS}(\?v=\w+)?", rf"\g<1>{version}", text)
        if stated != text:
            path.write_text(stated, "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the handlers and our own small parts."""
    app.add_css_file("frame.css")
    app.add_js_file("frame.js")
    app.add_js_file("search.js")
    app.connect("html-page-context", choose, priority=950)
    # After the theme, which then writes the colours of code.
    app.connect("build-finished", finish, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
