"""The recipe: what it teaches is true, and an interruption leaves no trace."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from lost_in_attention.benchmarks import BENCHMARKS
from lost_in_attention.benchmarks.choices import LETTERS
from lost_in_attention.digits import COLOURS, DIGIT_NAMES, make_scenes
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.training import (
    TrainingConfig,
    accuracy,
    loop,
    publish,
    recipe,
    train,
    zoo_config,
)
from lost_in_attention.training.alignment import token_labels
from lost_in_attention.training.architecture import ARCHITECTURES, GRID
from lost_in_attention.training.conversations import (
    EVERYTHING,
    LOOKING,
    PLAIN,
    colours,
    digits,
    letters,
    list_conversation,
    pairs,
    question_conversation,
    sums,
    where,
)
from lost_in_attention.training.decoder import decode
from lost_in_attention.training.dialogue import (
    SceneStock,
    dialogue_loss,
    encode_conversations,
)
from lost_in_attention.training.digit_scenes import training_scenes
from lost_in_attention.training.loop import (
    Phase,
    Rates,
    claim_folder,
    make_optimizers,
    rate_share,
    run_phase,
)
from lost_in_attention.training.recipe import snapshot_steps
from lost_in_attention.training.tasks import TASKS, Turn

SHORT = TrainingConfig(
    name="short", architecture="llava", alignment_steps=3, alignment_batch=4, looking_steps=1,
    plain_steps=1, decoder_steps=4, decoder_batch=4, decoder_scenes=8, words_steps=3,
    joint_steps=2, joint_batch=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def scenes():
    return list(make_scenes(60, split="train", seed=2))


@pytest.fixture(scope="module")
def tokenizer():
    return recipe.train_tokenizer(recipe._corpus())


def items(turn: Turn) -> list[tuple[str, str]]:
    """What is given and what is learned in each item of a list."""
    if not turn.given:
        return []
    ends = [*(first for first, _ in turn.given[1:]), len(turn.answer)]
    return [
        (turn.answer[first:last].removeprefix(", "), turn.answer[last:end].strip())
        for (first, last), end in zip(turn.given, ends, strict=True)
    ]


def test_lists_of_digits_are_true(scenes):
    rng = np.random.default_rng(0)
    for scene in scenes:
        told = items(digits(scene, rng))
        assert {DIGIT_NAMES.index(name) for name, _ in told[:-1]} == {d.digit for d in scene.digits}
        assert told[-1][1] == "no" and told[-1][0] not in {d.name for d in scene.digits}
        for name, places in told[:-1]:
            found = [place.split() for place in places.split(" and ")]
            assert len(found) == sum(d.name == name for d in scene.digits)
            for colour, column, row in found:
                assert any(
                    d.colour == colour
                    and abs(d.centre[0] - (int(column) - 0.5) * 12) <= 6
                    and abs(d.centre[1] - (int(row) - 0.5) * 12) <= 6
                    for d in scene.digits
                    if d.name == name
                )


def test_lists_of_colours_pairs_and_sums_are_true(scenes):
    rng = np.random.default_rng(1)
    for scene in scenes:
        by_name = {d.name: d for d in scene.digits}
        by_colour = {d.colour: d for d in scene.digits}
        for name, told in items(colours(scene, rng)):
            found = [d.name for d in scene.digits if d.colour == name]
            assert sorted(told.split(" and ")) == sorted(found or ["no"])
        for names, told in items(pairs(scene, rng)):
            one, other = (by_name[name] for name in names.split())
            left, above, taller, higher = told.split()
            assert left == "same" or (left == "left") == (one.centre[0] < other.centre[0])
            assert above == "same" or (above == "above") == (one.centre[1] < other.centre[1])
            assert taller == "same" or (taller == "taller") == (one.box[3] > other.box[3])
            assert (higher == "higher") == (one.digit > other.digit)
        for asked, told in items(sums(scene, rng)):
            first, kind, last = asked.split()
            value = by_colour[first].digit
            if last == "sum":
                assert int(told) == value + by_colour[kind].digit
            else:
                assert int(told) == value + (1 if kind == "plus" else -1) * int(last)


def test_lists_of_letters_need_no_image(scenes):
    turn = letters(scenes[0], np.random.default_rng(2))
    options = dict(line.split(". ")[::-1] for line in turn.question.split("\n"))
    assert dict(items(turn)) == options and sorted(options.values()) == list(LETTERS)


@pytest.mark.parametrize("name", TASKS)
def test_tasks_put_the_benchmarks_own_prompts(scenes, name, tmp_path):
    """Some turns hold the official wording, and the lettered answers stand among the options."""
    rng = np.random.default_rng(3)
    turns = [turn for scene in scenes for turn in [TASKS[name](scene, rng, "letters")] if turn]
    assert len(turns) > 20
    for turn in turns:
        assert turn.answer and not turn.given
        if turn.answer in LETTERS:
            assert any(
                line.startswith((f"{turn.answer}. ", f"({turn.answer}) "))
                for line in turn.question.split("\n")
            )
    instructions = {
        "pope": "single word or phrase",
        "realworldqa": "Please answer directly",
        "3dsrbench": "Please select the correct answer",
        "mmmu": "from the given choices directly",
        "vmcbench": "Answer ONLY option",
        "hallusionbench": "?",
        "mathvista": "Hint: ",
    }
    assert set(instructions) == set(BENCHMARKS)
    assert any(instructions[name] in turn.question for turn in turns)


@pytest.mark.parametrize("name", TASKS)
def test_plain_questions_have_no_options(scenes, name):
    rng = np.random.default_rng(5)
    turns = [turn for s in scenes for turn in [TASKS[name](s, rng, "plain")] if turn]
    assert all("\n" not in turn.question and turn.answer not in LETTERS for turn in turns)


@pytest.mark.parametrize("name", TASKS)
def test_options_may_be_answered_by_their_words(scenes, name):
    """The same questions, and where the one reply is a letter the other is what stands by it."""
    letters, words = (
        [TASKS[name](scene, np.random.default_rng(6), style) for scene in scenes]
        for style in ("letters", "words")
    )
    for one, other in zip(filter(None, letters), filter(None, words), strict=True):
        assert one.question == other.question
        if one.answer in LETTERS:
            lines = one.question.split("\n")
            assert any(line.lstrip("(").startswith(one.answer) and line.endswith(other.answer)
                       for line in lines)  # fmt: skip
        else:
            assert one.answer == other.answer


def test_lessons_follow_each_other():
    config = TrainingConfig(looking_steps=3, plain_steps=2)
    lessons = [recipe.lesson_at(step, config) for step in range(7)]
    assert lessons == [LOOKING] * 3 + [PLAIN] * 2 + [EVERYTHING] * 2


def test_a_model_may_start_from_one_of_another_family(tokenizer, monkeypatch):
    """Decoders of LLaVA and OneVision agree but for biases; towers agree in part."""
    given, processor = ARCHITECTURES["llava"].build(tokenizer, seed=0)
    own, _ = ARCHITECTURES["llava-onevision"].build(tokenizer, seed=1)
    fresh = {key: weight.clone() for key, weight in own.state_dict().items()}
    monkeypatch.setattr(recipe, "load", lambda _: VisionLanguageModel(given, processor, "given"))
    recipe._inherit(own, "given")
    for key, weight in own.state_dict().items():
        other = given.state_dict().get(key)
        inherited = other is not None and other.shape == weight.shape
        assert torch.equal(weight, other if inherited else fresh[key]), key
    assert torch.equal(own.lm_head.weight, given.lm_head.weight)
    q_proj = "model.language_model.layers.0.self_attn.q_proj"
    assert torch.equal(own.state_dict()[f"{q_proj}.bias"], fresh[f"{q_proj}.bias"])


def test_cards_tell_a_model_that_starts_from_another():
    alone, after = (publish._start(zoo_config(n)) for n in ("small-llava", "small-llava-next"))
    assert alone == "All weights start at random."
    assert "`small-llava`" in after and "no independent witnesses" in after
    assert publish._lessons(zoo_config("small-llava-next")) == ""
    assert publish._lessons(zoo_config("small-llava")).count("steps") == 3


def test_lessons_differ(scenes):
    rng = np.random.default_rng(4)
    asked = {turn.question for s in scenes for turn in question_conversation(s, LOOKING, rng)}
    assert all(text.startswith("Is there a") for text in asked)
    asked = {turn.question for s in scenes for turn in list_conversation(s, EVERYTHING, rng)}
    assert {"Describe the digits.", "Compare the digits.", "Add the digits."} <= asked


def test_every_eighth_training_scene_is_a_number():
    rows = [scene.theme is None for scene in training_scenes(16, seed=1)]
    assert [index for index, is_row in enumerate(rows) if is_row] == [0, 8]


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


def small(name, tokenizer) -> VisionLanguageModel:
    return VisionLanguageModel(*ARCHITECTURES[name].build(tokenizer, seed=0), name)


def test_the_loss_sees_what_is_not_given(scenes, tokenizer):
    vlm = small("llava", tokenizer)
    rng = np.random.default_rng(3)
    chats = [make(s, EVERYTHING, rng) for s in scenes[:6]
             for make in (list_conversation, question_conversation)]  # fmt: skip
    ids, answers = encode_conversations(vlm, chats, [64] * len(chats))
    for row, said, turns in zip(ids, answers, chats, strict=True):
        expected = ""
        for turn in turns:
            keep = np.ones(len(turn.answer), bool)
            for first, last in turn.given:
                keep[first:last] = False
            text = "".join(c for c, kept in zip(turn.answer, keep, strict=True) if kept)
            # The space before an answer belongs to its first token.
            expected += f"{'' if turn.given else ' '}{text}<|im_end|>"
        assert tokenizer.decode(row[said]) == expected
        assert int((row == vlm.model.config.image_token_id).sum()) == 64


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_training_prompts_are_those_of_the_processor(scenes, tokenizer, name):
    """The text that training writes is the text that `prepare` makes at evaluation."""
    vlm = small(name, tokenizer)
    question = "Is there a seven in the image?"
    [features] = vlm.encode_images([scenes[0].image])
    ids, answers = encode_conversations(vlm, [[Turn(question, "yes")]], [len(features)])
    prompt = vlm.prepare([scenes[0].image], [question])["input_ids"][0]
    assert torch.equal(ids[0, : len(prompt)], prompt)
    assert int(answers[0].nonzero()[0]) == len(prompt)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_stored_features_stand_for_images(scenes, tokenizer, name):
    """The decoder sees the same through the stock of features as through the processor."""
    vlm = small(name, tokenizer)
    vlm.model.eval()
    with torch.inference_mode():
        features = vlm.encode_images([s.image for s in scenes[:2]])
        inputs = vlm.prepare([s.image for s in scenes[:2]], ["one", "two"])
        whole = vlm.model.model(**inputs).last_hidden_state
        torch.testing.assert_close(decode(vlm, inputs["input_ids"], features, GRID), whole)


def test_rates_rise_then_fall():
    phase = Phase("x", 100, Rates(1.0, 0.1), 10, torch.nn.Identity(), [], lambda step: None)
    shares = [rate_share(step, phase) for step in range(100)]
    assert shares[9] == pytest.approx(1.0) and np.argmax(shares) in (9, 10)
    assert np.all(np.diff(shares[:10]) > 0) and np.all(np.diff(shares[10:]) < 0)
    assert shares[-1] == pytest.approx(0.05, abs=0.01)


def test_each_parameter_has_one_optimizer(tokenizer):
    model = small("qwen2.5-vl", tokenizer).model
    phase = Phase("x", 1, Rates(1e-2, 1e-3), 1, model, list(model.parameters()), lambda step: None)
    muon, adam = make_optimizers(phase)
    parts = [{id(p) for g in o.param_groups for p in g["params"]} for o in (muon, adam)]
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == {id(p) for p in model.parameters()}
    assert id(model.get_input_embeddings().weight) in parts[1]
    assert id(model.get_decoder().layers[0].mlp.up_proj.weight) in parts[0]


def test_a_few_steps_lower_the_loss(tokenizer):
    """Ten steps on one batch: a test that the gradient reaches the decoder."""
    vlm = small("llava", tokenizer)
    stock = SceneStock(vlm, 8, seed=1)
    batch = stock.batch(8, np.random.default_rng(0))
    decoder = list(vlm.decoder.parameters())
    phase = Phase(
        "x", 10, Rates(1e-2, 2e-3), 1, vlm.model, decoder,
        lambda step: dialogue_loss(vlm, *batch, LOOKING, np.random.default_rng(0)),
    )  # fmt: skip
    first = phase.loss(0)[0].item()
    optimizers = make_optimizers(phase)
    for _ in range(10):
        vlm.model.zero_grad()
        phase.loss(0)[0].backward()
        for optimizer in optimizers:
            optimizer.step()
    assert phase.loss(0)[0].item() < 0.7 * first


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


def test_interruptions_leave_no_trace(tmp_path, monkeypatch, uninterrupted):
    """Stopped once in every phase and started again, training ends with the same bits."""
    _, expected = uninterrupted
    monkeypatch.setattr(loop, "SAVE_EVERY", 1)
    real, done = loop.rate_share, []
    # Of all steps one in each phase: alignment, decoder, words, joint.
    stops = [2, 5, 8, 11]

    def stopping(step, phase):
        if stops and len(done) == stops[0]:
            stops.pop(0)
            raise Interrupted
        done.append(phase.name)
        return real(step, phase)

    monkeypatch.setattr(loop, "rate_share", stopping)
    for _ in list(stops):
        with pytest.raises(Interrupted):
            train(SHORT, runs=tmp_path)
    resumed = train(SHORT, runs=tmp_path).model.state_dict()
    assert len(done) == SHORT.steps and {done[stop] for stop in (2, 5, 8, 11)} == set(done)
    for key, value in expected.items():
        assert torch.equal(resumed[key], value), key


def test_checkpoints_are_bf16_and_the_last_is_the_end(uninterrupted):
    runs, weights = uninterrupted
    files = sorted((runs / "short" / "checkpoints").glob("*.safetensors"))
    total = SHORT.steps
    assert files[0].stem == "step-00000" and files[-1].stem == f"step-{total:05d}"
    for key, value in load_file(files[-1]).items():
        assert value.dtype == torch.bfloat16
        assert torch.equal(value, weights[key].to(torch.bfloat16))


def test_publishing_makes_an_ordinary_folder(tmp_path, monkeypatch, uninterrupted):
    runs, weights = uninterrupted
    monkeypatch.setattr(publish, "QUESTIONS", 12)
    folder = publish.train_and_publish(
        SHORT, runs=runs, output=tmp_path, device="cpu", checkpoints=True
    )
    saved = load(folder).model.state_dict()
    assert all(torch.equal(saved[key], value) for key, value in weights.items())
    facts = json.loads((folder / "training.json").read_text())
    overall = [row for row in facts["accuracy"] if row["group"] == "all"]
    assert [row["questions"] for row in overall] == [12, 12] * len(BENCHMARKS)
    assert {row["benchmark"] for row in overall} == set(BENCHMARKS)
    assert facts["command"] in (folder / "README.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"short", "checkpoints"}


def test_the_card_has_the_benchmarks_own_accuracy():
    rows = [
        {"group": group, "correct": correct, "parsed": "a", "image_source": str(number)}
        for number, (group, correct) in enumerate([("GQA", 1), ("GQA", 1), ("GQA", 0), ("AI2D", 0)])
    ]
    table = pd.DataFrame(rows).astype({"correct": bool})
    found = accuracy._overall("vmcbench", table)
    assert found["accuracy"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["low"] <= found["accuracy"] <= found["high"] and found["questions"] == 4
    assert accuracy._overall("pope", table.assign(answer="a"))["accuracy"] == 0.5


def test_a_place_that_cannot_be_written_is_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "train", None)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="output: expected a place that can be written"):
        publish.train_and_publish(
            SHORT, runs=tmp_path, output=tmp_path / "file" / "x", device="cpu", checkpoints=False
        )
    with pytest.raises(ValueError, match="runs: expected a place that can be written"):
        train(SHORT, runs=tmp_path / "file")


def test_a_folder_of_another_configuration_is_refused(uninterrupted):
    runs, _ = uninterrupted
    with pytest.raises(ValueError, match="another configuration"):
        train(TrainingConfig(name="short", seed=5), runs=runs)


def phase_of(loss, module) -> Phase:
    rates = Rates(1e-3, 1e-3)
    return Phase("only", 2, rates, 1, module, list(module.parameters()), loss, muon=False)


def test_a_loss_that_is_no_number_ends_the_phase(tmp_path):
    module = torch.nn.Linear(2, 1)
    phase = phase_of(lambda step: (module.weight.sum() * float("nan"), {}), module)
    with pytest.raises(ValueError, match="only: expected a finite loss, got nan in step 0"):
        run_phase(phase, tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"junk", None])
def test_a_damaged_state_or_that_of_other_weights_is_refused(tmp_path, content):
    module = torch.nn.Linear(2, 1)
    run_phase(phase_of(lambda step: (module.weight.sum(), {}), module), tmp_path)
    if content:
        (tmp_path / "only.safetensors").write_bytes(content)
    other = torch.nn.Linear(3, 1)
    with pytest.raises(ValueError, match="runs: expected the state of this run in .*only") as found:
        run_phase(phase_of(lambda step: (other.weight.sum(), {}), other), tmp_path)
    assert "\n" not in str(found.value)


def test_weights_of_an_unknown_run_are_not_gone_on_with(tmp_path):
    (tmp_path / "joint.safetensors").touch()
    with pytest.raises(ValueError, match="expected config.json beside the weights .* got joint"):
        claim_folder(tmp_path, SHORT)


def test_bad_configurations_are_refused():
    with pytest.raises(ValueError, match="architecture: expected one of .* got 'clip'"):
        TrainingConfig(architecture="clip")
    with pytest.raises(ValueError, match="name: expected one of .* got 'large'"):
        zoo_config("large")
    with pytest.raises(ValueError, match="joint_steps: expected at least 1, got 0"):
        TrainingConfig(joint_steps=0)
    with pytest.raises(ValueError, match="seed: expected at least 0, got -3"):
        TrainingConfig(seed=-3)
    with pytest.raises(ValueError, match="joint_batch: expected at least 1, got 0"):
        TrainingConfig(joint_batch=0)
    with pytest.raises(ValueError, match="decoder_batch: expected at most decoder_scenes = 8"):
        TrainingConfig(decoder_batch=9, decoder_scenes=8)
