"""The code of chapters, folded where the page is about what was found.

Where the code is the argument itself it stays open: `code_stays_open` in book/_config.yml lists
these pages by patterns.  Everywhere else a reader unfolds a cell by one click, and print shows all.
Checks of exercises stay open.  Sources and executed notebooks stay as they are.
"""

from fnmatch import fnmatch
from typing import Any


def setup(app: Any) -> dict[str, Any]:
    """For Sphinx: fold the input of cells as the tag `hide-input` does."""
    from docutils import nodes

    def fold(app, doctree: nodes.document) -> None:
        page, config = app.env.docname, app.config
        if any(fnmatch(page, pattern) for pattern in config.code_stays_open):
            return
        for cell in doctree.findall(nodes.container):
            if cell.get("nb_element") == "cell_code" and not _settled(cell):
                cell["hide_mode"] = "input"
                cell["prompt_show"] = config.nb_code_prompt_show
                cell["prompt_hide"] = config.nb_code_prompt_hide

    app.add_config_value("code_stays_open", [], "env", [list])
    app.connect("doctree-read", fold)
    return {"parallel_read_safe": True}


def _settled(cell: Any) -> bool:
    """Whether a cell's tags have decided already."""
    return "hide_mode" in cell or "tag_exercise-check" in cell["classes"]
