"""A small book about one model: the chapters that take any, executed for it, and their pages."""

import shutil
from pathlib import Path

# Chapters that take a model, and those that take several, by what a run gives them besides.
_ONE = (
    "00_models_and_data", "01_residual_stream", "02_effective_rank", "03_projectors", "04_rid",
    "05_token_mixing",
)  # fmt: skip
_MEASURED = (
    "06_layerwise_curves", "07_modulewise", "08_rope_tolerance", "09_size_or_novelty",
    "10_readings",
)  # fmt: skip
_REPLACED = ("12_sap", "13_sap_where", "14_sap_cost")
_TRACED = ("15_tracing", "16_key_region_ratio")
CHAPTERS = (*_ONE, *_MEASURED, *_REPLACED, *_TRACED)
"""All that take any model, in order."""
# Pages of the book that chapters point at, and what a build needs.
_PAGES = ("reading.md", "notation.md", "references.md")
_BESIDE = ("references.bib", "_config.yml")


def chapters(*, traced: bool) -> list[str]:
    """The chapters of a model; those on tracing only where it was `traced`."""
    return [each for each in CHAPTERS if traced or each not in _TRACED]


def chapter_parameters(
    chapter: str, *, model: str, source: str, tier: str, output: str, questions: int, traced: int,
    cases: int, annotations: str,
) -> dict[str, str | int]:  # fmt: skip
    """What papermill sets in a chapter so that it is about `model` and reads what is stored of it.

    `questions` were measured, `traced` were asked for `cases` right and as many wrong answers.
    Raises ValueError on a chapter that is not one of `CHAPTERS`.
    """
    if chapter not in CHAPTERS:
        raise ValueError(f"chapter: expected one of {list(CHAPTERS)}, got {chapter!r}")
    own: dict[str, str | int] = {"tier": tier, "source": source, "output": output}
    own["model" if chapter in _ONE else "models"] = model
    if chapter in _MEASURED:
        own["questions"] = questions
    if chapter in _TRACED:
        own["annotations"] = annotations
    if chapter == "16_key_region_ratio":
        own |= {"questions": traced, "cases_wanted": cases}
    return own


def write_book(book: Path, folder: Path, model: str) -> None:
    """Write into `folder`, which has executed `notebooks` and their `scorecard.md`, what else a
    book of them needs.

    `book` is the folder of the whole book, from which pages and settings are taken.

    Raises ValueError, before anything is written, where chapters, scorecard or pages are missing.
    """
    found = sorted((folder / "notebooks").glob("*.ipynb"))
    if not found or not (folder / "scorecard.md").is_file():
        raise ValueError(
            f"output: expected scorecard.md and chapters in notebooks/, got {str(folder)!r}"
        )
    if lacking := [name for name in (*_PAGES, *_BESIDE) if not (book / name).is_file()]:
        raise ValueError(f"book: expected a folder that holds {', '.join(lacking)}, got {book}")
    for name in (*_PAGES, *_BESIDE):
        shutil.copy(book / name, folder / name)
    shutil.copytree(book / "_static", folder / "_static", dirs_exist_ok=True)
    (folder / "intro.md").write_text(
        f"# {model}\n\nThe chapters of the companion that take any model, executed for this one. "
        "What they compare it with stands in the whole book.\n"
    )
    pages = [f"notebooks/{path.stem}" for path in found]
    pages += ["scorecard", *(name.removesuffix(".md") for name in _PAGES)]
    listed = "".join(f"- file: {page}\n" for page in pages)
    (folder / "_toc.yml").write_text(f"format: jb-book\nroot: intro\nchapters:\n{listed}")
