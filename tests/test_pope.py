"""POPE: its score, its embedded set, and drawing and blanking samples."""

from math import isnan

import pandas as pd
import pytest

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.benchmarks.choices import BRIEFLY
from lost_in_attention.benchmarks.pope import score


def test_score_by_hand():
    table = pd.DataFrame(
        {"answer": ["yes", "yes", "no", "no", "no"], "parsed": ["yes", "no", "yes", "yes", None]}
    )
    table["correct"] = table["answer"] == table["parsed"]
    got = score(table)
    assert got["accuracy"] == pytest.approx(1 / 5)
    assert got["precision"] == pytest.approx(1 / 3)
    assert got["recall"] == pytest.approx(1 / 2)
    assert got["f1"] == pytest.approx(2 / 5)
    assert got["yes_ratio"] == pytest.approx(3 / 5)
    assert got["unparsed"] == pytest.approx(1 / 5)


def test_f1_is_the_harmonic_mean_with_unparsed_replies():
    correct = [True, False, False]
    table = pd.DataFrame({"answer": ["yes"] * 3, "parsed": ["yes", None, None], "correct": correct})
    got = score(table)
    mean = 2 * got["precision"] * got["recall"] / (got["precision"] + got["recall"])
    assert got["f1"] == pytest.approx(mean)


def test_precision_is_nan_where_nothing_is_a_yes():
    table = pd.DataFrame({"answer": ["yes", "no"], "parsed": ["no", "no"]})
    got = score(table.assign(correct=table["answer"] == table["parsed"]))
    assert isnan(got["precision"])
    assert got["recall"] == got["f1"] == 0


def test_the_embedded_set():
    samples = load_benchmark("pope")
    assert len(samples) == 9000
    sample = samples[0]
    assert sample.prompt == f"{sample.question}\n{BRIEFLY}"
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
    [seen], [grey] = sample.images, blank.images
    assert len(grey.getcolors()) == 1 and grey.size == seen.size
