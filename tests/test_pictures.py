"""The world of pictures: artists kept apart, scenes that are what they say, true answers."""

import ast
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from lost_in_attention.benchmarks import BENCHMARKS, load_benchmark
from lost_in_attention.benchmarks.vmcbench import GROUPS
from lost_in_attention.pictures import (
    ARTISTS,
    IMAGE_SIZE,
    SPLITS,
    Scene,
    existence_questions,
    groups,
    instances,
    load_drawings,
    make_scenes,
    write,
)
from lost_in_attention.pictures.drawings import all_drawings, licenses, rasterised
from lost_in_attention.pictures.facts import nouns_of
from lost_in_attention.pictures.knowledge import may_be_named, properties
from lost_in_attention.pictures.layouts import LAYOUTS, cell
from lost_in_attention.pictures.pope import existence_question
from lost_in_attention.pictures.sets import SETS
from lost_in_attention.pictures.settings import SETTINGS, WEIGHTS
from lost_in_attention.pictures.vmcbench import KINDS
from lost_in_attention.pictures.words import UNCOUNTED, a, many
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.worlds import writing

SHIPPED = data_folder() / "pictures"
ASKED = {"pope": 180} | dict.fromkeys([name for name in SETS if name != "pope"], 200)


@pytest.fixture(scope="module")
def scenes():
    return list(make_scenes(60, split="heldout", seed=3))


@pytest.fixture(scope="module")
def rows():
    return {name: rows(ASKED[name], 3, "heldout") for name, rows in SETS.items()}


def the(scene: Scene, noun: str):
    """The one thing of a noun."""
    [picture] = [each for each in scene.pictures if each.noun == noun]
    return picture


def named(scene: Scene, text: str) -> list[str]:
    """The nouns of the scene that a text names, in the text's order."""
    padded = f" {text.replace('?', ' ').replace(',', ' ')} "
    found = [(padded.find(f" {noun} "), noun) for noun in groups()]
    return [noun for place, noun in sorted(found) if place >= 0 and noun in nouns_of(scene)]


def counts_named(scene: Scene, text: str) -> list[int]:
    """How often the scene shows each noun whose plural a text names, in the text's order."""
    counts = Counter(each.noun for each in scene.pictures)
    padded = f" {text.replace('?', ' ')} "
    found = [(padded.find(f" {many(noun)} "), noun) for noun in groups()]
    return [counts[noun] for place, noun in sorted(found) if place >= 0]


# --- drawings


def test_splits_part_the_artists_and_every_drawing():
    assert sorted(sum(ARTISTS.values(), ())) == sorted({d.artist for d in all_drawings()})
    total = [d for s in SPLITS for each in load_drawings(s).of_noun.values() for d in each]
    assert len(total) == len(set(total)) == len(all_drawings()) == 962


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_training_and_held_out_artists_draw_every_noun(split):
    assert set(load_drawings(split).nouns) == set(groups())
    assert len(groups()) == 131


def test_every_artist_has_a_licence_and_its_text():
    texts = {path.stem for path in (SHIPPED / "licenses").iterdir()}
    datasheet = (SHIPPED / "README.md").read_text()
    stored = json.loads((SHIPPED / "pictures.json").read_text())["artists"]
    assert {artist["key"] for artist in stored} == set(sum(ARTISTS.values(), ()))
    for artist in stored:
        assert licenses()[artist["key"]] in texts
        row = f"| {artist['author']} |"
        assert row in datasheet and artist["npm_package"] in datasheet
        assert artist["npm_version"] in datasheet


@pytest.mark.parametrize("split", SPLITS)
def test_scenes_use_the_artists_of_their_split_only(split):
    drawings = load_drawings(split)
    sketches = [
        draw(drawings, np.random.default_rng(seed))
        for draw in LAYOUTS.values()
        for seed in range(8)
    ]
    used = {each.artist for sketch in sketches for each in sketch.things}
    assert used <= set(ARTISTS[split])


@pytest.mark.parametrize("split", ["heldout", "validation"])
def test_shipped_annotations_name_no_artist_of_training(split):
    folder = SHIPPED if split == "heldout" else SHIPPED / split
    stored = json.loads((folder / "annotations" / f"instances_{split}.json").read_text())
    assert {each["artist"] for each in stored["annotations"]} == set(ARTISTS[split])


def test_drawings_are_cropped_to_what_is_drawn():
    for drawing in load_drawings("heldout").of_noun["cow"] + load_drawings("train").of_noun["key"]:
        picture = rasterised(drawing)
        assert picture.mode == "RGBA" and max(picture.size) <= 96
        opacity = np.asarray(picture)[..., 3]
        assert all(edge.max() > 0 for edge in (opacity[0], opacity[-1], opacity[:, 0]))


# --- scenes


def test_settings_hold_known_nouns():
    assert {noun for nouns in SETTINGS.values() for noun in nouns} <= set(groups())
    assert len(WEIGHTS) == len(SETTINGS) and sum(WEIGHTS) == pytest.approx(1)


def test_boxes_lie_inside_and_apart(scenes):
    for scene in scenes:
        covered = np.zeros((IMAGE_SIZE, IMAGE_SIZE), int)
        for x, y, width, height in (each.box for each in scene.pictures):
            assert x >= 0 and x + width <= IMAGE_SIZE and y >= 0 and y + height <= IMAGE_SIZE
            covered[y : y + height, x : x + width] += 1
        assert covered.max() == 1


def test_scenes_show_three_to_five_different_things_none_under_anothers_name(scenes):
    for scene in scenes:
        nouns = nouns_of(scene)
        assert 3 <= len(nouns) <= 5 and len(scene.pictures) <= len(nouns) + 2
        assert all(may_be_named(noun, set(nouns) - {noun}) for noun in nouns)


def test_a_scene_depends_on_split_seed_and_index_alone(scenes):
    *_, again = make_scenes(18, split="heldout", seed=3)
    np.testing.assert_array_equal(again.pixels, scenes[17].pixels)
    [other] = make_scenes(1, split="heldout", seed=4)
    assert other.pictures != scenes[0].pictures


def test_things_keep_company():
    scenes = list(make_scenes(300, split="train", seed=5))
    with_cow = [nouns_of(scene) for scene in scenes if "cow" in nouns_of(scene)]
    assert np.mean(["horse" in nouns for nouns in with_cow]) > 3 * np.mean(
        ["horse" in nouns_of(scene) for scene in scenes]
    )


def test_plurals_and_articles():
    assert [many(n) for n in ("cow", "cherry", "mouse", "church", "key")] == [
        "cows", "cherries", "mice", "churches", "keys",
    ]  # fmt: skip
    assert [a(noun) for noun in ("apple", "cow", "bread")] == ["an apple", "a cow", "some bread"]


def test_properties_are_of_known_nouns_and_never_disputed_at_once():
    for each in properties():
        assert each.nouns | each.disputed <= set(groups())
        assert not each.nouns & each.disputed


# --- files


def test_annotations_read_as_coco(tmp_path, scenes):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(instances(scenes, "heldout")))
    coco = COCO(path)
    assert len(coco.getImgIds()) == len(scenes)
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == list(groups())
    for noun in nouns_of(scenes[0]):
        found = coco.getAnnIds(imgIds=[0], catIds=coco.getCatIds(catNms=[noun]))
        assert len(found) == sum(each.noun == noun for each in scenes[0].pictures)


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    files = [write(tmp_path / name, images=3, questions=24, seed=9) for name in "ab"]
    assert len(files[0]) == 1 + len(SETS)
    for one, other in zip(*files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("name", SETS)
def test_shipped_sets_load_with_their_benchmark(name):
    samples = load_benchmark(name, SHIPPED)
    assert len(samples) >= (3000 if name == "pope" else 1000)
    assert len(load_benchmark(name, SHIPPED / "validation")) >= 200
    for sample in samples[:3]:
        assert sample.image.size == (IMAGE_SIZE, IMAGE_SIZE)
        gold = sample.options.get(sample.answer, sample.answer)
        assert BENCHMARKS[name].judge(gold, sample).correct
    assert load_benchmark(name, "pictures")[0].question == samples[0].question


@pytest.mark.parametrize("name", SETS)
def test_shipped_sets_are_what_the_command_writes(name):
    """Equal questions, and equal pixels of some; another zlib may pack the pixels otherwise."""
    made = SETS[name](3006 if name == "pope" else 1000, 0, "heldout")
    samples = load_benchmark(name, SHIPPED)
    assert len(made) == len(samples)
    for row, sample in list(zip(made, samples, strict=True))[::41]:
        [scene] = [value for value in row.values() if isinstance(value, Scene)]
        assert row["question"] == sample.question
        np.testing.assert_array_equal(scene.pixels, np.asarray(sample.image))


def test_the_data_stay_small():
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*")) < 40e6


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(ValueError, match="split: expected one of .* got 'test'"):
        write(tmp_path, split="test")
    with pytest.raises(ValueError, match="images: expected at least 1, got 0"):
        write(tmp_path, images=0)
    with pytest.raises(ValueError, match="output: expected a place that can be written"):
        write(Path("/dev/null/pictures"))
    assert not any(tmp_path.iterdir())


def test_an_interruption_leaves_the_older_sets_together(tmp_path, monkeypatch):
    files = write(tmp_path, images=1, questions=20, seed=1)
    before = [file.read_bytes() for file in files]
    real, calls = writing.write_parquet, []

    def breaks(*args):
        calls.append(args)
        if len(calls) == len(SETS):
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(writing, "write_parquet", breaks)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, images=1, questions=20, seed=2)
    assert [file.read_bytes() for file in files] == before


# --- questions


def test_existence_is_true_and_balanced(scenes):
    table = existence_questions(scenes, "heldout", seed=3)
    assert (table.groupby("category")["answer"].value_counts() == 3 * len(scenes)).all()
    for row in table.itertuples():
        scene = scenes[int(row.image_source.rsplit("_", 1)[1])]
        there = row.question in map(existence_question, nouns_of(scene))
        assert (row.answer == "yes") == there


def test_popular_and_adversarial_negatives_are_likelier(scenes):
    table = existence_questions(scenes, "heldout", seed=3)
    often = Counter(existence_question(noun) for scene in scenes for noun in nouns_of(scene))
    absent = table[table["answer"] == "no"]
    mean = absent["question"].map(often).fillna(0).groupby(absent["category"]).mean()
    assert mean["popular"] > mean["random"] and mean["adversarial"] > mean["random"]


def test_places_are_true(rows):
    for row in rows["realworldqa"]:
        scene, (head, *rest) = row["image"], row["question"].split("\n")
        options = dict(line.split(". ") for line in rest[:-1])
        if head.startswith("Where"):
            place, noun = options[row["answer"]], named(scene, head)[0]
            assert place == quarter(the(scene, noun))
        elif head.startswith("What"):
            place = head.removeprefix("What is in the ").removesuffix(" part of the image?")
            assert [p.noun for p in scene.pictures if quarter(p) == place] == [
                options[row["answer"]]
            ]
        else:
            x, y = the(scene, named(scene, head)[0]).centre
            word = head.split()[-5]
            holds = {"left": x < 64, "right": x > 64, "top": y < 64, "bottom": y > 64}[word]
            assert row["answer"] == ("Yes" if holds else "No")


def quarter(picture) -> str:
    x, y = picture.centre
    return f"{'top' if y < 64 else 'bottom'} {'left' if x < 64 else 'right'}"


def test_relations_hold_in_all_four_variants(rows):
    found = rows["3dsrbench"]
    for first in range(0, len(found), 4):
        four = found[first : first + 4]
        assert [row["qid"].removeprefix(four[0]["qid"]) for row in four] == [
            "", "-1", "-flip", "-flip-1",
        ]  # fmt: skip
        for row in four:
            one, other = (the(row["image"], noun) for noun in named(row["image"], row["question"]))
            truth = {
                "location_beside": "left" if one.centre[0] < other.centre[0] else "right",
                "location_above": "above" if one.centre[1] < other.centre[1] else "below",
                "height_larger": max(one, other, key=lambda p: p.box[2] * p.box[3]).noun,
            }[row["category"]]
            assert row[row["answer"]] == truth
        plain, turned, flipped, _ = four
        assert (plain["A"], plain["B"]) == (turned["B"], turned["A"])
        np.testing.assert_array_equal(plain["image"].pixels[:, ::-1], flipped["image"].pixels)


def test_kinds_uses_and_abilities_are_right(rows):
    by_text = {f"<image 1> Which thing in the image {each.asked}?": each for each in properties()}
    plurals = {each.plural: each for each in properties() if each.plural}
    for row in rows["mmmu"]:
        scene, options = row["image_1"], ast.literal_eval(row["options"])
        nouns = [picture.noun for picture in scene.pictures]
        if row["id"].split("_")[1] == "Math":
            counted = plurals[row["question"].split("many ")[1].removesuffix(" are there?")]
            assert int(row["answer"]) == sum(noun in counted.nouns for noun in nouns)
            continue
        holder = by_text[row["question"]]
        answer = options["ABCD".index(row["answer"])] if options else row["answer"]
        assert set(nouns) & holder.nouns == {answer} and not set(nouns) & holder.disputed
        for other in set(options) - {answer}:
            assert other not in nouns or other not in holder.nouns | holder.disputed


def test_twins_differ_in_one_thing_and_in_an_answer(rows):
    found = rows["hallusionbench"]
    for first in range(0, len(found), 6):
        one, two = found[first]["image"], found[first + 3]["image"]
        changed = set(one.pictures) ^ set(two.pictures)
        assert len(changed) == (2 if found[first]["subcategory"] == "exchange" else 1)
        answers = [[row["gt_answer"] for row in found[first + k : first + k + 3]] for k in (0, 3)]
        assert answers[0] != answers[1]
        for row in found[first : first + 6]:
            if row["question"].startswith("Are"):
                truth = len(row["image"].pictures) == int(row["question"].split()[3])
            else:
                truth = row["question"] in map(existence_question, nouns_of(row["image"]))
            assert row["gt_answer"] == str(int(truth))


def test_sums_and_differences_are_right(rows):
    for row in rows["mathvista"]:
        scene, text = row["decoded_image"], row["question"]
        first, *others = counts_named(scene, text.replace(" or ", " ").replace(" than ", "  "))
        if row["choices"]:
            truth = row["choices"][int(others[0] > first)]
            assert row["answer"] == truth and first != others[0]
        elif "together" in text:
            assert int(row["answer"]) == first + others[0]
        elif "left" in text:
            assert int(row["answer"]) == len(scene.pictures) - first
        else:
            assert int(row["answer"]) == first - others[0] > 0


def test_choices_come_from_twenty_sources_of_four_groups(rows):
    sources = Counter(row["category"] for row in rows["vmcbench"])
    assert len(sources) == len(KINDS) == 20 and set(sources.values()) == {10}
    assert all(set(members) & set(sources) for members in GROUPS.values())
    assert set(sources) <= {name for members in GROUPS.values() for name in members}


def test_choices_are_answered_truly(rows):
    for row in rows["vmcbench"]:
        options = [row[letter] for letter in "ABCD"]
        assert len(set(options)) == 4
        assert row[row["answer"]] == TRUTHS[row["category"]](row["image"], row["question"], options)


def _only(options, holds) -> str:
    [answer] = [option for option in options if holds(option)]
    return answer


def _kind(scene, text, options) -> str:
    holders = {each.plural: each.nouns for each in properties() if each.plural}
    return _only(options, lambda option: holders[option] & set(nouns_of(scene)))


def _use(scene, text, options) -> str:
    [holder] = [each for each in properties() if text == f"Which thing in the image {each.asked}?"]
    return _only(options, lambda option: option in nouns_of(scene) and option in holder.nouns)


def _nearest(scene, text, options) -> str:
    place = the(scene, named(scene, text)[0])
    others = [each for each in scene.pictures if each is not place]
    return min(others, key=lambda p: np.hypot(*np.subtract(p.centre, place.centre))).noun


def _odd(scene, text, options) -> str:
    for each in properties():
        inside = each.nouns & set(nouns_of(scene))
        if each.plural and len(inside) == 3:
            return _only(set(options) & set(nouns_of(scene)) - inside, bool)
    raise AssertionError(nouns_of(scene))


def _counts(scene) -> Counter:
    return Counter(each.noun for each in scene.pictures)


def _cell(scene, text, options) -> str:
    line, place = (int(word.strip(",")) for word in text.split() if word.strip(",").isdigit())
    rows = sorted({cell(p.centre)[0] for p in scene.pictures})
    columns = sorted({cell(p.centre)[1] for p in scene.pictures})
    wanted = (rows[line - 1], columns[place - 1])
    [picture] = [p for p in scene.pictures if cell(p.centre) == wanted]
    return picture.noun


def _row(scene, text, options) -> str:
    rows = sorted({cell(p.centre)[0] for p in scene.pictures})
    return f"row {rows.index(cell(the(scene, named(scene, text)[0]).centre)[0]) + 1}"


def _in_order(axis):
    def truth(scene, text, options) -> str:
        return ", ".join(p.noun for p in sorted(scene.pictures, key=lambda p: p.centre[axis]))

    return truth


def _extreme(key):
    return lambda scene, text, options: min(scene.pictures, key=key).noun


TRUTHS = {
    "Seen": lambda s, t, o: _only(o, lambda option: option in nouns_of(s)),
    "Unseen": lambda s, t, o: _only(o, lambda option: option not in nouns_of(s)),
    "Count": lambda s, t, o: str(len(s.pictures)),
    "Kind": _kind,
    "Part": lambda s, t, o: _only([p.noun for p in s.pictures if quarter(p) in t], bool),
    "Neighbour": _nearest,
    "Use": _use,
    "Comparison": _extreme(lambda p: -p.box[2] * p.box[3]),
    "Smallest": _extreme(lambda p: p.box[2] * p.box[3]),
    "Leftmost": _extreme(lambda p: p.centre[0]),
    "Topmost": _extreme(lambda p: p.centre[1]),
    "Most": lambda s, t, o: _counts(s).most_common(1)[0][0],
    "Odd one out": _odd,
    "Row": _in_order(0),
    "Column": _in_order(1),
    "Table cell": _cell,
    "Table row": _row,
    "Chart value": lambda s, t, o: str(counts_named(s, t)[0]),
    "Chart most": lambda s, t, o: _counts(s).most_common()[0][0],
    "Chart least": lambda s, t, o: _counts(s).most_common()[-1][0],
}


def test_nothing_is_counted_that_has_no_plural(rows):
    for row in rows["mathvista"]:
        assert not {each.noun for each in row["decoded_image"].pictures} & UNCOUNTED


def test_pictures_are_rgb(scenes):
    assert isinstance(scenes[0].image, Image.Image) and scenes[0].image.mode == "RGB"
