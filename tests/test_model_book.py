"""The small book about one model: what its chapters are told, and its pages."""

import re

import pytest
import yaml

from conftest import NOTEBOOKS, ROOT
from lost_in_attention.publishing.model_book import (
    CHAPTERS,
    chapter_parameters,
    chapters,
    write_book,
)

TOLD = {
    "model": "./mine", "source": "hub", "tier": "paper", "output": "out", "questions": 7,
    "traced": 9, "cases": 3, "annotations": "boxes.json",
}  # fmt: skip


def own_parameters(chapter: str) -> dict[str, str]:
    text = (ROOT / "notebooks" / f"{chapter}.py").read_text()
    cell = text.partition('# %% tags=["parameters"]\n')[2].partition("\n\n")[0]
    return dict(re.findall(r"^(\w+) = (.+)$", cell, re.MULTILINE))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_has_what_it_is_told(chapter):
    told = chapter_parameters(chapter, **TOLD)
    own = own_parameters(chapter)
    assert told.keys() <= own.keys()
    for name, value in told.items():
        assert isinstance(value, str) == own[name].startswith('"'), name
    assert "./mine" in (told.get("model"), told.get("models"))


def test_all_chapters_that_take_a_model_are_among_them():
    # 11 needs the saved steps of a training, 17 is about a decoder by itself, 18 about the paper.
    others = {path.stem for path in NOTEBOOKS} - set(CHAPTERS)
    assert others == {"11_training_dynamics", "17_sink", "18_audit"}
    assert set(CHAPTERS) - set(chapters(traced=False)) == {"15_tracing", "16_key_region_ratio"}


def test_an_unknown_chapter_is_refused():
    with pytest.raises(ValueError, match="chapter: expected one of"):
        chapter_parameters("11_training_dynamics", **TOLD)


def test_the_book_lists_the_chapters_that_are_there(tmp_path):
    (tmp_path / "notebooks").mkdir()
    for name in ("06_layerwise_curves", "04_rid"):
        (tmp_path / "notebooks" / f"{name}.ipynb").write_text("{}")
    (tmp_path / "scorecard.md").write_text("# Scorecard")
    write_book(ROOT / "book", tmp_path, "mine")
    content = yaml.safe_load((tmp_path / "_toc.yml").read_text())
    files = [each["file"] for each in content["chapters"]]
    assert files[:2] == ["notebooks/04_rid", "notebooks/06_layerwise_curves"]
    assert all((tmp_path / f"{each}.md").exists() for each in [content["root"], *files[2:]])
    assert (tmp_path / "_config.yml").exists() and (tmp_path / "references.bib").exists()
    assert "mine" in (tmp_path / "intro.md").read_text()
