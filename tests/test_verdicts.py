"""The rule for verdicts, and that nothing but evidence writes a word about the paper's numbers."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lost_in_attention.benchmarks import BENCHMARKS, load_benchmark
from lost_in_attention.digits import COLOURS, DIGIT_NAMES
from lost_in_attention.models import load
from lost_in_attention.publishing import claims, evidence, report
from lost_in_attention.publishing.evidence import (
    Asked,
    Evidence,
    Model,
    hub_revision,
    published_models,
)
from lost_in_attention.publishing.verdicts import (
    MINIMUM_MODELS,
    MINIMUM_QUESTIONS,
    VERDICTS,
    Ground,
    decide,
    pooled,
    together,
)
from lost_in_attention.residual.baselines import without_rope
from lost_in_attention.residual.depth import REFERENCE_LAYERS
from lost_in_attention.training.architecture import ARCHITECTURES
from lost_in_attention.training.tokenizer import train_tokenizer

PUBLISHED = "Qwen/Qwen2.5-VL-7B-Instruct"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CLAIM = {"statement": "s", "paper": "low", "measured": 0.25, "tolerance": "direction"}
ABOUT_THE_PAPER = re.compile("reproduced|at tier paper")
SMALL = ("small-llava", "small-llava-next", "small-qwen2.5-vl")
answers_of_models = st.lists(st.sampled_from([True, False, None]), max_size=8)


def complete(claim_id="C073") -> Evidence:
    """What would decide a claim of Section 4.2."""
    models = {
        row.hub: Model("digest", variant=row.variant, revision=COMMIT)
        for row in published_models().itertuples()
    }
    return Evidence(models, {"pope": Asked(1000, BENCHMARKS["pope"].hub, COMMIT)})


def small(questions=40) -> Evidence:
    found = Evidence(benchmarks={"pope": Asked(questions)})
    found.stored(SMALL)
    return found


def verdict(answers, found, claim_id="C073", *, tier="paper", **changes):
    ground = {"questions": found.questions} | changes
    return decide(answers, Ground(claim_id, found, tier, **ground))


# --- the rule


@given(answers_of_models)
def test_models_together(answers):
    said = together(answers)
    assert said == together(answers[::-1])
    if {True, False} <= set(answers):
        assert said == "mixed"
    elif not answers or None in answers:
        assert said is None
    else:
        assert said == ("same" if answers[0] else "different")
    # What says yes and what says no are treated alike.
    flipped = together([None if answer is None else not answer for answer in answers])
    assert flipped == {"same": "different", "different": "same"}.get(said, said)


def test_the_words_for_small_models():
    for given_answers, words in [
        ([True] * 3, "same direction on small models"),
        ([False] * 3, "different direction on small models"),
        ([True, False, None], "mixed on small models"),
        ([True, True, None], "undecided"),
        ([None] * 3, "undecided"),
    ]:
        answers = dict(zip(SMALL, given_answers, strict=True))
        assert verdict(answers, small(), tier="book") == words
        assert verdict(answers, small(), tier="paper") == words


def test_few_models_and_few_questions_decide_nothing():
    """One model of a family (C079), one question at tier book (C016, C017)."""
    yes = dict.fromkeys(SMALL, True)
    assert len(SMALL) == MINIMUM_MODELS
    for fewer in (1, 2):
        assert verdict(dict.fromkeys(SMALL[:fewer], True), small(), tier="book") == "undecided"
    for questions in (1, MINIMUM_QUESTIONS - 1):
        assert verdict(yes, small(questions), tier="book") == "undecided"
        assert verdict(yes, small(), tier="book", questions=questions) == "undecided"
    assert verdict(yes, small(MINIMUM_QUESTIONS), tier="book").startswith("same")


def test_nothing_found_decides_nothing():
    for found in (small(), complete(), Evidence()):
        for number in (True, False):
            assert verdict({}, found, "C060", number=number) == "undecided"
            assert verdict({"mean": None}, found, "C060", number=number) == "undecided"
    assert verdict({}, small(), "C060", tier="book", number=True) == "needs published weights"


def test_small_models_say_nothing_of_a_number():
    for tier in ("smoke", "book", "paper"):
        found = verdict(dict.fromkeys(SMALL, True), small(), "C012", tier=tier, number=True)
        assert found == "needs published weights"


def test_complete_evidence_decides():
    models = published_models()["hub"]
    assert len(models) == 15
    assert verdict(dict.fromkeys(models, True), complete()) == "reproduced at tier paper"
    assert verdict(dict.fromkeys(models, False), complete()) == "not reproduced at tier paper"
    one_no = dict.fromkeys(models, True) | {PUBLISHED: False}
    assert verdict(one_no, complete()) == "mixed at tier paper"
    assert verdict(dict.fromkeys(models, True) | {PUBLISHED: None}, complete()) == "undecided"
    assert verdict({"mean": True}, complete(), "C012", number=True) == "reproduced at tier paper"
    assert verdict(dict.fromkeys(models, True), complete(), tier="book") == NEEDS


NEEDS = "needs published weights"


@pytest.mark.parametrize(
    ("spoil", "lacking"),
    [
        (lambda found: found.models.pop(PUBLISHED), "Qwen-2.5-VL-7B was not measured"),
        (
            lambda found: found.models.update({PUBLISHED: Model("digest")}),
            f"{PUBLISHED} is not registered weights from the hub",
        ),
        (lambda found: found.stored(["small-llava"]), "small-llava is not registered weights"),
        (
            lambda found: found.benchmarks.update(pope=Asked(999, "lmms-lab/POPE", COMMIT)),
            "pope: 999 of 1000 questions",
        ),
        (lambda found: found.benchmarks.update(pope=Asked(1000)), "pope: is not from lmms-lab"),
        (
            lambda found: found.benchmarks.update(pope=Asked(1000, "another/POPE", COMMIT)),
            "pope: is not from lmms-lab",
        ),
        (
            lambda found: found.benchmarks.update(pope=Asked(1000, "lmms-lab/POPE")),
            "pope: is not from lmms-lab",
        ),
        (lambda found: found.benchmarks.pop("pope"), "pope: was not asked"),
    ],
)
def test_what_lacks_is_named_and_nothing_is_said_of_the_paper(spoil, lacking):
    found, models = complete(), published_models()["hub"]
    spoil(found)
    assert any(lacking in reason for reason in found.lacks("C073"))
    for answer in (True, False):
        said = verdict(dict.fromkeys(models, answer), found, questions=1000)
        assert said == NEEDS and not ABOUT_THE_PAPER.search(said)


def test_every_model_that_is_claimed_of_must_answer():
    models = published_models()["hub"].tolist()
    assert verdict(dict.fromkeys(models[:3], True), complete()) == NEEDS


def test_a_claim_without_a_rule_is_never_reproduced():
    yes = dict.fromkeys(published_models()["hub"], True)
    assert verdict(yes, complete(), "C062") == NEEDS
    assert "C062" in complete().lacks("C062")[0]


def test_registry_and_needs_name_what_exists():
    variants, texts = set(published_models()["variant"]), set(claims.text_claims()["id"])
    assert len(variants) == 15
    needs = pd.read_csv(evidence.data_folder() / "paper" / "claim_needs.csv", dtype=str)
    for row in needs.itertuples():
        assert row.variants == "all" or set(row.variants.split()) <= variants
        assert set(row.benchmarks.split()) <= set(BENCHMARKS)
        for claim in row.claims.split():
            assert claim in texts or claim.startswith("T")


def test_the_page_states_the_rule_that_is_applied():
    page = (Path(__file__).parents[1] / "book" / "reading.md").read_text()
    assert f"fewer than {MINIMUM_QUESTIONS} questions" in page
    assert f"fewer than {MINIMUM_MODELS} small models" in page
    for words in VERDICTS:
        assert f"\n{words}\n: " in page
    assert f"neither end weighs more than 1/{REFERENCE_LAYERS}" in page


# --- several chapters


def reading(answers, found, tier="book", verdict_given=None):
    ground = Ground("C073", found, tier, found.questions)
    return verdict_given or decide(answers, ground), answers, ground


def test_published_weights_stand_above_small_models_and_proofs_above_both():
    no = reading(dict.fromkeys(SMALL, False), small())
    yes = reading(dict.fromkeys(published_models()["hub"], True), complete(), "paper")
    proof = reading(None, Evidence(), verdict_given="contradicted by proof")
    assert pooled([no]).startswith("different")
    assert pooled([no, yes]) == pooled([yes, no]) == "reproduced at tier paper"
    assert pooled([no, yes, proof]) == "contradicted by proof"
    with pytest.raises(ValueError, match="expected one verdict by proof"):
        pooled([proof, reading(None, Evidence(), verdict_given="proved")])
    with pytest.raises(ValueError, match="found: expected at least one"):
        pooled([])


def test_a_model_that_is_open_in_one_chapter_and_clear_in_another_is_clear():
    clear = reading(dict.fromkeys(SMALL, True), small())
    open_ = reading(dict.fromkeys(SMALL, None), small())
    assert pooled([open_, clear]).startswith("same")
    assert pooled([open_]) == "undecided"
    few = reading(dict.fromkeys(SMALL, False), small(4))
    assert pooled([few, clear]).startswith("same")


@given(st.lists(answers_of_models, min_size=1, max_size=3), st.sampled_from(["book", "paper"]))
def test_no_answers_of_small_models_become_words_about_the_paper(chapters, tier):
    readings = [
        reading(dict(zip(SMALL, answers, strict=False)), small(), tier) for answers in chapters
    ]
    words = [pooled(readings), *(verdict for verdict, _, _ in readings)]
    assert set(words) <= set(VERDICTS) and not any(map(ABOUT_THE_PAPER.search, words))


# --- what was really loaded and asked


@pytest.fixture(scope="module")
def qwen():
    return load("small-qwen2.5-vl")


def test_a_small_model_is_recorded_as_one(qwen):
    found = Evidence()
    found.saw(qwen)
    model = found.models["small-qwen2.5-vl"]
    assert model.small and re.fullmatch("[0-9a-f]{16}", model.weights)
    assert model.variant is model.revision is None
    assert Evidence.from_json(json.loads(json.dumps(found.as_json()))) == found


def test_a_changed_model_is_not_recorded_as_the_untouched_one(qwen):
    with without_rope(qwen), pytest.raises(ValueError, match="inside a block of 'no RoPE'"):
        Evidence().saw(qwen)
    with without_rope(qwen) as bare:
        found = Evidence()
        found.saw(bare)
    assert not found.models[bare.name].small


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    """Random weights in a folder that is called as the published model, seen from its parent."""
    folder = tmp_path_factory.mktemp("cwd")
    tokenizer = train_tokenizer([f" {word}" for word in (*DIGIT_NAMES, *COLOURS)] * 20)
    model, processor = ARCHITECTURES["qwen2.5-vl"].build(tokenizer, seed=0)
    model.save_pretrained(folder / PUBLISHED)
    processor.save_pretrained(folder / PUBLISHED)
    config = folder / PUBLISHED / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"_commit_hash": COMMIT}))
    return folder


def load_there(folder: Path, name: str):
    """The folder's model under the published name, which `load` itself does not give it."""
    here = os.getcwd()
    os.chdir(folder)
    try:
        with pytest.raises(ValueError, match="name: expected one meaning"):
            load(name)
        return replace(load(f"./{name}"), name=name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize("still_there", [True, False])
def test_a_folder_named_as_a_published_model_is_no_evidence(stand_in, monkeypatch, still_there):
    vlm = load_there(stand_in, PUBLISHED)
    assert vlm.name == PUBLISHED
    if still_there:
        monkeypatch.chdir(stand_in)
    found = Evidence()
    found.saw(vlm)
    assert found.models[PUBLISHED] == replace(
        found.models[PUBLISHED], small=False, variant=None, revision=None
    )


def in_hub_cache(root: Path, folder: Path, hub: str) -> Path:
    """The hub's cache as it is after `hub` was downloaded from a repository like `folder`."""
    entry = root / f"models--{hub.replace('/', '--')}"
    (entry / "refs").mkdir(parents=True)
    (entry / "refs" / "main").write_text(COMMIT)
    (entry / "snapshots").mkdir()
    (entry / "snapshots" / COMMIT).symlink_to(folder, target_is_directory=True)
    return root


def test_the_commit_is_that_of_the_hubs_cache(stand_in, tmp_path, monkeypatch):
    cache = in_hub_cache(tmp_path / "hub", stand_in / PUBLISHED, PUBLISHED)
    look_up = evidence.try_to_load_from_cache
    monkeypatch.setattr(
        evidence, "try_to_load_from_cache", lambda *names: look_up(*names, cache_dir=cache)
    )
    assert hub_revision(PUBLISHED) == COMMIT
    assert hub_revision("Qwen/Qwen2.5-VL-3B-Instruct") is None
    assert hub_revision("small-llava") is None and hub_revision("a/b/c") is None
    monkeypatch.chdir(stand_in)
    assert hub_revision(PUBLISHED) is None


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("billions", "variant"), [(8.3, "Qwen-2.5-VL-7B"), (0.002, None)])
def test_weights_of_another_size_are_no_published_ones(monkeypatch, billions, variant):
    weight = SimpleNamespace(numel=lambda: int(billions * 1e9))
    model = SimpleNamespace(name_or_path=PUBLISHED, parameters=lambda: [weight])
    monkeypatch.setattr(evidence, "weights_digest", lambda model: "digest")
    monkeypatch.setattr(evidence, "hub_revision", lambda name: COMMIT)
    found = Evidence()
    found.saw(SimpleNamespace(model=model, name=PUBLISHED))
    assert found.models[PUBLISHED] == Model("digest", False, variant, COMMIT)


@pytest.mark.parametrize("revision", [None, "main", "0123"])
def test_a_published_model_without_its_commit_cannot_be_written_down(revision):
    with pytest.raises(ValueError, match="expected Qwen-2.5-VL-7B with a commit and a digest"):
        Model("digest", variant="Qwen-2.5-VL-7B", revision=revision)


def test_questions_come_from_the_hub_only_where_the_rows_do(tmp_path):
    found = Evidence()
    found.asked("pope", load_benchmark("pope").draw(30, seed=0))
    assert found.benchmarks["pope"] == Asked(30)
    place = Path("lmms-lab___pope/default/0.0.0") / COMMIT
    for folder, origin in [
        (place, ("lmms-lab/POPE", COMMIT)),
        (Path("parquet/default-1/0.0.0") / COMMIT, (None, None)),
        (Path("somebody___pope/default/0.0.0") / COMMIT, (None, None)),
        (Path("lmms-lab___pope/default/0.0.0/main"), (None, None)),
    ]:
        table = SimpleNamespace(cache_files=[{"filename": str(tmp_path / folder / "a.arrow")}])
        samples = SimpleNamespace(table=table, __len__=lambda: 5)
        assert evidence._origin("pope", samples.table) == origin
    with pytest.raises(ValueError, match="benchmark: expected one of"):
        found.asked("pop", [])


def started(tmp_path):
    names = {"tier": "paper", "seed": 0, "model": "small-llava", "output": str(tmp_path)}
    return report.start("06_layerwise_curves", names)


def test_four_questions_of_random_weights_say_nothing_of_the_paper(stand_in, tmp_path):
    """papermill -p tier paper -p models Qwen/Qwen2.5-VL-7B-Instruct -p questions 4."""
    run = started(tmp_path)
    run.saw(load_there(stand_in, PUBLISHED))
    run.asked("pope", load_benchmark("pope").draw(4, seed=0))
    for claim_id in ("C073", "C016", "C017"):
        run.claim(claim_id, answers={PUBLISHED: True}, **CLAIM)
    run.claim("T1.attention.rid", answers={"mean": True}, number=True, **CLAIM)
    assert {claim.verdict for claim in run.claims} == {"undecided"}
    run.asked("pope", load_benchmark("pope").draw(100, seed=0))
    run.claim("C071", answers={PUBLISHED: True}, **CLAIM)
    assert run.claims[-1].verdict == NEEDS


# --- the claim itself


def written(found, tier="paper", **changes):
    origin = {"notebook": "06_layerwise_curves", "tier": tier, "evidence": found.as_json()}
    claim = {"verdict": "reproduced at tier paper", "provenance": origin} | changes
    return claims.Claim("C073", **CLAIM | {"answers": {}, "questions": 1000} | claim)


def test_no_claim_can_be_made_with_another_verdict_than_the_rules():
    yes = dict.fromkeys(published_models()["hub"], True)
    assert written(complete(), answers=yes).verdict == "reproduced at tier paper"
    for found, changes in [
        (small(), {"answers": dict.fromkeys(SMALL, True)}),
        (complete(), {"answers": None}),
        (complete(), {"answers": yes, "tier": "book"}),
        (complete(), {"answers": yes, "questions": 4}),
        (complete(), {"answers": {}}),
        (Evidence(), {"answers": yes}),
    ]:
        with pytest.raises(ValueError, match="verdict"):
            written(found, **changes)
    with pytest.raises(ValueError, match="expected 'undecided' by what was measured"):
        written(small(), tier="book", verdict="same direction on small models")


def test_a_claim_file_with_a_better_verdict_is_refused(tmp_path):
    run = started(tmp_path)
    run.evidence.stored(SMALL)
    run.asked("pope", load_benchmark("pope").draw(40, seed=0))
    run.claim("C073", answers=dict.fromkeys(SMALL, True), **CLAIM)
    assert claims.read_claims(tmp_path) == run.claims
    [path] = (tmp_path / "claims").iterdir()
    text = path.read_text()
    path.write_text(text.replace(run.claims[0].verdict, "reproduced at tier paper"))
    with pytest.raises(ValueError, match=r"C073.json: verdict of C073: expected 'same direction"):
        claims.read_claims(tmp_path)
