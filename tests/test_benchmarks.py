"""The seven benchmarks on small tables in the published columns: load, prompt, judge, score."""

import os
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread
from types import SimpleNamespace

import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from conftest import types_unchecked
from lost_in_attention.benchmarks import (
    BENCHMARKS,
    Sample,
    Samples,
    base,
    chance,
    hallusionbench,
    load_benchmark,
    mathvista,
    mmmu,
    realworldqa,
    threedsrbench,
    vmcbench,
)
from lost_in_attention.benchmarks.addresses import fetched
from lost_in_attention.benchmarks.departures import DEPARTURES
from lost_in_attention.evaluation import questions as evaluation
from lost_in_attention.evaluation.decoding import Reply
from lost_in_attention.evaluation.lane import Asking


def picture(shade: int = 90) -> Image.Image:
    return Image.new("RGB", (8, 6), (shade, 0, 0))


ROWS = {
    "pope": {
        "id": "0", "question_id": "1", "question": "Is there a dog in the image?",
        "answer": "yes", "image_source": "COCO_1", "image": picture(), "category": "random",
    },
    "realworldqa": {
        "image": picture(), "answer": "B",
        "question": "Where is the car?\nA. Left\nB. Right\nAnswer with the letter only.",
    },
    "3dsrbench": {
        "index": "VIN6MS3J-flip-1", "qid": "VIN6MS3J-flip-1", "question": "Which is higher?",
        "A": "the lamp", "B": "the chair", "C": None, "D": None, "answer": "A",
        "category": "height_higher", "image_source": "COCO", "image_url": "", "image": picture(),
    },
    "mmmu": {
        "id": "validation_Art_Theory_12", "question": "Compare <image 1> with <image 2>.",
        "options": "['older <image 1>', \"both's\", 'neither']", "explanation": "",
        "image_1": picture(1), "image_2": picture(2), **{f"image_{n}": None for n in range(3, 8)},
        "img_type": "['Paintings']", "answer": "A", "topic_difficulty": "Easy",
        "question_type": "multiple-choice", "subfield": "Art",
    },
    "vmcbench": {
        "index": 7, "question": "What is it?", "A": "a cat", "B": "a dog", "C": "a cow",
        "D": "a fox", "answer": "D", "category": "GQA", "image": picture(),
    },
    "hallusionbench": {
        "category": "VD", "subcategory": "figure", "visual_input": "1", "set_id": "0",
        "figure_id": "1", "sample_note": "circle", "question_id": "2",
        "question": "Is it round?", "gt_answer_details": "", "gt_answer": "0",
        "filename": "./VD/figure/0_1.png", "image": picture(),
    },
    "mathvista": {
        "pid": "3", "question": "How long is it?", "image": "images/3.jpg",
        "decoded_image": picture(), "choices": None, "unit": "cm", "precision": 1.0,
        "answer": "1.5", "question_type": "free_form", "answer_type": "float",
        "metadata": {"task": "geometry"}, "query": "",
    },
}  # fmt: skip
SPLITS = {"mmmu": "validation", "hallusionbench": "image", "mathvista": "testmini"}
CHOICES = {"question_type": "multi_choice", "choices": ["12 cm", "15 cm"], "answer": "15 cm"}


def folder_of(tmp_path, name, *rows, split=None):
    table = datasets.Dataset.from_list(list(rows))
    table.to_parquet(tmp_path / f"{split or SPLITS.get(name, 'test')}.parquet")
    return tmp_path


def only(tmp_path, name, **changes) -> Sample:
    [sample] = load_benchmark(name, folder_of(tmp_path, name, ROWS[name] | changes))
    return sample


def sample(name="vmcbench", answer="A", options=None, **fields) -> Sample:
    return Sample("1", (), "?", "?", answer, name, "1", options or {}, fields)


def judge(name, reply, **changes):
    return BENCHMARKS[name].judge(reply, sample(name, **changes))


@pytest.fixture
def evaluated(monkeypatch):
    """The table of `evaluate` where each sample's reply is given."""

    def table_of(name, samples, replies) -> pd.DataFrame:
        ended = [Reply(text, finished=True) for text in replies]
        monkeypatch.setattr(evaluation, "replies", lambda *_, **__: ended)
        vlm = SimpleNamespace(name="given", device=torch.device("cpu"))
        monkeypatch.setattr(Asking, "_fitting", lambda asking: asking.batch_size)
        with types_unchecked():
            return evaluation.evaluate(vlm, samples, benchmark=name, batch_size=len(replies))

    return table_of


# Loading


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_local_folder_of_published_rows(name, tmp_path):
    loaded = only(tmp_path, name)
    assert [image.size for image in loaded.images] == [(8, 6)] * (2 if name == "mmmu" else 1)
    assert loaded.images[0].mode == "RGB"
    assert loaded.prompt == BENCHMARKS[name].prompt(ROWS[name])
    assert loaded.question == ROWS[name]["question"]


def test_what_the_rows_become(tmp_path):
    facts = {}
    for name in BENCHMARKS:
        (tmp_path / name).mkdir()
        got = only(tmp_path / name, name)
        facts[name] = (got.id, got.answer, got.group, got.image_source, len(got.options))
    assert facts == {
        "pope": ("random-1", "yes", "random", "COCO_1", 0),
        "realworldqa": ("0", "B", "options", "row-0", 2),
        "3dsrbench": ("VIN6MS3J-flip-1", "A", "height_higher", "VIN6MS3J", 2),
        "mmmu": ("validation_Art_Theory_12", "A", "Art_Theory", "row-0", 3),
        "vmcbench": ("7", "D", "GQA", "row-0", 4),
        "hallusionbench": ("VD-figure-0-1-2", "no", "VD", "VD-figure-0-1", 0),
        "mathvista": ("3", "1.5", "free_form", "row-0", 0),
    }


def test_blanked_samples_keep_all_their_images(tmp_path):
    blank = only(tmp_path, "mmmu").blanked()
    assert [image.size for image in blank.images] == [(8, 6), (8, 6)]
    assert {image.getpixel((0, 0)) for image in blank.images} == {(128, 128, 128)}


def test_mmmu_keeps_markers_and_the_order_of_images(tmp_path):
    got = only(tmp_path, "mmmu")
    assert got.prompt.count("<image 1>") == 2 and got.prompt.count("<image 2>") == 1
    assert [image.getpixel((0, 0))[0] for image in got.images] == [1, 2]
    assert got.options == {"A": "older <image 1>", "B": "both's", "C": "neither"}


def test_mmmu_reads_open_questions_with_several_answers(tmp_path):
    opened = {"question_type": "open", "options": "[]", "answer": "['24', 'two dozen']"}
    got = only(tmp_path, "mmmu", **opened)
    assert (got.options, got.answer) == ({}, "['24', 'two dozen']")
    for reply, correct in (("twenty-four", True), ("Two dozen eggs", True), ("2", False)):
        assert mmmu.judge(reply, got).correct == correct


@pytest.mark.parametrize(
    ("answer", "right", "wrong"),
    [("3", "three.", "4"), ("Yes", "yes.", "No"), ("Stop sign", " stop  SIGN.", "sign")],
)
def test_realworldqa_reads_questions_without_options(answer, right, wrong, tmp_path):
    got = only(tmp_path, "realworldqa", question="What? Please answer briefly.", answer=answer)
    assert (got.options, got.group) == ({}, "words")
    assert realworldqa.judge(right, got).correct and not realworldqa.judge(wrong, got).correct


def test_mathvista_reads_precision_as_the_float_it_is_stored_as(tmp_path):
    got = only(tmp_path, "mathvista", answer="2.50", precision=2.0)
    assert got.fields["precision"] == "2.0"
    assert mathvista.judge("2.504", got) == ("2.50", True)
    assert mathvista.judge("2.51", got) == ("2.51", False)


@pytest.mark.parametrize(
    ("column", "value"),
    [("choices", [1, 2]), ("choices", 3), ("choices", [True]), ("unit", ["cm"]), ("unit", 4)],
)
def test_mathvista_refuses_choices_and_units_that_are_no_text(tmp_path, column, value):
    with pytest.raises(ValueError, match=f"row 0, column '{column}': expected .* got"):
        only(tmp_path, "mathvista", **{column: value})


@pytest.mark.parametrize("options", ["[1, None]", "['a', ['b']]", "'a'"])
def test_mmmu_refuses_options_that_are_no_texts(tmp_path, options):
    with pytest.raises(ValueError, match="row 0, column 'options': expected a list as text"):
        only(tmp_path, "mmmu", options=options, question_type="multiple-choice", answer="A")


def test_mathvista_reads_choices_and_judges_their_text(tmp_path):
    got = only(tmp_path, "mathvista", **CHOICES | {"choices": ["12 cm", "15 cm "]})
    assert (got.options, got.answer) == ({"A": "12 cm", "B": "15 cm"}, "15 cm")
    for reply in ("B", "(B)", "15 cm", "The answer is 15 cm."):
        assert mathvista.judge(reply, got) == ("15 cm", True)
    assert mathvista.judge("A", got) == ("12 cm", False)


def test_hallusionbench_has_questions_without_an_image(tmp_path):
    row = ROWS["hallusionbench"] | {"image": None, "figure_id": "0"}
    folder = folder_of(tmp_path, "hallusionbench", row, split="non_image")
    [got] = load_benchmark("hallusionbench", folder, "non_image")
    assert got.images == () == got.blanked().images
    assert got.image_source == "VD-figure-0-0"


def test_a_folder_may_hold_several_benchmarks(tmp_path):
    for name in ("pope", "vmcbench"):
        (tmp_path / name).mkdir()
        folder_of(tmp_path / name, name, ROWS[name])
        assert only(tmp_path / name, name).question == ROWS[name]["question"]
    assert [len(load_benchmark(name, tmp_path)) for name in ("pope", "vmcbench")] == [1, 1]


@pytest.mark.parametrize(
    ("files", "split", "rows"),
    [
        (("test", "testmini"), None, 1),
        (("test-00000-of-00002", "test-00001-of-00002", "testmini-00000-of-00001"), None, 2),
        (("data/test-00000-of-00001", "Full/popular-00000-of-00001"), "popular", 1),
        (("a [b]/test",), None, 1),
        (("default/test", "other/test"), None, 1),
    ],
)
def test_a_split_is_its_own_files_and_no_others(files, split, rows, tmp_path):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        folder_of(tmp_path, "pope", ROWS["pope"], split=file)
    assert len(load_benchmark("pope", tmp_path, split)) == rows


def test_a_folder_with_brackets_in_its_name(tmp_path):
    folder = tmp_path / "clone [1]"
    folder.mkdir()
    assert only(folder, "pope").images[0].size == (8, 6)


def test_a_replaced_file_answers_with_its_new_rows(tmp_path):
    assert only(tmp_path, "pope").answer == "yes"
    file = tmp_path / "test.parquet"
    dated = file.stat()
    folder_of(tmp_path, "pope", ROWS["pope"] | {"answer": "no", "image": picture(7)})
    os.utime(file, ns=(dated.st_atime_ns, dated.st_mtime_ns))
    [replaced] = load_benchmark("pope", tmp_path)
    assert replaced.answer == "no" and replaced.images[0].getpixel((0, 0))[0] == 7


@pytest.mark.parametrize("name", BENCHMARKS)
def test_nothing_is_written_when_files_are_read(name, tmp_path, monkeypatch):
    nowhere = tmp_path / "file"
    nowhere.touch()
    for setting in ("HF_CACHE_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.setattr(datasets.config, setting, str(nowhere / "cache"))
    assert load_benchmark(name)[0].images[0].size == (96, 96)


def test_rows_of_several_files_and_row_groups_stand_in_order(tmp_path):
    rows = [ROWS["pope"] | {"question_id": str(n), "image": picture(n)} for n in range(7)]
    for part, own in enumerate((rows[:4], rows[4:])):
        file = tmp_path / f"test-0000{part}-of-00002.parquet"
        datasets.Dataset.from_list(own).to_parquet(file, batch_size=3)
    samples = load_benchmark("pope", tmp_path)
    assert len(samples) == 7
    for place in (6, 0, 3, 4, 2):
        assert samples[place].id == f"random-{place}"
        assert samples[place].images[0].getpixel((0, 0))[0] == place
    with pytest.raises(IndexError, match="row: expected 0 to 6, got 7"):
        samples.table[7]


def with_image(tmp_path, image) -> Samples:
    """One row whose picture is stored as it is given."""
    table = pa.Table.from_pylist([ROWS["vmcbench"] | {"image": image}])
    parquet.write_table(table, tmp_path / "test.parquet")
    return load_benchmark("vmcbench", tmp_path)


def test_pictures_may_lie_beside_the_rows(tmp_path):
    (tmp_path / "images").mkdir()
    picture(50).save(tmp_path / "images" / "one.png")
    for image in ("images/one.png", {"bytes": None, "path": "images/one.png"}):
        [got] = with_image(tmp_path, image)
        assert got.images[0].getpixel((0, 0))[0] == 50
        assert got.image_source == "one"


def test_the_bytes_of_a_picture_win_over_its_path(tmp_path):
    file = BytesIO()
    picture(60).save(file, "PNG")
    [got] = with_image(tmp_path, {"bytes": file.getvalue(), "path": "/etc/hostname"})
    assert got.images[0].getpixel((0, 0))[0] == 60


OUTSIDE = "expected a picture inside the source's folder, got "


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("../out.png", OUTSIDE), ("/etc/hostname", OUTSIDE), ("link.png", OUTSIDE),
        ({"bytes": None, "path": "../out.png"}, OUTSIDE),
        ("gone.png", "cannot be decoded: no file 'gone.png' in the source's folder"),
        ("file:///etc/hostname", "cannot be decoded: no file 'file:///etc/hostname'"),
        ("a\0.png", "cannot be decoded: no file"), (".", "cannot be decoded: no file"),
        (5, "cannot be decoded: "), (None, "cannot be decoded: "), (b"one", "cannot be decoded: "),
    ],
)  # fmt: skip
def test_no_picture_outside_the_folder_is_read(image, message, tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    picture().save(tmp_path / "out.png")
    (folder / "link.png").symlink_to(tmp_path / "out.png")
    samples = with_image(folder, image)
    with pytest.raises(ValueError, match=f"row 0, column 'image': {message}"):
        samples[0]


@pytest.fixture
def addressed(tmp_path, monkeypatch):
    """The address of a folder that a server shows, the folder, and the paths asked for."""
    asked = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path == "/moved.png":
                self.send_response(302)
                self.send_header("Location", "ftp://localhost/x.png")
                self.end_headers()
            else:
                super().do_GET()

        def log_message(self, *_):
            pass

    shown = tmp_path / "shown"
    shown.mkdir()
    monkeypatch.setattr(datasets.config, "HF_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "localhost")
    with ThreadingHTTPServer(("localhost", 0), partial(Handler, directory=shown)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}", shown, asked
        server.shutdown()


def test_3dsrbench_fetches_an_address_once(addressed, tmp_path):
    address, shown, asked = addressed
    picture(70).save(shown / "there.png")
    row = {k: v for k, v in ROWS["3dsrbench"].items() if k != "image"}
    rows = [row | {"image_url": f"{address}/{name}.png"} for name in ("there", "gone", "moved")]
    samples = load_benchmark("3dsrbench", folder_of(tmp_path, "3dsrbench", *rows))
    assert not asked
    for _ in range(2):
        assert samples[0].images[0].getpixel((0, 0))[0] == 70
        assert samples[0].image_source == "there"
    assert asked == ["/there.png"]
    for place, name in ((1, "gone"), (2, "moved")):
        with pytest.raises(ValueError, match=rf"row {place}, column 'image_url': .*/{name}\.png"):
            samples[place]


def test_what_is_no_picture_is_not_kept(addressed):
    address, shown, asked = addressed
    (shown / "page.png").write_text("<html>")
    for _ in range(2):
        with pytest.raises(OSError, match=r"/page\.png cannot be fetched: cannot identify image"):
            fetched(f"{address}/page.png")
    assert len(asked) == 2


def test_an_address_is_read_where_no_copy_can_be_kept(addressed, tmp_path, monkeypatch):
    address, shown, _ = addressed
    picture().save(shown / "there.png")
    monkeypatch.setattr(datasets.config, "HF_CACHE_HOME", str(shown / "there.png"))
    assert fetched(f"{address}/there.png") == (shown / "there.png").read_bytes()


@pytest.mark.parametrize("address", ["file:///etc/hostname", "ftp://localhost/x.png", "/etc/hosts"])
def test_nothing_but_http_is_fetched(address):
    with pytest.raises(OSError, match="expected an http or https address, got"):
        fetched(address)


def test_3dsrbench_reads_an_address_when_the_picture_is_asked_for(tmp_path):
    picture().save(tmp_path / "here.png")
    rows = [
        {k: v for k, v in ROWS["3dsrbench"].items() if k not in ("image", "qid")}
        | {"image_url": str(tmp_path / file)}
        for file in ("here.png", "gone.png")
    ]
    samples = load_benchmark("3dsrbench", folder_of(tmp_path, "3dsrbench", *rows))
    assert samples[0].images[0].size == (8, 6)
    assert samples[0].image_source == "here"
    assert samples[0].fields == {"qid": "VIN6MS3J-flip-1"}
    with pytest.raises(ValueError, match="row 1, column 'image_url': cannot be decoded"):
        samples[1]


@pytest.mark.parametrize(
    ("name", "source", "split", "asked"),
    [
        ("pope", "hub", None, ("lmms-lab/POPE", "default", "test")),
        ("pope", "lmms-lab-encoder/POPE", "popular", ("lmms-lab-encoder/POPE", "Full", "popular")),
        ("mmmu", "hub", None, ("lmms-lab/MMMU", None, "validation")),
        ("3dsrbench", "hub", None, ("ccvl/3DSRBench", "benchmark", "test")),
        ("3dsrbench", "oscarqjh/3DSRBench_lmmseval", None,
         ("oscarqjh/3DSRBench_lmmseval", "3dsr_circular", "test")),
        ("hallusionbench", "hub", "non_image", ("lmms-lab/HallusionBench", None, "non_image")),
        ("mathvista", "hub", None, ("AI4Math/MathVista", None, "testmini")),
    ],
)  # fmt: skip
def test_hub_ids_and_their_configurations(name, source, split, asked, monkeypatch):
    calls = []

    def load_dataset(repository, configuration, *, split):
        calls.append((repository, configuration, split))
        return datasets.Dataset.from_list([ROWS[name]])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert len(load_benchmark(name, source, split)) == 1
    assert calls == [asked]


# The table of an evaluation


def rows_of(name, **columns) -> list[dict]:
    """One row for each value of the columns."""
    return [ROWS[name] | change for change in pd.DataFrame(columns).to_dict("records")]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_no_field_of_a_sample_overwrites_a_column(name, tmp_path, evaluated):
    one = only(tmp_path, name)
    columns = set(evaluated("pope", [sample("pope")], ["?"]).columns)
    assert columns.isdisjoint(one.fields)
    assert set(evaluated(name, [one], ["?"]).columns) == columns | set(one.fields)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_right_replies_score_one_and_empty_ones_nothing(name, evaluated):
    samples = load_benchmark(name)[:60]
    got = evaluated(name, samples, [each.answer for each in samples])
    scores = BENCHMARKS[name].score(got)
    assert scores.pop("unparsed") == 0
    scores.pop("yes_ratio", None)
    assert set(scores.values()) == {1.0}
    got = BENCHMARKS[name].score(evaluated(name, samples, [""] * 60))
    assert (got["accuracy"], got["unparsed"]) == (0, 1)


def test_3dsrbench_from_rows_to_scores(tmp_path, evaluated):
    qids = ["AAAAAAAA", "AAAAAAAA-1", "AAAAAAAA-flip", "AAAAAAAA-flip-1"]
    rows = rows_of("3dsrbench", index=qids, qid=qids, answer=["A", "B", "B", "A"])
    samples = load_benchmark("3dsrbench", folder_of(tmp_path, "3dsrbench", *rows))
    assert {each.image_source for each in samples} == {"AAAAAAAA"}
    got = threedsrbench.score(evaluated("3dsrbench", samples, ["A", "B", "B", "B"]))
    assert got["accuracy"] == pytest.approx(3 / 4)
    assert got["circular_accuracy"] == got["flip_accuracy"] == pytest.approx(1 / 2)
    assert got["flip_circular_accuracy"] == 0


def test_vmcbench_from_rows_to_both_means(tmp_path, evaluated):
    rows = rows_of("vmcbench", index=[0, 1, 2], category=["GQA", "GQA", "OCRVQA"])
    samples = load_benchmark("vmcbench", folder_of(tmp_path, "vmcbench", *rows))
    got = vmcbench.score(evaluated("vmcbench", samples, ["D", "a fox", "A"]))
    assert got["accuracy"] == pytest.approx(1 / 2)
    assert got["sample_accuracy"] == pytest.approx(2 / 3)
    assert (got["accuracy/group reason"], got["accuracy/group ocr"]) == (1, 0)


def test_hallusionbench_from_rows_to_scores(tmp_path, evaluated):
    """Two questions on a figure and on its edited twin; one reply of four is wrong."""
    rows = rows_of(
        "hallusionbench",
        figure_id=["0", "0", "1", "1"],
        question_id=["0", "1", "0", "1"],
        gt_answer=["1", "0", "0", "1"],
    )
    samples = load_benchmark("hallusionbench", folder_of(tmp_path, "hallusionbench", *rows))
    got = hallusionbench.score(evaluated("hallusionbench", samples, ["yes", "no", "yes", "yes"]))
    assert got["accuracy"] == pytest.approx(3 / 4)
    assert got["question_accuracy"] == got["figure_accuracy"] == pytest.approx(1 / 2)


# Refusals


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"name: expected one of .*'pope'.* got 'pop'"):
        load_benchmark("pop")
    with pytest.raises(ValueError, match=r"split: expected one of \['image', 'non_image'\], got "):
        load_benchmark("hallusionbench", split="test")
    with pytest.raises(FileNotFoundError, match=r"expected test.parquet or test-\*.parquet"):
        load_benchmark("vmcbench", tmp_path)
    for source in (tmp_path / "gone", str(tmp_path / "gone"), "digit"):
        with pytest.raises(
            FileNotFoundError, match="source: expected 'digits', 'pictures', 'hub', a folder"
        ):
            load_benchmark("vmcbench", source)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_missing_columns_are_named(name, tmp_path):
    bad = {key: value for key, value in ROWS[name].items() if key != "question"}
    with pytest.raises(ValueError, match=r"source: expected columns .*\['question'\] missing"):
        load_benchmark(name, folder_of(tmp_path, name, bad))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_empty_set_is_refused(name, tmp_path):
    table = datasets.Dataset.from_list([ROWS[name]]).select([])
    table.to_parquet(tmp_path / f"{SPLITS.get(name, 'test')}.parquet")
    with pytest.raises(ValueError, match="source: expected at least one row"):
        load_benchmark(name, tmp_path)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_unreadable_picture_names_row_and_column(name, tmp_path):
    column = {"mmmu": "image_2", "mathvista": "decoded_image"}.get(name, "image")
    bad = ROWS[name] | {column: {"bytes": b"not a picture", "path": "x.png"}}
    samples = load_benchmark(name, folder_of(tmp_path, name, bad))
    with pytest.raises(ValueError, match=f"row 0, column '{column}': cannot be decoded"):
        samples[0]


def damaged() -> dict[str, bytes]:
    file = BytesIO()
    # Large enough for a second chunk of pixels, which is read after the file is opened.
    Image.effect_noise((400, 400), 50).save(file, "PNG")
    png = file.getvalue()
    head, _, tail = png.rpartition(b"IDAT")
    return {
        "empty": b"",
        "cut off": png[: len(png) // 2],
        "broken chunk": head + bytes(4) + tail,
        "too large": b"P6 65535 65535 255 ",
    }


@pytest.mark.parametrize("kind", damaged())
def test_damaged_pictures_name_row_and_column(kind):
    with pytest.raises(ValueError, match="row 3, column 'image': cannot be decoded: "):
        base.picture({"image": {"bytes": damaged()[kind], "path": None}}, 3)


TEXT = "expected text, got "
NAME = "expected text or a whole number, got "


@pytest.mark.parametrize(
    ("name", "column", "value", "message"),
    [
        *((name, "question", value, TEXT) for name in ROWS for value in (None, 3, ["a"], b"a", "")),
        ("pope", "image_source", None, TEXT), ("pope", "category", None, TEXT),
        ("pope", "category", 3, TEXT), ("pope", "question_id", None, NAME),
        ("pope", "answer", None, TEXT), ("realworldqa", "answer", None, TEXT),
        ("3dsrbench", "index", None, NAME), ("3dsrbench", "qid", None, NAME),
        ("3dsrbench", "category", None, TEXT), ("3dsrbench", "A", 3, TEXT),
        ("3dsrbench", "C", 3, "expected text or none, got 3"), ("mmmu", "id", None, TEXT),
        ("vmcbench", "index", None, NAME), ("vmcbench", "index", ["a"], NAME),
        ("vmcbench", "category", None, TEXT), ("vmcbench", "B", b"a", "expected text or none"),
        ("hallusionbench", "category", None, TEXT), ("hallusionbench", "set_id", None, NAME),
        ("mathvista", "pid", True, NAME), ("mathvista", "answer", 3, TEXT),
        ("mathvista", "precision", 1e9, r"expected one of \[1, 2\] or none, got 1000000000.0"),
        ("mathvista", "precision", 1.5, r"expected one of \[1, 2\] or none, got 1.5"),
        ("mathvista", "precision", float("nan"), r"expected one of \[1, 2\] or none, got nan"),
    ],
)  # fmt: skip
def test_values_of_the_wrong_kind_are_refused_when_a_set_is_read(
    name, column, value, message, tmp_path
):
    good, bad = tmp_path / "a", tmp_path / "b"
    for folder, row in ((good, ROWS[name]), (bad, ROWS[name] | {column: value})):
        folder.mkdir()
        folder_of(folder, name, row)
    with pytest.raises(ValueError, match=f"row 1, column '{column}': {message}"):
        load_benchmark(name, tmp_path)


def test_a_file_that_is_no_parquet_is_named(tmp_path):
    (tmp_path / "test.parquet").write_text("question,answer")
    with pytest.raises(ValueError, match=r"source: expected Parquet in .*test\.parquet, got "):
        load_benchmark("pope", tmp_path)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("pope", {"answer": "perhaps"}, r"'answer': expected one of \['yes', 'no'\], got 'perhaps"),
        ("realworldqa", {"answer": "C"}, r"'answer': expected one of \['A', 'B'\], got 'C'"),
        ("3dsrbench", {"answer": "D"}, r"'answer': expected one of \['A', 'B'\], got 'D'"),
        ("mmmu", {"answer": "D"}, r"'answer': expected one of \['A', 'B', 'C'\], got 'D'"),
        ("mmmu", {"options": "['one', "}, "'options': expected a list as text, got "),
        ("mmmu", {"options": "'one'"}, "'options': expected a list as text, got "),
        ("mmmu", {"options": None}, "'options': expected a list as text, got None"),
        ("mmmu", {"image_2": None}, "'image_2': expected a picture for the marker <image 2>, got"),
        ("vmcbench", {"image": None}, "'image': cannot be decoded: An image should have"),
        ("mathvista", {"answer": "long"}, "'answer': expected a number, got 'long'"),
        ("mmmu", {"id": "Art12"}, "'id': expected such as 'validation_Art_1', got 'Art12'"),
        ("vmcbench", {"answer": "E"}, r"'answer': expected one of .*'D'\], got 'E'"),
        ("hallusionbench", {"gt_answer": "2"}, r"'gt_answer': expected one of \['0', '1'\], got"),
        ("mathvista", CHOICES | {"answer": "9"}, r"'answer': .*'12 cm', '15 cm'\], got '9'"),
        ("mathvista", {"answer_type": "date"}, "'answer_type': expected one of .* got 'date'"),
        ("mathvista", {"question_type": "open"}, "'question_type': expected one of .* got 'open'"),
        ("mmmu", {"question_type": "closed"}, "'question_type': expected one of .* got 'closed'"),
    ],
)  # fmt: skip
def test_strange_values_name_row_and_column(name, changes, message, tmp_path):
    bad = ROWS[name] | changes
    samples = load_benchmark(name, folder_of(tmp_path, name, ROWS[name], bad))
    with pytest.raises(ValueError, match=f"row 1, column {message}"):
        samples[1]


# Prompts


PROMPTS = {
    "pope": """Is there a dog in the image?
Answer the question using a single word or phrase.""",
    "realworldqa": """Where is the car?
A. Left
B. Right
Answer with the letter only.""",
    "3dsrbench": """Question: Which is higher?
Options:
A. the lamp
B. the chair
Please select the correct answer from the options above.""",
    "mmmu": """Compare <image 1> with <image 2>.
A. older <image 1>
B. both's
C. neither
Answer with the option's letter from the given choices directly.""",
    "vmcbench": """Question: What is it?
Options:
A. a cat
B. a dog
C. a cow
D. a fox
Answer ONLY option's letter from the given choices.""",
    "hallusionbench": "Is it round?",
    "mathvista": """Hint: Please answer the question requiring a floating-point number with one \
decimal place and provide the final value, e.g., 1.2, 1.3, 1.4, at the end.
Question: How long is it? (Unit: cm)""",
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_wording_of_the_originals(name):
    assert BENCHMARKS[name].prompt(ROWS[name]) == PROMPTS[name]


def test_an_open_question_of_mmmu_asks_for_a_word():
    assert mmmu.prompt(ROWS["mmmu"] | {"question_type": "open", "options": "[]"}) == (
        "Compare <image 1> with <image 2>.\nAnswer the question using a single word or phrase."
    )


@pytest.mark.parametrize("none", [None, "nan", "", float("nan")])
def test_options_that_are_not_there_are_not_asked(none):
    row = ROWS["3dsrbench"] | {"C": none, "D": none}
    assert threedsrbench.prompt(row) == PROMPTS["3dsrbench"]


@pytest.mark.parametrize(
    ("changes", "hint", "rest"),
    [
        ({}, "with one decimal place and provide the final value, e.g., 1.2, 1.3, 1.4, at",
         "Question: How long is it? (Unit: cm)"),
        ({"precision": 2.0},
         "with two decimal places and provide the final value, e.g., 1.23, 1.34, 1.45, at",
         "Question: How long is it? (Unit: cm)"),
        ({"answer_type": "integer"}, "requiring an integer answer",
         "Question: How long is it? (Unit: cm)"),
        ({"answer_type": "list"}, "requiring a Python list",
         "Question: How long is it? (Unit: cm)"),
        (CHOICES | {"unit": None}, "the correct option letter",
         "Question: How long is it?\nChoices:\n(A) 12 cm\n(B) 15 cm"),
    ],
)  # fmt: skip
def test_mathvista_hints_at_the_kind_of_answer(changes, hint, rest):
    first, _, remainder = mathvista.prompt(ROWS["mathvista"] | changes).partition("\n")
    assert first.startswith("Hint: ") and hint in first
    assert remainder == rest


# Judging

LETTERED = ("3dsrbench", "mmmu", "vmcbench", "realworldqa", "mathvista")
TEXTS = ("a dog", "Point B", "vitamin C", "10", "dark red", "left of the car", "one & a half")
FORMS = (
    "({0})", "{0}.", "{0}", "{0})", "The answer is {0}", "The answer is {0}.",
    "<answer>{0}</answer>", "<answer> ({0}) </answer>", "{0}. {1}", "({0}) {1}", "**{0}**",
)  # fmt: skip
TEXT_FORMS = ("{1}", "{1}.", "The answer is {1}.", "<answer>{1}</answer>")


@settings(deadline=None, derandomize=True)
@given(
    st.sampled_from(LETTERED),
    st.lists(st.sampled_from(TEXTS), min_size=2, max_size=5, unique=True),
    st.sampled_from((*FORMS, *TEXT_FORMS)),
    st.data(),
)
def test_a_gold_answer_scores_in_any_form_and_no_other_option_does(name, texts, form, data):
    options = dict(zip("ABCDE", texts, strict=False))
    gold = data.draw(st.sampled_from(sorted(options)))
    answer = options[gold] if name == "mathvista" else gold
    for letter, text in options.items():
        parsed, correct = judge(name, form.format(letter, text), answer=answer, options=options)
        assert correct == (letter == gold)
        assert parsed == (text if name == "mathvista" else letter)


@cache
def embedded(name) -> list[Sample]:
    return list(load_benchmark(name).draw(80, seed=3))


def answers_of(one: Sample) -> set[str]:
    """The gold answer of an embedded sample and what else could have been said."""
    if one.options:
        return set(one.options.values() if one.answer in one.options.values() else one.options)
    if one.answer in ("yes", "no"):
        return {"yes", "no"}
    digits = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
    return digits if one.answer in digits else {str(value) for value in range(20)}


@pytest.mark.parametrize("name", BENCHMARKS)
@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.data())
def test_of_all_answers_to_an_embedded_question_only_the_gold_one_is_right(name, data):
    one = data.draw(st.sampled_from(embedded(name)))
    said = data.draw(st.sampled_from(sorted(answers_of(one))))
    letters = [letter for letter, text in one.options.items() if said in (letter, text)]
    if letters:
        form = data.draw(st.sampled_from((*FORMS, *TEXT_FORMS)))
        reply = form.format(letters[0], one.options[letters[0]])
    else:
        forms = ("{}", "{}.", " {}\n", "It is {}.", "<answer>{}</answer>")
        reply = data.draw(st.sampled_from(forms)).format(
            data.draw(st.sampled_from((said, said.upper(), said.capitalize())))
        )
    parsed, correct = BENCHMARKS[name].judge(reply, one)
    assert parsed is not None
    assert correct == (said == one.answer)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_empty_reply_is_unparsed(name):
    for one in embedded(name):
        for reply in ("", "  \n", "<answer> </answer>"):
            assert BENCHMARKS[name].judge(reply, one) == (None, False)


@pytest.mark.parametrize("name", LETTERED)
@pytest.mark.parametrize("reply", ["", "A or B", "a red fox or a cat", "Z", "perhaps"])
def test_what_names_no_single_option_is_unparsed(name, reply):
    options = {"A": "a cat", "B": "a red fox"}
    answer = "a cat" if name == "mathvista" else "A"
    assert judge(name, reply, answer=answer, options=options) == (None, False)


@settings(deadline=None, derandomize=True)
@given(
    st.sampled_from(("mmmu", "realworldqa", "mathvista")),
    st.integers(0, 2 * 10**6),
    st.sampled_from(("{}", "{}.", "{:,}", "It is {}.", "= {}", "<answer>{}</answer>", "{}.0")),
)
def test_a_number_scores_in_any_form_and_its_neighbours_do_not(name, value, form):
    for said in (value - 1, value, value + 1):
        got = judge(name, form.format(said), answer=str(value), answer_type="integer")
        assert got.correct == (said == value)
        assert got.parsed is not None


@pytest.mark.parametrize("name", ["mmmu", "realworldqa", "mathvista"])
def test_numbers_in_words(name):
    for reply, correct in (("twenty-four", True), ("Twenty four.", True), ("two hundred", False)):
        assert judge(name, reply, answer="24", answer_type="integer").correct == correct


@pytest.mark.parametrize("name", ["pope", "hallusionbench", "realworldqa"])
def test_yes_and_no(name):
    answer = "Yes" if name == "realworldqa" else "yes"
    assert judge(name, "Yes, it is.", answer=answer) == ("yes", True)
    assert judge(name, "no.", answer=answer) == ("no", False)
    assert judge(name, "yes and no", answer=answer) == (None, False)


def test_realworldqa_compares_words_as_a_whole():
    assert judge("realworldqa", " Route  66. ", answer="Route 66").correct
    assert not judge("realworldqa", "66", answer="Route 66").correct


@pytest.mark.parametrize(
    ("reply", "gold", "correct"),
    [
        ("24", "24", True), ("The answer is 24 apples.", "24", True),
        ("x = 3 + 21 = 24", "24", True), ("24.4", "24", False),
        ("x = 3 + 21 = 24", "21", False), ("3.14159", "3.14", True), ("nine", "9", True),
        ("It is the mitral valve.", "mitral valve", True), ("valves", "valve", False),
        ("Monet", "['Monet', 'Claude Monet']", True), ("Manet", "['Monet', 'Manet']", True),
        ("m", "Monet", False), ("[0, 1)", "[0, 1)", True), ("$6.00", "6", True),
        ("Answer:\n24", "24", True), ("x is 3.\n**Answer:**\n\n24", "24", True),
        ("Answer:\n24", "answer", False), ("24 cm2", "2", False), ("minus 3", "-3", True),
    ],
)  # fmt: skip
def test_open_questions_of_mmmu_are_judged_by_a_list_of_candidates(reply, gold, correct):
    assert judge("mmmu", reply, answer=gold).correct == correct


@pytest.mark.parametrize(
    ("reply", "precision", "answer", "correct"),
    [
        ("1.5", "1.0", "1.5", True), ("1.52", "1.0", "1.5", True), ("1.52", "2.0", "1.5", False),
        ("1.5 cm", "2.0", "1.50", True), ("1.57", "1.0", "1.5", False),
    ],
)  # fmt: skip
def test_mathvista_rounds_to_the_rows_precision(reply, precision, answer, correct):
    got = judge("mathvista", reply, answer=answer, answer_type="float", precision=precision)
    assert got.correct == correct


def test_mathvista_counts_equal_choices_as_one(tmp_path):
    changes = CHOICES | {"choices": ["9", "12", "18", "18"], "answer": "18"}
    got = only(tmp_path, "mathvista", **changes)
    for reply in ("18", "C", "D"):
        assert mathvista.judge(reply, got) == ("18", True)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_reply_that_was_cut_is_unparsed_unless_its_answer_is_complete(name):
    for one in embedded(name)[:20]:
        judge_it = BENCHMARKS[name].judge
        for reply in (one.answer, f"so it is {one.answer}", f"<answer>{one.answer}"):
            assert judge_it(reply, one, finished=False) == (None, False)
        tagged = f"<answer>{one.answer}</answer> since"
        assert judge_it(tagged, one, finished=False).correct


OFFICIAL = ("mmmu", "pope", "vmcbench")


@pytest.mark.parametrize(
    ("name", "reply", "strict", "official"),
    [
        ("mmmu", "A is like B but the answer is (B)", "B", "B"),
        ("mmmu", "It may be (A), but it is (B)", None, "B"),
        ("mmmu", "Not A but B !", None, "B"),
        ("mmmu", "A B A", None, "A"),
        ("mmmu", "I think that it is a red fox", "B", "B"),
        ("mmmu", "perhaps", None, None),
        ("mmmu", "a cat or else it is a red fox", None, "B"),
        ("vmcbench", "It may be (A), but it is (B)", None, "B"),
        ("vmcbench", "A. a cat", "A", "A"),
        ("vmcbench", "perhaps", None, None),
    ],
)
def test_the_official_scripts_take_the_last_letter(name, reply, strict, official):
    one = sample(name, answer="B", options={"A": "a cat", "B": "a red fox"})
    for judging, parsed in (("strict", strict), ("official", official)):
        got = BENCHMARKS[name].judge(reply, one, judging=judging)
        assert got == (parsed, parsed == "B")


@pytest.mark.parametrize(
    ("reply", "strict", "official"),
    [
        ("Yes, there is no doubt about it.", "yes", "no"),
        ("No dog. Yes.", "no", "no"),
        ("Yes. There is a dog and no cat.", "yes", "yes"),
        ("", None, "yes"),
        ("It is not there.", None, "no"),
    ],
)
def test_the_official_script_of_pope_takes_the_first_sentence(reply, strict, official):
    one = sample("pope", answer="yes")
    for judging, parsed in (("strict", strict), ("official", official)):
        got = BENCHMARKS["pope"].judge(reply, one, judging=judging)
        assert got == (parsed, parsed == "yes")


@pytest.mark.parametrize(
    ("reply", "gold", "correct"),
    [
        ("The answer is 24 apples.", "24", True), ("x = 3 + 21 = 24", "24", True),
        ("x = 2 = y\n24", "24", True), ("valves", "valve", True), ("Monet", "['Manet']", False),
        ("it is m", "m", True), ("mm", "m", False), ("1,000 or 1e3", "1000", True),
        ("3.14159", "3.14", True), ("m 3", "m", True),
    ],
)  # fmt: skip
def test_the_official_script_of_mmmu_reads_open_answers(reply, gold, correct):
    got = BENCHMARKS["mmmu"].judge(reply, sample("mmmu", answer=gold), judging="official")
    assert got.correct == correct and got.parsed


def test_judges_are_named():
    for name, benchmark in BENCHMARKS.items():
        assert list(benchmark.judges) == ["strict", *["official"] * (name in OFFICIAL)]
    with pytest.raises(ValueError, match=r"judging: expected one of \['strict'\] .*'official'"):
        BENCHMARKS["hallusionbench"].judge("yes", sample("hallusionbench"), judging="official")


# What the harnesses write: VLMEvalKit and lmms-eval, for VMCBench the paper's release.
HARNESSES = {
    "3dsrbench": PROMPTS["3dsrbench"] + " \n",
    "mmmu": PROMPTS["mmmu"].replace("\nAnswer with", "\n\nAnswer with"),
    "vmcbench": PROMPTS["vmcbench"].replace("\nAnswer ONLY", "\n Answer ONLY"),
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_departure_is_said(name):
    assert DEPARTURES[name]
    assert list(DEPARTURES) == list(BENCHMARKS)
    if name in HARNESSES:
        ours = BENCHMARKS[name].prompt(ROWS[name])
        assert ours != HARNESSES[name] and ours.split() == HARNESSES[name].split()
        assert any("prompt" in each or "instruction" in each for each in DEPARTURES[name])
    assert (name in OFFICIAL) == any('(judging "official")' in each for each in DEPARTURES[name])


def test_mathvistas_other_kinds_of_answers():
    assert not judge("mathvista", "5.4", answer="5", answer_type="integer").correct
    assert judge("mathvista", "3 or 4", answer="3", answer_type="integer") == (None, False)
    assert judge("mathvista", "1000", answer="1,000", answer_type="integer").correct
    assert judge("mathvista", "[1,2, 3]", answer="[1, 2, 3]", answer_type="list").correct
    assert judge("mathvista", "Triangle.", answer="triangle", answer_type="text").correct


# Scores


def table(correct, **columns) -> pd.DataFrame:
    parsed = ["x"] * (len(correct) - 1) + [None]
    columns = {"group": ["g"] * len(correct)} | columns
    return pd.DataFrame({"correct": list(map(bool, correct)), "parsed": parsed, **columns})


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_score_has_accuracy_and_unparsed(name):
    keys = dict.fromkeys(("qid", "answer", *ROWS["hallusionbench"]), ["0"] * 4)
    got = BENCHMARKS[name].score(table([1, 1, 1, 0], **keys | {"group": ["g"] * 4}))
    assert got["accuracy"] == pytest.approx(3 / 4)
    assert got["unparsed"] == pytest.approx(1 / 4)
    assert all(isinstance(value, float) for value in got.values())


def test_3dsrbench_counts_circular_and_flip_by_hand():
    qids = [
        "AAAAAAAA", "AAAAAAAA-1", "AAAAAAAA-flip", "AAAAAAAA-flip-1",
        "BBBBBBBB", "BBBBBBBB-1", "BBBBBBBB-flip", "BBBBBBBB-flip-1",
    ]  # fmt: skip
    groups = ["height_higher"] * 4 + ["multi_object_facing"] * 4
    got = threedsrbench.score(table([1, 1, 1, 1, 1, 0, 1, 1], qid=qids, group=groups))
    assert got["accuracy"] == pytest.approx(7 / 8)
    assert got["circular_accuracy"] == pytest.approx(3 / 4)
    assert got["flip_accuracy"] == pytest.approx(3 / 4)
    assert got["flip_circular_accuracy"] == pytest.approx(1 / 2)
    assert got["accuracy/group height"] == 1
    assert got["accuracy/group multi_object"] == pytest.approx(3 / 4)
    assert "accuracy/group location" not in got


def test_3dsrbench_joins_rows_that_share_a_qid():
    qids = ["A", "A", "A-flip", "A-flip"]
    got = threedsrbench.score(table([1, 1, 1, 0], qid=qids))
    assert got["circular_accuracy"] == pytest.approx(1 / 2)
    assert got["flip_accuracy"] == got["flip_circular_accuracy"] == 0


def test_vmcbench_means_over_datasets_and_over_samples():
    groups = ["GQA", "GQA", "GQA", "VQAv2", "MMMU"]
    got = vmcbench.score(table([1, 1, 0, 0, 1], group=groups))
    assert got["accuracy"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert got["sample_accuracy"] == pytest.approx(3 / 5)
    assert got["accuracy/GQA"] == pytest.approx(2 / 3)
    assert got["accuracy/group reason"] == pytest.approx((2 / 3 + 1) / 2)
    assert got["accuracy/group general"] == 0
    assert "accuracy/group doc" not in got


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_weighted_mean_of_correct_is_the_score(name):
    random = np.random.default_rng(0)
    samples = load_benchmark(name).draw(80, seed=0)
    rows = [
        {"group": s.group, "parsed": "a", "answer": "a", "correct": bool(random.integers(2))}
        | dict(s.fields)
        for s in samples
    ]
    table = pd.DataFrame(rows).sample(frac=1, random_state=0)
    weights = BENCHMARKS[name].weights(table)
    score = BENCHMARKS[name].score(table)["accuracy"]
    assert np.average(table["correct"], weights=weights) == pytest.approx(score, abs=1e-12)
    assert weights.mean() == pytest.approx(1) and weights.index.equals(table.index)
    counts_alike = score == pytest.approx(table["correct"].mean(), abs=1e-12)
    assert counts_alike == (name != "vmcbench")


def test_hallusionbench_counts_questions_and_figures_by_hand():
    keys = ("category", "subcategory", "set_id", "figure_id", "question_id")
    rows = ["VD a 0 1 0", "VD a 0 1 1", "VD a 0 2 0", "VD a 0 2 1", "VS a 0 1 0"]
    columns = dict(zip(keys, zip(*map(str.split, rows), strict=True), strict=True))
    got = hallusionbench.score(table([1, 1, 0, 1, 1], **columns))
    assert got["accuracy"] == pytest.approx(4 / 5)
    assert got["question_accuracy"] == pytest.approx(2 / 3)
    assert got["figure_accuracy"] == pytest.approx(2 / 3)


def test_chance():
    two, four = dict.fromkeys("AB", "x"), dict.fromkeys("ABCD", "x")
    assert chance([sample(options=two), sample(options=four)]) == pytest.approx(3 / 8)
    assert chance([sample(answer="yes"), sample(answer="no"), sample(answer="yes")]) == 0.5
    numbers = [sample(answer=each) for each in ("3", "3", "4")]
    assert chance([*numbers, sample(options=two)]) == pytest.approx((2 + 1 / 2) / 4)


def test_chance_of_nothing_is_refused():
    with pytest.raises(ValueError, match="samples: expected at least one, got none"):
        chance([])
