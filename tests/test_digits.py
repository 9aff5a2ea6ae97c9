"""The embedded data: no leak between splits, boxes that fit, schemas, determinism."""

import ast
import importlib
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pycocotools.coco import COCO

from lost_in_attention.benchmarks.pope import PUBLISHED
from lost_in_attention.digits import (
    DIGIT_NAMES,
    IMAGE_SIZE,
    SPLITS,
    Scene,
    existence_questions,
    instances,
    load_glyphs,
    make_scenes,
    write,
)
from lost_in_attention.digits.facts import quadrant
from lost_in_attention.digits.sets import (
    SETS,
    hallusionbench_rows,
    mathvista_rows,
    mmmu_rows,
    realworldqa_rows,
    threedsrbench_rows,
    vmcbench_rows,
)
from lost_in_attention.digits.variants import make_row
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.worlds import writing

COLUMNS = PUBLISHED.columns
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
    assert {*table.columns, "image"} == {*COLUMNS, "id"}
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
    files = [write(tmp_path / name, images=5, questions=8, seed=9) for name in "ab"]
    assert len(files[0]) == 1 + len(SETS)
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("name", SETS)
def test_shipped_sets_are_what_the_command_writes(name):
    """Equal rows and pixels; another zlib may pack the pixels otherwise."""
    stored = pd.read_parquet(SHIPPED / name / f"{writing.SPLITS[name]}.parquet")
    made = SETS[name](9000 if name == "pope" else 1000, 0)
    assert len(made) == len(stored) >= 1000
    for column in stored:
        values = [row[column] for row in made]
        if any(isinstance(value, Scene) for value in values):
            for scene, image in list(zip(values, stored[column], strict=True))[::18]:
                np.testing.assert_array_equal(scene.pixels, pixels(image))
        elif column not in ("metadata", "choices"):
            assert (
                values == stored[column].astype(object).where(stored[column].notna(), None).tolist()
            )


def test_shipped_annotations_are_what_the_command_writes(shipped_annotations):
    assert instances(list(make_scenes(500, split="heldout", seed=0))) == shipped_annotations


def test_the_sets_stay_small():
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) < 40e6


@pytest.mark.parametrize("name", SETS)
def test_rows_have_the_published_columns(name):
    row = SETS[name](18, 5)[0]
    published = importlib.import_module(
        f"lost_in_attention.benchmarks.{'threedsrbench' if name == '3dsrbench' else name}"
    ).PUBLISHED
    for column in published.columns:
        assert set(column.split("|")) & set(row)


def digit_named(scene: Scene, text: str) -> list:
    return [d for name in text.replace(",", "").rstrip("?").split() if name in DIGIT_NAMES
            for d in scene.digits if d.name == name]  # fmt: skip


def test_places_are_true():
    for row in realworldqa_rows(200, 3):
        head, *rest = row["question"].split("\n")
        [digit] = digit_named(row["image"], head)
        x, y = digit.centre
        if head.startswith("Where"):
            chosen = dict(line.split(". ") for line in rest[:-1])[row["answer"]]
            assert chosen == f"{'top' if y < 48 else 'bottom'} {'left' if x < 48 else 'right'}"
        else:
            position = x if "column" in head else y
            assert int(row["answer"]) == int(position // 12) + 1


def test_relations_hold_in_all_four_variants():
    rows = threedsrbench_rows(200, 3)
    for first in range(0, len(rows), 4):
        four = rows[first : first + 4]
        base = four[0]["qid"]
        assert [row["qid"].removeprefix(base) for row in four] == ["", "-1", "-flip", "-flip-1"]
        for row in four:
            one, other = digit_named(row["image"], row["question"])
            truth = {
                "location_beside": "left" if one.centre[0] < other.centre[0] else "right",
                "location_above": "above" if one.centre[1] < other.centre[1] else "below",
                "height_taller": (one if one.box[3] > other.box[3] else other).name,
            }[row["category"]]
            assert row[row["answer"]] == truth
        plain, turned, flipped, _ = four
        assert (plain["A"], plain["B"]) == (turned["B"], turned["A"])
        changes = plain["category"] == "location_beside"
        assert (plain["answer"] != flipped["answer"]) == changes


def test_subjects_are_answered_truly():
    for row in mmmu_rows(200, 3):
        scene, answer = row["image_1"], row["answer"]
        options = ast.literal_eval(row["options"])
        answer = options["ABCD".index(answer)] if options else answer
        subject = row["id"].split("_")[1]
        if subject == "Art":
            assert answer == digit_named(scene, row["question"])[0].colour
        elif subject == "Psychology":
            colour = row["question"].rstrip("?").split()[-1]
            assert [d.name for d in scene.digits if d.colour == colour] == [answer]
        elif subject == "Geography":
            place = row["question"].split("the ")[1].removesuffix(" part?")
            assert [d.name for d in scene.digits if quadrant(d) == place] == [answer]
        else:
            colour = row["question"].split()[-4]
            counted = [d for d in scene.digits if colour in ("many", d.colour)]
            assert int(answer) == len(counted)


def test_choices_are_answered_truly():
    kinds = set()
    for row in vmcbench_rows(300, 3):
        scene, answer = row["image"], row[row["answer"]]
        kinds.add(row["category"])
        assert len({row[letter] for letter in "ABCD"}) == 4
        truth = {
            "Colour": lambda s, row=row: digit_named(s, row["question"])[0].colour,
            "Count": lambda s: str(len(s.digits)),
            "Comparison": lambda s: DIGIT_NAMES[max(d.digit for d in s.digits)],
            "String": lambda s: " ".join(
                str(d.digit) for d in sorted(s.digits, key=lambda d: d.box)
            ),
        }[row["category"]](scene)
        assert answer == truth
    assert kinds == {"Colour", "Count", "Comparison", "String"}


def test_twins_differ_in_one_thing_and_in_an_answer():
    rows = hallusionbench_rows(120, 3)
    for first in range(0, len(rows), 6):
        one, two = rows[first]["image"], rows[first + 3]["image"]
        assert len(set(one.digits) ^ set(two.digits)) == (
            2 if rows[first]["subcategory"] == "colour" else 1
        )
        answers = [[row["gt_answer"] for row in rows[first + k : first + k + 3]] for k in (0, 3)]
        assert answers[0] != answers[1]
        for row in rows[first : first + 6]:
            words = row["question"].rstrip("?").split()
            names = {d.name for d in row["image"].digits}
            if words[0] == "Are":
                truth = len(row["image"].digits) == int(words[3])
            elif words[1] == "there":
                truth = words[3] in names
            else:
                truth = digit_named(row["image"], row["question"])[0].colour == words[-1]
            assert row["gt_answer"] == str(int(truth))


def test_sums_are_right():
    for row in mathvista_rows(200, 3):
        by_colour = {d.colour: d.digit for d in row["decoded_image"].digits}
        words = row["question"].replace(",", "").rstrip("?").split()
        values = [by_colour[word] for word in words if word in by_colour]
        if row["choices"]:
            assert row["answer"] == max(row["choices"], key=by_colour.get)
        elif "sum" in words:
            assert int(row["answer"]) == sum(values)
        else:
            sign = 1 if "plus" in words else -1
            assert int(row["answer"]) == values[0] + sign * int(words[-1])


def test_a_row_of_digits_reads_from_left_to_right():
    glyphs = load_glyphs("train")
    for seed in range(30):
        row = make_row(glyphs, np.random.default_rng(seed))
        assert [d.box[0] for d in row.digits] == sorted(d.box[0] for d in row.digits)
        assert len(row.digits) == 3 and len({d.colour for d in row.digits}) == 1
        for x, y, width, height in (d.box for d in row.digits):
            assert 0 <= x <= IMAGE_SIZE - width and 0 <= y <= IMAGE_SIZE - height


def pixels(image: dict) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image["bytes"])))


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(ValueError, match="split: expected one of .* got 'test'"):
        load_glyphs("test")
    with pytest.raises(ValueError, match="images: expected at least 1, got 0"):
        write(tmp_path, images=0)
    with pytest.raises(ValueError, match="questions: expected at least 1, got 0"):
        write(tmp_path, questions=0)
    with pytest.raises(ValueError, match="seed: expected at least 0, got -1"):
        write(tmp_path, seed=-1)
    with pytest.raises(ValueError, match="output: expected a place that can be written"):
        write(Path("/dev/null/digits"))
    assert not any(tmp_path.iterdir())


def test_an_interruption_leaves_the_older_sets_together(tmp_path, monkeypatch):
    """Annotations and seven sets belong to one another: all are new, or all old."""
    files = write(tmp_path, images=2, questions=8, seed=1)
    before = [file.read_bytes() for file in files]
    real, calls = writing.write_parquet, []

    def breaks(*args):
        calls.append(args)
        if len(calls) == len(SETS):
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(writing, "write_parquet", breaks)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, images=2, questions=8, seed=2)
    assert [file.read_bytes() for file in files] == before
    assert not list(tmp_path.rglob("*.part"))
