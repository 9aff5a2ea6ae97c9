"""Pictures that a row names by an address: fetched over http or https, then kept on disk."""

import io
import re
from contextlib import suppress
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from urllib import request

import datasets
from PIL import Image

from lost_in_attention.runs.files import replaced_when_complete

_ADDRESS = re.compile(r"https?://\S+", re.IGNORECASE)
_SECONDS = 30
_LARGEST = 1 << 26
# An opener of its own: the usual one also reads file: and ftp: addresses.
_HANDLERS = (
    request.ProxyHandler,
    request.HTTPHandler,
    request.HTTPSHandler,
    request.HTTPRedirectHandler,
    request.HTTPDefaultErrorHandler,
    request.HTTPErrorProcessor,
    request.UnknownHandler,
)


def is_address(text: str) -> bool:
    """Whether the whole text is an http or https address."""
    return _ADDRESS.fullmatch(text) is not None


def fetched(address: str) -> bytes:
    """The picture at an address, from the copy that an earlier call kept if there is one.

    The copy lies in the Hugging Face cache; where that cannot be written none is kept.
    Raises OSError that names the address if it cannot be reached or holds no picture.
    """
    if not is_address(address):
        raise OSError(f"expected an http or https address, got {address!r}")
    name = sha256(address.encode()).hexdigest()
    copy = Path(datasets.config.HF_CACHE_HOME) / "lost_in_attention" / "pictures" / name
    if copy.is_file():
        return copy.read_bytes()
    content = _downloaded(address)
    with suppress(OSError), replaced_when_complete(copy) as part:
        part.write_bytes(content)
    return content


def _downloaded(address: str) -> bytes:
    opener = request.OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    asked = request.Request(address, headers={"User-Agent": "lost-in-attention"})
    try:
        with opener.open(asked, timeout=_SECONDS) as answer:
            content = answer.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise OSError(f"larger than {_LARGEST} bytes")
        with Image.open(io.BytesIO(content)) as image:
            image.verify()
    except (OSError, HTTPException, SyntaxError, ValueError) as error:
        raise OSError(f"{address} cannot be fetched: {error}") from error
    return content
