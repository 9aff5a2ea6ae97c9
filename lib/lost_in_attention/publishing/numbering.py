"""Numbers of chapters, and of their figures, definitions, theorems and exercises.

A chapter is called by the two digits that its file begins with, in prose and on the scorecard.
Sphinx would count pages in the order of the table of contents, where chapter 17 stands before
chapter 12.  So it is told the digits: "06. Layer by layer", Figure 06.1, Exercise 06.2.  The
paper's own numbers (Definition 3.2) have no zero in front, and cannot be taken for those.
"""

import re
from itertools import count
from typing import Any

_CHAPTER = re.compile(r"notebooks/(\d\d)_")


def chapter_number(page: str) -> str:
    """The digits of a chapter's page, as "06"; nothing for other pages."""
    found = _CHAPTER.match(page)
    return found[1] if found else ""


def setup(app: Any) -> dict[str, Any]:
    """For Sphinx: number what chapters hold; numbers are final once all pages are read."""
    from docutils import nodes
    from sphinx.environment.collectors.toctree import TocTreeCollector

    def number_figures(app, doctree: nodes.document) -> None:
        if number := chapter_number(app.env.docname):
            figures = count(1)
            for raw in doctree.findall(nodes.raw):
                raw[:] = [nodes.Text(_numbered(raw.astext(), number, figures))]

    def number_chapters(_app, env) -> list[str]:
        chapters = {page: number for page in env.tocs if (number := chapter_number(page))}
        for page, number in chapters.items():
            first, *others = env.tocs[page].findall(nodes.reference)
            first["secnumber"] = env.titles[page]["secnumber"] = (number,)
            # Without an entry a section would have its page's number in front.
            unnumbered = {reference["anchorname"]: () for reference in others}
            env.toc_secnumbers[page] = {"": (number,)} | unnumbered
        TocTreeCollector().assign_figure_numbers(env)
        return sorted(chapters)

    app.connect("doctree-read", number_figures)
    # After Sphinx has assigned its own numbers, at the usual priority of 500.
    app.connect("env-get-updated", number_chapters, priority=600)
    return {"parallel_read_safe": True}


def _numbered(html: str, chapter: str, figures: "count[int]") -> str:
    """HTML with the number of each figure at the head of its caption."""
    return re.sub(
        "<figcaption>",
        lambda caption: (
            f'{caption[0]}<span class="caption-number">Figure {chapter}.{next(figures)}.</span> '
        ),
        html,
    )
