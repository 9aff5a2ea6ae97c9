"""POPE's loader, parser and score."""

import datasets
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.benchmarks.pope import COLUMNS, INSTRUCTION, parse, score

WORDS = st.text(alphabet="abcdefg ,.", max_size=20)


@pytest.mark.parametrize(
    ("reply", "parsed"),
    [
        ("yes", "yes"), ("Yes.", "yes"), ("NO", "no"), (" no,", "no"), ("yes yes", "yes"),
        ("Yes, there is a seven.", "yes"), ("No, there is not.", "no"),
        ("", None), ("maybe", None), ("yes and no", None), ("yesterday", None), ("nothing", None),
        ("24", None), ("(B)", None),
    ],
)  # fmt: skip
def test_replies(reply, parsed):
    assert parse(reply) == parsed


@settings(deadline=None, derandomize=True)
@given(WORDS, WORDS, st.sampled_from(["yes", "no"]), st.booleans())
def test_the_word_counts_wherever_it_stands(before, after, word, capital):
    word_written = word.upper() if capital else word
    assert parse(f"{before} {word_written} {after}") == word


def test_score_by_hand():
    table = pd.DataFrame(
        {"answer": ["yes", "yes", "no", "no", "no"], "parsed": ["yes", "no", "yes", "no", None]}
    )
    got = score(table)
    assert got["accuracy"] == pytest.approx(2 / 5)
    assert got["precision"] == pytest.approx(1 / 2)
    assert got["recall"] == pytest.approx(1 / 2)
    assert got["f1"] == pytest.approx(1 / 2)
    assert got["yes_ratio"] == pytest.approx(2 / 5)
    assert got["unparsed"] == pytest.approx(1 / 5)


def test_f1_is_the_harmonic_mean_with_unparsed_replies():
    table = pd.DataFrame({"answer": ["yes"] * 3, "parsed": ["yes", None, None]})
    got = score(table)
    mean = 2 * got["precision"] * got["recall"] / (got["precision"] + got["recall"])
    assert got["f1"] == pytest.approx(mean)


def test_the_embedded_set():
    samples = load_benchmark("pope")
    assert len(samples) == 9000
    sample = samples[0]
    assert sample.prompt == f"{sample.question}\n{INSTRUCTION}"
    assert sample.group == "adversarial" and sample.answer in ("yes", "no")
    assert len({samples[i].id for i in range(0, 9000, 50)}) == 180


def test_draws_are_seeded_and_never_repeat():
    samples = load_benchmark("pope")
    one, again, other = (samples.draw(50, seed=s) for s in (1, 1, 2))
    assert one.chosen == again.chosen != other.chosen
    assert len(set(one.chosen)) == 50
    with pytest.raises(ValueError, match="count: expected 1 to 9000, got 9001"):
        samples.draw(9001, seed=0)


def test_blank_images_keep_their_question():
    sample = load_benchmark("pope")[5]
    blank = load_benchmark("pope").blanked()[5]
    assert (blank.id, blank.prompt, blank.answer) == (sample.id, sample.prompt, sample.answer)
    assert len(blank.image.getcolors()) == 1 and blank.image.size == sample.image.size


def row(**changes):
    image = Image.new("RGB", (8, 8))
    values = ("0", "1", "Is there a dog in the image?", "yes", "x", image, "random")
    return dict(zip(COLUMNS, values, strict=True)) | changes


def folder_of(tmp_path, rows):
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "test.parquet")
    return tmp_path


def test_a_local_folder(tmp_path):
    (sample,) = load_benchmark("pope", folder_of(tmp_path, [row()]))
    assert sample.id == "random-1" and sample.image.size == (8, 8)


def test_a_missing_column_is_named(tmp_path):
    bad = row()
    del bad["answer"]
    with pytest.raises(ValueError, match="'answer'.* missing"):
        load_benchmark("pope", folder_of(tmp_path, [bad]))


def test_a_strange_answer_names_its_row(tmp_path):
    samples = load_benchmark("pope", folder_of(tmp_path, [row(), row(answer="perhaps")]))
    with pytest.raises(ValueError, match="row 1, column 'answer': .*'perhaps'"):
        samples[1]


def test_an_unreadable_image_names_its_row(tmp_path):
    features = datasets.Features(
        {c: datasets.Value("string") for c in COLUMNS if c != "image"}
        | {"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}}
    )
    broken = row(image={"bytes": b"not a picture", "path": "x.png"})
    datasets.Dataset.from_list([broken], features=features).to_parquet(tmp_path / "test.parquet")
    with pytest.raises(ValueError, match="row 0, column 'image'"):
        load_benchmark("pope", tmp_path)[0]


def test_missing_split_and_unknown_benchmark(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"split: expected files named test\*"):
        load_benchmark("pope", tmp_path)
    with pytest.raises(ValueError, match="name: expected one of .*'pope'.* got 'pop'"):
        load_benchmark("pop")
