"""The notebook of the fixture book: one cell of each kind that a page can show.

Written anew for each run, so that what ``d2lutils.show`` renders is today's.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat.v4 as nb

from d2lutils import show

LONG = "layer = make_layer(in_channels=10, channels=20, kernel_size=3, stride=2)"
assert len(LONG) == 72
CURVE = "a curve that rises to 0.95"


def code(
    source: str, *tags: str, prints: str = "", alt: str = "", **shows: str
) -> nb.NotebookNode:
    """A code cell: what it prints, and what it shows by kind (html, markdown, png)."""
    metadata: dict[str, Any] = {"tags": list(tags)} if tags else {}
    if alt:
        metadata["mystnb"] = {"image": {"alt": alt}}
    outputs = []
    if prints:
        outputs.append(nb.new_output("stream", name="stdout", text=prints))
    for kind, data in shows.items():
        mime = f"{'image' if kind == 'png' else 'text'}/{kind}"
        outputs.append(nb.new_output("display_data", data={mime: data}))
    return nb.new_code_cell(
        source, execution_count=1, metadata=metadata, outputs=outputs
    )


def figure(color: str) -> str:
    """A small opaque PNG with a curve, as chapters have them."""
    show.setup()
    fig, axes = plt.subplots(figsize=(3.6, 1.8))
    axes.plot([1, 2, 3, 4], [0.5, 0.8, 0.9, 0.95], color=show.COLORS[color])
    axes.set_xlabel("epoch")
    raw = io.BytesIO()
    fig.savefig(raw, format="png", dpi=200, metadata={"Software": None})
    plt.close(fig)
    return base64.b64encode(raw.getvalue()).decode()


class Mirrored:
    """Something whose source is shown, with a line of 72 characters."""

    def forward(self, features: Any, identity: Any, keep: int) -> Any:
        """Return the sum, or the identity where nothing is kept."""
        return identity + self.branch(features) if keep else identity


TABLE = show.table(
    [["convolution", 320, 0.25], ["batch norm", 20, 0.5]],
    ["layer", "parameters", "share"],
    caption="Parameters by layer",
)

cells = [
    nb.new_markdown_cell(
        "# Pairs\n\nAfter this page you know what each kind of cell looks like. A "
        "window of $k$ entries moves by $s$: $\\lfloor (n + 2p - k)/s \\rfloor + 1$ "
        "outputs [He et al., 2015](../book/references.md#he2015deep). Prose has to be "
        "long enough to wrap, so that a reader of this page, and a test, can see how "
        "wide its lines are.\n\n$$y = \\mathrm{ReLU}(x + f(x))$$\n\n"
        "<details><summary>Which of the two is longer?</summary>\n\nNeither.\n\n"
        "</details>\n",
    ),
    code("import sys"),
    nb.new_markdown_cell("## A pair\n\nTwo cells with lines of 72 characters."),
    code(f"# Gluon\n{LONG}\nprint(layer)", "gluon", prints="Conv1D(10)\n"),
    code(f"# PyTorch\n{LONG}\nprint(layer)", "pytorch", prints="Conv1d(10, 20)\n" * 3),
    nb.new_markdown_cell("A pair whose outputs are figures."),
    code("# Gluon\nplot(gluon_history)", "gluon", png=figure("gluon"), alt=CURVE),
    code("# PyTorch\nplot(torch_history)", "pytorch", png=figure("pytorch"), alt=CURVE),
    nb.new_markdown_cell("## Without a partner"),
    code("# PyTorch\ny += x", "pytorch", prints="only here\n"),
    code("# Gluon\ny = y + x", "gluon"),
    nb.new_markdown_cell("## Cells of both"),
    code(
        "# Gluon and PyTorch\ncompare(gluon_net, torch_net)",
        "both",
        html=TABLE._repr_html_(),
    ),
    code(
        "show.sources(gluon_net, torch_net)",
        html=show.sources(Mirrored, Mirrored)._repr_html_(),
    ),
    code(
        'show.markdown(f"The test accuracy is **{accuracy:.1%}**.")',
        "hide-input",
        markdown="The test accuracy is **97.2%**.",
    ),
    code("plot(both)", png=figure("good"), alt="one curve for both frameworks"),
    nb.new_markdown_cell(
        "## Exercises\n\n**1. Make it longer** (code). Return a longer line."
    ),
    code(
        'def longer(n):\n    ...\n\nexercises.check("longer", longer)',
        "exercise",
        prints="not attempted\n",
    ),
    code(
        'def longer(n):\n    return n + 1\n\nexercises.check("longer", longer)',
        "solution",
        "hide-cell",
        prints="passed\n",
    ),
    nb.new_markdown_cell("## Summary\n\nRead on in the [first section](#a-pair)."),
]
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
book = nb.new_notebook(
    cells=cells, metadata={"kernelspec": KERNEL, "language_info": LANGUAGE}
)


def write(file: Path) -> None:
    """Write the notebook."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(nb.writes(book), "utf-8")
