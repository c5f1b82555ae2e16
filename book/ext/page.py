"""Sphinx extension: the page around the chapters.

What it does to the theme (sphinx-book-theme on pydata-sphinx-theme), and why:

- own templates in ``templates/``: the head chooses colour mode and framework before
  the first paint and does without the icon script of 1.5 MB; the switch of frameworks
  stands in the article header; one sidebar holds the book and the open page's
  sections, so that pairs of cells may use the width of the right-hand column;
- repository buttons exist exactly when ``repository: url:`` is set in ``_config.yml``;
- images state their size, so that nothing moves when they arrive;
- each page says in its head what it is about, with the line of ``book/pages.yml``;
- where ``html: baseurl:`` is set, previews get a picture, and the site a sitemap and a
  page for missing pages with links that work from any depth;
- the address of the site itself leads to the first page.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from bs4 import BeautifulSoup
from lists import load, pages
from PIL import Image
from sphinx.application import Sphinx

HERE = Path(__file__).parent
PAGES = HERE.parent / "pages.yml"
#: One line for each page.
descriptions = cache(load)
MISSING = (
    "<h1>No such page</h1><p>The address leads nowhere in this book. "
    '<a href="{top}book/index.html">The front page</a> lists the chapters, '
    '<a href="{top}search.html">the search</a> finds words and code.</p>'
)
#: What the table of contents calls a chapter's second page.
FURTHER = "Further measurements"
#: What the menu of downloads calls its entries; what is not here is left out.
FORMATS = {".ipynb": "Notebook", ".pdf": "Print"}
COLAB = "https://colab.research.google.com"


def configure(app: Sphinx, config: Any) -> None:
    """Set the options that belong together, so that ``_config.yml`` need not."""
    config.templates_path.insert(0, str(HERE / "templates"))
    options = config.html_theme_options
    options["use_fullscreen_button"] = False
    options["article_header_end"] = ["switch.html", "article-header-buttons.html"]
    options["secondary_sidebar_items"] = []
    options["navbar_persistent"] = []
    options["pygments_light_style"] = "github-light-high-contrast"
    options["pygments_dark_style"] = "github-dark"
    options["search_bar_text"] = "Search this book"
    config.html_sidebars = {"**": ["book-nav.html"]}
    for listeners in app.events.listeners.values():
        others = [x for x in listeners if x.handler.__module__ != "sphinx_thebe"]
        listeners[:] = others
    known = bool(options.get("repository_url"))
    for button in ("repository", "edit_page", "issues", "source"):
        options[f"use_{button}_button"] = known
    options["launch_buttons"] = {"colab_url": COLAB} if known else {}


def navigation(context: dict[str, Any]) -> str:
    """The book's table of contents with the open page's sections below its entry.

    A chapter's further measurements stand below it while one of the two is open.
    """
    tree = context["toctree"](
        maxdepth=2, collapse=False, titles_only=True, includehidden=True
    )
    book = BeautifulSoup(tree, "html.parser")
    sections = BeautifulSoup(context.get("toc") or "", "html.parser").select_one(
        "ul > li > ul"
    )
    for further in book.select("li.toctree-l1 > ul"):
        if "current" in further.parent["class"]:
            further.a.string = FURTHER
        else:
            further.decompose()
    here = book.select_one('a.current[href="#"]')
    if here is not None:
        here["aria-current"] = "page"
        if sections is not None:
            sections["class"] = "page-sections"
            here.insert_after(sections)
    for caption in book.select("p.caption"):
        caption.name = "h2"
    return str(book)


def neighbours(page: str) -> tuple[str, str]:
    """The pages before and after one; "" for none.

    From chapter to chapter, past further measurements, which lie between their own
    chapter and the next.
    """
    order = ["", *(name for name in pages() if "/further/" not in name), ""]
    home = page.replace("/further/", "/")
    at = order.index(home)
    return (order[at - 1] if page == home else home), order[at + 1]


def image_sizes(app: Sphinx, body: str) -> str:
    """Give each image file of the page its width and height in CSS pixels."""
    files = {Path(new).name: old for old, new in app.builder.images.items()}

    def sized(match: re.Match[str]) -> str:
        tag, name = match[0], match[1]
        inline = re.search(r' style="width: (\d+)px; height: (\d+)px;"', tag)
        source = Path(app.srcdir, files.get(name, ""))
        if inline:  # an inline style could not shrink with the page
            tag, (width, height) = tag.replace(inline[0], ""), inline.groups()
        elif "width" in tag or name.endswith(".svg") or not source.is_file():
            return tag
        else:
            with Image.open(source) as image:
                # Sharp figures have twice the pixels at twice 100 dpi.
                scale = max(1, round(image.info.get("dpi", (100, 100))[0] / 100))
                width, height = (side // scale for side in image.size)
        stated = f'width="{width}" height="{height}" loading="lazy"'
        return tag.replace("<img", f"<img {stated}", 1)

    return re.sub(r'<img[^>]*src="[^"]*_images/([^"]+)"[^>]*>', sized, body)


def breakable(cell: re.Match[str]) -> str:
    """A cell of a table whose code breaks only after dots, underscores and the like.

    The elements around its words go: tables would have more markup than text.
    """
    plain = re.sub(r"^(<td[^>]*>)<p>((?:(?!<p>).)*)</p>$", r"\1\2", cell[0], flags=re.S)
    return re.sub(
        r'<span class="pre">([^<]+)</span>',
        lambda code: re.sub(r"(?<=\w)([_.(=])(?=\w)", r"\1<wbr>", code[1]),
        plain,
    )


def accessible(body: str) -> str:
    """Correct what a screen reader would stumble over, and how tables break."""
    # A name that differs from the visible text would hide that text; an empty header
    # above a column of row names is an ordinary cell; a figure is no link to itself.
    body = body.replace(' aria-label="Toggle hidden content"', "")
    body = body.replace('<th class="head"><p></p></th>', "<td></td>")
    # A bound is one word, also in a narrow column.
    body = re.sub(r"<td.*?(?=</td>)", breakable, body, flags=re.DOTALL)
    bound = r"(<td[^>]*>(?:<p>)?within )(1e-\d+)(?=(?:</p>)?</td>)"
    body = re.sub(bound, r'\1<span class="whole">\2</span>', body)
    return re.sub(r'<a class="[^"]*image-reference"[^>]*>(<img[^>]*>)</a>', r"\1", body)


def prepare(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Set what our templates need, before the theme renders some of them."""
    body = context.get("body") or ""
    if page in app.env.metadata and page in pages():
        for key, name in zip(("prev", "next"), neighbours(page), strict=True):
            title = app.env.titles.get(name)
            context[key] = title and {
                "link": context["pathto"](name),
                "title": app.builder.render_partial(title)["title"],
            }
    context["description"] = descriptions(PAGES).get(page, "").replace("`", "")
    base = str(app.config.html_baseurl or "").rstrip("/")
    context["preview"] = f"{base}/_static/preview.png"
    context["has_frameworks"] = 'class="pair ' in body or "d2l-sources" in body
    # The theme renders its templates twice: first to see which ones are empty.
    context["book_navigation"] = cache(lambda: navigation(context))
    if body:
        context["body"] = accessible(image_sizes(app, body))
    if "tag_porting" in body:
        app.add_js_file("porting.js")


def name_downloads(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Name the downloads in the theme's menu; leave out sources of Markdown pages."""
    for group in context.get("header_buttons", []):
        if group.get("label") == "download-buttons":
            group["buttons"] = [
                button | {"text": FORMATS[button["text"]]}
                for button in group["buttons"]
                if button["text"] in FORMATS
            ]


def redirect(app: Sphinx, exception: Exception | None) -> None:
    """Write ``index.html`` at the top, which leads to the first page and names it."""
    if exception is None and app.builder.format == "html":
        first = app.config.root_doc + ".html"
        Path(app.outdir, "index.html").write_text(
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{app.config.html_title}</title>"
            '<meta name="viewport" content="width=device-width">'
            f'<meta http-equiv="refresh" content="0; url={first}">'
            '<link rel="icon" href="data:,"></head>'
            f'<body><main><h1><a href="{first}">{app.config.html_title}</a></h1></main>'
            "</body></html>\n",
            "utf-8",
        )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the handlers."""
    base = app.config.overrides.get("html_baseurl") or ""
    app.setup_extension("notfound.extension")
    top = urlparse(base).path.rstrip("/") + "/"
    app.config.notfound_urls_prefix = top
    body = MISSING.format(top=top)
    app.config.notfound_context = {"title": "No such page", "body": body}
    if base:  # without an address there is nothing that a sitemap could list
        app.setup_extension("sphinx_sitemap")
        app.config.sitemap_url_scheme = "{link}"
        app.config.sitemap_excludes = ["search.html", "404.html", "genindex.html"]
    app.setup_extension("lighten")
    app.connect("config-inited", configure)
    app.connect("html-page-context", prepare, priority=100)
    app.connect("html-page-context", name_downloads, priority=940)
    app.connect("build-finished", redirect)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
