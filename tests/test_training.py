"""The recipe: what it teaches is true, and an interruption leaves no trace."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lost_in_attention.digits import COLOURS, DIGIT_NAMES, make_scenes
from lost_in_attention.models import load
from lost_in_attention.training import TrainingConfig, loop, publish, train
from lost_in_attention.training.alignment import token_labels
from lost_in_attention.training.conversations import (
    GRID,
    INSTRUCTION,
    conversation,
    description,
    mixed_questions,
    where,
)
from lost_in_attention.training.dialogue import encode_conversations
from lost_in_attention.training.loop import Phase, learning_rate
from lost_in_attention.training.recipe import snapshot_steps

SHORT = TrainingConfig(
    name="short", alignment_steps=3, alignment_batch=4, decoder_steps=4, decoder_batch=4,
    decoder_scenes=8, joint_steps=2, joint_batch=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def scenes():
    return list(make_scenes(60, split="train", seed=2))


def test_descriptions_are_true(scenes):
    rng = np.random.default_rng(0)
    for scene in scenes:
        parts = [part.split(maxsplit=1) for part in description(scene, rng)[1].split(", ")]
        named = [DIGIT_NAMES.index(name) for name, _ in parts]
        present = {d.digit for d in scene.digits}
        assert set(named[:-1]) == present and named[-1] not in present
        assert len(named) == len(present) + 1 and parts[-1][1] == "no"
        for value, places in zip(named[:-1], (places for _, places in parts), strict=False):
            told = [place.split() for place in places.split(" and ")]
            assert len(told) == sum(d.digit == value for d in scene.digits)
            for colour, column, row in told:
                assert any(
                    d.colour == colour
                    and abs(d.centre[0] - (int(column) - 0.5) * 12) <= 6
                    and abs(d.centre[1] - (int(row) - 0.5) * 12) <= 6
                    for d in scene.digits
                    if d.digit == value
                )


def test_questions_are_true(scenes):
    rng = np.random.default_rng(1)
    kinds = set()
    for scene in scenes:
        for question, answer in mixed_questions(scene, rng):
            words = question.removesuffix(f"\n{INSTRUCTION}").rstrip("?").split()
            named = [DIGIT_NAMES.index(word) for word in words if word in DIGIT_NAMES]
            if words[:2] == ["Is", "there"]:
                kinds.add("existence")
                assert (answer == "yes") == any(d.digit == named[0] for d in scene.digits)
            elif words[0] == "What":
                kinds.add("colour")
                assert answer in {d.colour for d in scene.digits if d.digit == named[0]}
            elif words[:2] == ["How", "many"]:
                kinds.add("count")
                counted = [d for d in scene.digits if words[2] in ("digits", d.colour)]
                assert int(answer) == len(counted)
            else:
                kinds.add("relation")
                one, other = (next(d for d in scene.digits if d.digit == v) for v in named)
                axis = 0 if "of" in words else 1
                first = "left" in words or "above" in words
                before = one.centre[axis] < other.centre[axis]
                assert (answer == "yes") == (before == first)
    assert kinds == {"existence", "colour", "count", "relation"}


def test_where_reads_from_left_to_right(scenes):
    scene = next(s for s in scenes if len({d.digit for d in s.digits}) < len(s.digits))
    values = [d.digit for d in scene.digits]
    double = next(v for v in values if values.count(v) > 1)
    columns = [int(place.split()[1]) for place in where(scene, double).split(" and ")]
    assert columns == sorted(columns) and len(columns) == values.count(double)


def test_token_labels_lie_under_the_digits(scenes):
    for scene in scenes[:20]:
        digits, colours = (labels.reshape(GRID, GRID) for labels in token_labels(scene))
        for digit in scene.digits:
            column, row = (int(c / 12) for c in digit.centre)
            assert digits[row, column] == digit.digit
            assert colours[row, column] == list(COLOURS).index(digit.colour)
        assert ((digits == len(DIGIT_NAMES)) == (colours == len(COLOURS))).all()
        assert (digits == len(DIGIT_NAMES)).any()


def test_the_loss_sees_the_answers_alone(scenes):
    vlm = load("small-qwen2.5-vl")
    rng = np.random.default_rng(3)
    turns = [conversation(scene, rng) for scene in scenes[:4]]
    ids, answers = encode_conversations(vlm, turns, [64] * 4)
    for row, said, conversation_turns in zip(ids, answers, turns, strict=True):
        expected = "".join(f" {answer}<|im_end|>" for _, answer in conversation_turns)
        for name in DIGIT_NAMES:
            expected = expected.replace(f" {name}", "")
        # The space before an answer belongs to its first token.
        assert vlm.processor.tokenizer.decode(row[said]) == expected
        assert int((row == vlm.model.config.image_token_id).sum()) == 64


def test_training_prompts_are_those_of_the_processor(scenes):
    """The text that training writes is the text that `prepare` makes at evaluation."""
    vlm = load("small-qwen2.5-vl")
    question = "Is there a seven in the image?"
    ids, answers = encode_conversations(vlm, [[(question, "yes")]], [64])
    prompt = vlm.prepare([scenes[0].image], [question])["input_ids"][0]
    assert torch.equal(ids[0, : len(prompt)], prompt)
    assert int(answers[0].nonzero()[0]) == len(prompt)


def test_learning_rate_rises_then_falls():
    phase = Phase("x", 100, 1.0, 10, torch.nn.Identity(), [], lambda step: None)
    rates = [learning_rate(step, phase) for step in range(100)]
    assert rates[9] == pytest.approx(1.0) and np.argmax(rates) in (9, 10)
    assert np.all(np.diff(rates[:10]) > 0) and np.all(np.diff(rates[10:]) < 0)
    assert rates[-1] == pytest.approx(0.05, abs=0.01)


def test_snapshots_spread_logarithmically():
    steps = snapshot_steps(1500)
    assert steps[0] == 0 and steps[1] == 10 and steps[-1] == 750
    ratios = np.array(steps[2:]) / np.array(steps[1:-1])
    assert ratios.max() / ratios.min() < 1.2


class Interrupted(Exception):
    pass


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    vlm = train(SHORT, runs=runs)
    return runs, {k: v.clone() for k, v in vlm.model.state_dict().items()}


@pytest.mark.parametrize("stop", [2, 5, 8], ids=["alignment", "decoder", "joint"])
def test_an_interruption_leaves_no_trace(tmp_path, monkeypatch, uninterrupted, stop):
    """Stopped in any phase and started again, training ends with the same bits."""
    _, expected = uninterrupted
    monkeypatch.setattr(loop, "SAVE_EVERY", 1)
    real, calls = loop.learning_rate, []

    def stopping(step, phase):
        calls.append(step)
        if len(calls) == stop + 1:
            raise Interrupted
        return real(step, phase)

    monkeypatch.setattr(loop, "learning_rate", stopping)
    with pytest.raises(Interrupted):
        train(SHORT, runs=tmp_path)
    resumed = train(SHORT, runs=tmp_path).model.state_dict()
    assert len(calls) == 1 + SHORT.alignment_steps + SHORT.decoder_steps + SHORT.joint_steps
    for key, value in expected.items():
        assert torch.equal(resumed[key], value), key


def test_checkpoints_are_bf16_and_the_last_is_the_end(uninterrupted):
    runs, weights = uninterrupted
    files = sorted((runs / "short" / "checkpoints").glob("*.safetensors"))
    total = SHORT.alignment_steps + SHORT.decoder_steps + SHORT.joint_steps
    assert files[0].stem == "step-00000" and files[-1].stem == f"step-{total:05d}"
    for key, value in load_file(files[-1]).items():
        assert value.dtype == torch.bfloat16
        assert torch.equal(value, weights[key].to(torch.bfloat16))


def test_publishing_makes_an_ordinary_folder(tmp_path, monkeypatch, uninterrupted):
    runs, weights = uninterrupted
    monkeypatch.setattr(publish, "QUESTIONS", 12)
    folder = publish.train_and_publish(SHORT, runs=runs, output=tmp_path, device="cpu")
    saved = load(folder).model.state_dict()
    assert all(torch.equal(saved[key], value) for key, value in weights.items())
    facts = json.loads((folder / "training.json").read_text())
    assert [row["questions"] for row in facts["accuracy"] if row["group"] == "all"] == [12, 12]
    assert facts["command"] in (folder / "README.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"short", "checkpoints"}


def test_a_folder_of_another_configuration_is_refused(uninterrupted):
    runs, _ = uninterrupted
    with pytest.raises(ValueError, match="another configuration"):
        train(TrainingConfig(name="short", seed=5), runs=runs)


def test_bad_configurations_are_refused():
    with pytest.raises(ValueError, match="joint_steps: expected at least 1, got 0"):
        TrainingConfig(joint_steps=0)
    with pytest.raises(ValueError, match="decoder_batch: expected at most decoder_scenes = 8"):
        TrainingConfig(decoder_batch=9, decoder_scenes=8)
