"""The book's pages on the library, one a room, from the docstrings of its modules.

The pages only name modules; Sphinx's autodoc fills them in.  The package is walked, so a module
that is added or moved needs no edit of a page.  Docstrings are plain text; `markup` says what
becomes of their indentation and their signs on the way into Sphinx.

`python -m lost_in_attention.publishing.api_reference book` writes the pages into the folder `book`.
"""

import ast
import re
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import ArrayLike

from lost_in_attention.runs.refusals import run

PACKAGE = Path(__file__).parents[1]
INDEX = "api"
_CODE = re.compile(r"`([^`]+)`")
_LISTED = re.compile(r"\d+\. |[-*] ")
_UNREADABLE = re.compile(r"(?<=[=,] )<(?:[^<>]|<\w+>)*>")
_INDENTED = re.compile(r"\n\s+\S")


def rooms() -> dict[str, list[str]]:
    """The modules of each room by its name, first the room itself; under "" those of no room.

    A room is a package directly in the library, and so is the library; what lies deeper in a room
    belongs to it.
    """
    found: dict[str, list[str]] = {"": []}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if parts[-1] != "__main__":
            room = parts[1] if len(parts) > 2 else ""
            found.setdefault(room, []).append(".".join(parts).removesuffix(".__init__"))
    return {room: sorted(modules) for room, modules in found.items()}


def write_pages(book: Path) -> None:
    """Write api/<room>.rst and api.rst into the folder `book`, in place of older ones.

    Raises FileNotFoundError if there is no such folder.
    """
    if not book.is_dir():
        raise FileNotFoundError(f"book: expected a folder, got {str(book)!r}")
    shutil.rmtree(book / INDEX, ignore_errors=True)
    (book / INDEX).mkdir()
    (package, *outside), *others = rooms().values()
    for room, *inside in others:
        title = _heading(_short(room), "=")
        _write(book / INDEX / f"{_short(room)}.rst", title, _module(room), *map(_section, inside))
    listed = [f"* :doc:`{INDEX}/{_short(room)}`: {_summary(room)}\n" for room, *_ in others]
    contents = [_heading("The library", "="), _module(package), *listed, *map(_section, outside)]
    _write(book / f"{INDEX}.rst", *contents)


def markup(docstring: str) -> str:
    """A docstring as reStructuredText that shows its signs as they are.

    Indented paragraphs are code, and so is what stands in backticks.  Below a line that ends in
    a colon the indented entries become a list, and so do entries with indented further lines.
    Numbered and dashed lists stay, and so do examples, which start with >>>.
    """
    return "\n\n".join(map(_paragraph, re.split(r"\n\s*\n", docstring)))


def signature(arguments: str) -> str:
    """The arguments as Sphinx writes them, as Python that it can read: with links, on short lines.

    Values that Python has no words for, such as <factory>, become three dots.  NumPy's ArrayLike
    is called so again.
    """
    from sphinx.util.typing import stringify_annotation  # the library alone works without it

    named = arguments.replace(stringify_annotation(ArrayLike, "smart"), "ArrayLike")
    return _UNREADABLE.sub("...", named)


def _paragraph(text: str) -> str:
    if text.startswith(">>> "):
        return text
    if text.startswith(" "):
        return f"::\n\n{text}"
    if _LISTED.match(text) or not _INDENTED.search(text):
        return _escaped(text)
    return _entries(_escaped(text).split("\n"))


def _entries(lines: list[str]) -> str:
    """Lines with indented ones among them, as a list with its headings."""
    depths = [len(line) - len(line.lstrip()) for line in lines]
    has_heading = any(line.endswith(":") for line in lines if not line.startswith(" "))
    outermost = min(filter(None, depths)) if has_heading else 0
    shown = []
    for line, depth in zip(lines, depths, strict=True):
        if depth == outermost:
            shown.append(f"\n* {line.strip()}")
        elif depth > outermost:
            shown.append(f"  {line.strip()}")
        else:
            shown.append(f"\n{line}")
    return "\n".join(shown)


def _escaped(text: str) -> str:
    pieces = _CODE.split(text)
    pieces[::2] = [re.sub(r"([\\*_|`])", r"\\\1", piece) for piece in pieces[::2]]
    pieces[1::2] = [f"``{piece}``" for piece in pieces[1::2]]
    # An empty sign parts code from text that touches it, as in `how`="sum".
    return re.sub(r"\x00(?=\S)", r"\\ ", "\x00".join(pieces)).replace("\x00", "")


def _write(path: Path, *parts: str) -> None:
    path.write_text("\n".join(parts))


def _heading(title: str, underline: str) -> str:
    return f"{title}\n{underline * len(title)}\n"


def _short(module: str) -> str:
    """A module's name as its pages have it, without that of the package."""
    return module.removeprefix(f"{PACKAGE.name}.")


def _section(module: str) -> str:
    return _heading(_escaped(_short(module)), "-") + _module(module)


def _module(name: str) -> str:
    return f"\n.. automodule:: {name}\n"


def _summary(room: str) -> str:
    """The first paragraph of a room's docstring."""
    source = (PACKAGE / _short(room) / "__init__.py").read_text()
    docstring = ast.get_docstring(ast.parse(source)) or ""
    return _escaped(" ".join(docstring.partition("\n\n")[0].split()))


def setup(app: Any) -> dict[str, Any]:
    """Sphinx extension: docstrings pass through `markup`, signatures through `signature`."""

    def mark_up(_app, _what, _name, _object, _options, lines: list[str]) -> None:
        lines[:] = markup("\n".join(lines).rstrip()).split("\n")

    def shorten(_app, _what, _name, _object, _options, arguments, returned) -> tuple:
        return arguments and signature(arguments), returned

    app.connect("autodoc-process-docstring", mark_up)
    app.connect("autodoc-process-signature", shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def pages(book: Annotated[Path, typer.Argument(help="The folder of the book.")]) -> None:
    """Write the pages on the library."""
    write_pages(book)


if __name__ == "__main__":
    run(app)
