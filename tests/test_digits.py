"""The embedded data: no leak between splits, boxes that fit, schemas, determinism."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pycocotools.coco import COCO

from lost_in_attention.benchmarks.pope import COLUMNS
from lost_in_attention.digits import (
    DIGIT_NAMES,
    IMAGE_SIZE,
    SPLITS,
    existence_questions,
    instances,
    load_glyphs,
    make_scenes,
    write,
)
from lost_in_attention.paths import data_folder

SHIPPED = data_folder() / "digits"


@pytest.fixture(scope="module")
def scenes():
    return list(make_scenes(120, split="heldout", seed=3))


@pytest.fixture(scope="module")
def shipped_annotations():
    return json.loads((SHIPPED / "annotations" / "instances_heldout.json").read_text())


def test_splits_part_all_1797_images():
    sources = [set(load_glyphs(split).source.tolist()) for split in SPLITS]
    assert sum(map(len, sources)) == len(set.union(*sources)) == 1797
    assert set.union(*sources) == set(range(1797))


def test_every_split_holds_every_digit_in_like_shares():
    for split in SPLITS:
        share = np.bincount(load_glyphs(split).label, minlength=10) / len(load_glyphs(split).label)
        assert np.abs(share - 0.1).max() < 0.02


@pytest.mark.parametrize("split", SPLITS)
def test_scenes_use_their_own_split_only(split):
    allowed = set(load_glyphs(split).source.tolist())
    used = {d.source for scene in make_scenes(40, split=split, seed=1) for d in scene.digits}
    assert used <= allowed


def test_shipped_scenes_hold_no_training_digit(shipped_annotations):
    used = {a["sklearn_index"] for a in shipped_annotations["annotations"]}
    assert used <= set(load_glyphs("heldout").source.tolist())
    for split in ("train", "validation"):
        assert not used & set(load_glyphs(split).source.tolist())


def test_labels_are_those_of_the_drawn_images(scenes):
    glyphs = load_glyphs("heldout")
    label = dict(zip(glyphs.source.tolist(), glyphs.label.tolist(), strict=True))
    assert all(label[d.source] == d.digit for scene in scenes for d in scene.digits)


def test_boxes_lie_inside_and_apart(scenes):
    for scene in scenes:
        covered = np.zeros((IMAGE_SIZE, IMAGE_SIZE), int)
        for x, y, width, height in (d.box for d in scene.digits):
            assert x >= 0 and x + width <= IMAGE_SIZE and y >= 0 and y + height <= IMAGE_SIZE
            covered[y : y + height, x : x + width] += 1
        assert covered.max() == 1


def test_ink_lies_in_its_box(scenes):
    """The digit's colour appears inside its box and nowhere outside all boxes."""
    for scene in scenes[:40]:
        bright = scene.pixels.max(-1) > 110
        outside = np.ones_like(bright)
        for x, y, width, height in (d.box for d in scene.digits):
            assert bright[y : y + height, x : x + width].any()
            outside[y : y + height, x : x + width] = False
        assert not (bright & outside).any()


def test_scenes_hold_three_to_six_digits_three_of_them_different(scenes):
    for scene in scenes:
        assert 3 <= len(scene.digits) <= 6
        assert len({d.digit for d in scene.digits}) >= 3


def test_a_scene_depends_on_seed_and_index_alone(scenes):
    (alone,) = make_scenes(1, split="heldout", seed=3, first=17)
    np.testing.assert_array_equal(alone.pixels, scenes[17].pixels)
    assert alone.digits == scenes[17].digits
    (other,) = make_scenes(1, split="heldout", seed=4, first=17)
    assert other.digits != alone.digits


def test_digits_keep_company():
    """Digits of one theme meet far more often than digits of none."""
    scenes = list(make_scenes(400, split="train", seed=5))
    present = np.array([[d in {p.digit for p in s.digits} for d in range(10)] for s in scenes])
    given_one = present[present[:, 1]].mean(0)
    assert given_one[7] > 2 * given_one[8]


def test_questions_have_popes_columns_and_true_answers(scenes):
    table = existence_questions(scenes, seed=3)
    assert [*table.columns[:5], "image", "category"] == list(COLUMNS)
    assert len(table) == 18 * len(scenes)
    assert (table.groupby("category")["answer"].value_counts() == 9 * len(scenes) // 3).all()
    for row in table.itertuples():
        scene = scenes[int(row.image_source.rsplit("_", 1)[1])]
        word = row.question.removesuffix(" in the image?").split()[-1]
        present = DIGIT_NAMES.index(word) in {d.digit for d in scene.digits}
        assert (row.answer == "yes") == present


def test_negatives_are_what_their_name_says(scenes):
    table = existence_questions(scenes, seed=3)
    absent = table[table["answer"] == "no"]
    frequency = pd.Series(
        [name for s in scenes for name in {DIGIT_NAMES[d.digit] for d in s.digits}]
    ).value_counts()
    asked = absent["question"].str.extract(r"an? (\w+) in")[0].map(frequency)
    mean = asked.groupby(absent["category"]).mean()
    assert mean["popular"] > mean["random"]
    together = np.zeros((10, 10))
    for scene in scenes:
        values = sorted({d.digit for d in scene.digits})
        together[np.ix_(values, values)] += 1
    company = {}
    for category, rows in absent.groupby("category"):
        company[category] = np.mean(
            [
                sum(
                    together[d, DIGIT_NAMES.index(row.question.split()[-4])]
                    for d in {p.digit for p in scenes[int(row.image_source[-6:])].digits}
                )
                for row in rows.itertuples()
            ]
        )
    assert company["adversarial"] >= max(company["popular"], company["random"])


def test_annotations_read_as_coco(tmp_path, scenes):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(instances(scenes)))
    coco = COCO(path)
    assert len(coco.getImgIds()) == len(scenes)
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(DIGIT_NAMES)
    sevens = coco.getAnnIds(imgIds=[0], catIds=[8])
    assert len(sevens) == sum(d.digit == 7 for d in scenes[0].digits)


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    files = [write(tmp_path / name, images=5, seed=9) for name in "ab"]
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert not list(tmp_path.rglob("*.part"))


def test_shipped_files_are_what_the_command_writes(tmp_path):
    """Equal annotations, questions and pixels; another zlib may pack the pixels otherwise."""
    annotations, questions = write(tmp_path)
    shipped = SHIPPED / annotations.relative_to(tmp_path)
    assert json.loads(annotations.read_text()) == json.loads(shipped.read_text())
    made, stored = (
        pd.read_parquet(path) for path in (questions, SHIPPED / questions.relative_to(tmp_path))
    )
    text = [column for column in COLUMNS if column != "image"]
    pd.testing.assert_frame_equal(made[text], stored[text])
    for one, other in zip(made["image"][::18], stored["image"][::18], strict=True):
        np.testing.assert_array_equal(pixels(one), pixels(other))


def pixels(image: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image["bytes"])))


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(ValueError, match="split: expected one of .* got 'test'"):
        load_glyphs("test")
    with pytest.raises(ValueError, match="images: expected at least 1, got 0"):
        write(tmp_path, images=0)
    assert not any(tmp_path.iterdir())
