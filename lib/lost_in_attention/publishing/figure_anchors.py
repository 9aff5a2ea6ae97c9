"""Anchors for the figures of chapters, so that pages can link to each.

`report.figure` names a figure in its downloads alone; `setup` gives its element that name as id,
figure-<name>, when the book is built, so that notebooks need not be executed for it.
"""

import re
from typing import Any

_FIGURE = re.compile(r'<figure(?= style=)(?=.*? download="([a-z0-9_]+)\.csv")', re.DOTALL)


def figure_link(figure: str, text: str) -> str:
    """A link to a figure of a chapter by chapter/name, from a page beside `notebooks`."""
    page, name = figure.split("/")
    return f'<a href="notebooks/{page}.html#figure-{name}">{text}</a>'


def anchored(html: str) -> str:
    """The HTML of a cell's output, its figure with an id if `report.figure` made one."""
    return _FIGURE.sub(r'<figure id="figure-\1"', html)


def setup(app: Any) -> dict[str, Any]:
    """For Sphinx: give the figures of every page their ids."""
    from docutils import nodes

    def add_anchors(_app, doctree: nodes.document) -> None:
        for raw in doctree.findall(nodes.raw):
            raw[:] = [nodes.Text(anchored(raw.astext()))]

    app.connect("doctree-read", add_anchors)
    return {"parallel_read_safe": True}
