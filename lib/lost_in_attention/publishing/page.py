"""What still and moving figures have in common: their names and words, and how a page gets them."""

import base64
import io
import re
from collections.abc import Mapping

from IPython.display import display
from matplotlib.figure import Figure

_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")


def check_name(argument: str, name: str) -> None:
    """Raise ValueError unless `name` can be that of a file or of an element of a page."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{argument}: expected lower_case words and digits, got {name!r}")


def check_texts(figure: str, texts: Mapping[str, str]) -> None:
    """Raise ValueError unless each of a figure's texts, by what it is, holds words."""
    for what, text in texts.items():
        if not text.strip():
            raise ValueError(f"{what} of figure {figure!r}: expected words, got {text!r}")


def rendered(fig: Figure, kind: str, *, dpi: int) -> bytes:
    """The figure as a file of this kind ("png" or "svg"); equal numbers give equal files."""
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else None
    fig.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def data_uri(kind: str, content: bytes) -> str:
    """Content of a media type such as "image/png" as an address that needs no file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def show(html: str, text: str) -> None:
    """Show HTML in the page; `text` stands in its place where there is none."""
    display({"text/html": html, "text/plain": text}, raw=True)
