"""The rule for verdicts, and that nothing but evidence writes a word about the paper's numbers."""

import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lost_in_attention.benchmarks import BENCHMARKS, load_benchmark
from lost_in_attention.digits import COLOURS, DIGIT_NAMES
from lost_in_attention.models import VisionLanguageModel, load
from lost_in_attention.models.registry import paper_variants
from lost_in_attention.publishing import claims, evidence, report
from lost_in_attention.publishing.evidence import (
    Asked,
    Evidence,
    Model,
    hub_revision,
)
from lost_in_attention.publishing.verdicts import (
    MINIMUM_MODELS,
    MINIMUM_QUESTIONS,
    VERDICTS,
    Finding,
    Ground,
    decide,
    in_words,
    together,
)
from lost_in_attention.residual.baselines import without_rope
from lost_in_attention.residual.depth import REFERENCE_LAYERS
from lost_in_attention.training.architecture import ARCHITECTURES
from lost_in_attention.training.tokenizer import train_tokenizer

PUBLISHED = "Qwen/Qwen2.5-VL-7B-Instruct"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CLAIM = {"statement": "s", "paper": "low", "measured": 0.25, "tolerance": "direction"}
HUBS = [each.hub for each in paper_variants()]
ABOUT_THE_PAPER = re.compile("reproduced|at tier paper")
SMALL = ("small-llava", "small-llava-next", "small-qwen2.5-vl")
answers_of_models = st.lists(st.sampled_from([True, False, None]), max_size=8)


def complete(claim_id="C073") -> Evidence:
    """What would decide a claim of Section 4.2."""
    models = {
        each.hub: Model("digest", variant=each.name, revision=COMMIT) for each in paper_variants()
    }
    return Evidence(models, {"pope": Asked(1000, BENCHMARKS["pope"].hub, COMMIT)})


def small(questions=40) -> Evidence:
    found = Evidence(benchmarks={"pope": Asked(questions)})
    found.stored(SMALL)
    return found


def verdict(answers, found, claim_id="C073", *, tier="paper", **changes):
    ground = {"questions": found.questions} | changes
    return in_words(decide([Finding(Ground(claim_id, found, tier, **ground), answers)]))


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


def test_nothing_found_leaves_open_who_was_asked():
    assert verdict({}, small()) == verdict({}, complete()) == "undecided"
    assert verdict({}, complete(), "C060", number=True) == "undecided"
    assert verdict({"mean": None}, complete(), "C060", number=True) == "undecided"
    for found, number in ((small(), True), (Evidence(), True), (Evidence(), False)):
        assert verdict({}, found, "C060", number=number) == NEEDS
        assert verdict({"mean": None}, found, "C060", number=number) == NEEDS


PICTURES = "smollm2-pictures"
RULE = [
    # answers of the pretrained, the small and other models, questions: words, by subject
    ([True], [], [], 20, "same direction on a pretrained decoder"),
    ([False], [], [], 20, "different direction on a pretrained decoder"),
    ([None], [], [], 20, "undecided"),
    ([True], [], [], 19, "undecided"),
    ([True, True], [], [], 20, "same direction on a pretrained decoder"),
    ([True, False], [], [], 20, "mixed on a pretrained decoder"),
    ([True, None], [], [], 20, "undecided"),
    (
        [True],
        [False] * 3,
        [],
        20,
        "same direction on a pretrained decoder; different direction on small models",
    ),
    (
        [True],
        [True, False, None],
        [True],
        20,
        "same direction on a pretrained decoder; mixed on small models",
    ),
    # The pretrained one does not make up the number of small ones.
    (
        [True],
        [True, True],
        [],
        20,
        "same direction on a pretrained decoder; undecided on small models",
    ),
    (
        [None],
        [True] * 3,
        [],
        20,
        "undecided on a pretrained decoder; same direction on small models",
    ),
    ([None], [True, None, True], [], 20, "undecided"),
    ([True], [True] * 3, [], 19, "undecided"),
    # Controls and models that nobody knows decide nothing and take nothing away.
    ([], [True] * 3, [False], 20, "same direction on small models"),
    ([True], [], [False, None], 20, "same direction on a pretrained decoder"),
    ([], [], [True], 20, "needs published weights"),
    ([], [True, True], [True], 20, "undecided"),
]


def asked_of(pretrained, small, others, questions):
    """Evidence and answers of so many models of each kind; of the others the first is a control."""
    kinds = {"pretrained": pretrained, "small": small, None: others}
    named = {f"{kind} {i}": (kind, a) for kind, all_ in kinds.items() for i, a in enumerate(all_)}
    found = Evidence(
        {name: Model(None, kind) for name, (kind, _) in named.items()},
        {"pope": Asked(questions)},
    )
    return {name: answer for name, (_, answer) in named.items()}, found


@pytest.mark.parametrize(("pretrained", "small", "others", "questions", "words"), RULE)
def test_the_rule_for_each_kind_of_subject(pretrained, small, others, questions, words):
    answers, found = asked_of(pretrained, small, others, questions)
    for tier in ("book", "paper"):
        assert verdict(answers, found, tier=tier) == words
        assert verdict(answers, found, "C012", tier=tier, number=True) == NEEDS


@given(answers_of_models, answers_of_models, answers_of_models)
def test_kinds_take_nothing_from_each_other(pretrained, small, others):
    def by_subject(*kinds):
        answers, found = asked_of(*kinds, 40)
        return decide([Finding(Ground("C073", found, "book", 40), answers)])

    alone = by_subject(pretrained, [], []) | by_subject([], small, [])
    assert by_subject(pretrained, small, others) == alone


def test_small_models_say_nothing_of_a_number():
    for tier in ("smoke", "book", "paper"):
        found = verdict(dict.fromkeys(SMALL, True), small(), "C012", tier=tier, number=True)
        assert found == "needs published weights"


def test_complete_evidence_decides():
    models = HUBS
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
    found, models = complete(), HUBS
    spoil(found)
    assert any(lacking in reason for reason in found.lacks("C073"))
    for answer in (True, False):
        said = verdict(dict.fromkeys(models, answer), found, questions=1000)
        assert said == NEEDS and not ABOUT_THE_PAPER.search(said)


def test_every_model_that_is_claimed_of_must_answer():
    models = HUBS
    assert verdict(dict.fromkeys(models[:3], True), complete()) == NEEDS


def test_a_claim_without_a_rule_is_never_reproduced():
    yes = dict.fromkeys(HUBS, True)
    assert verdict(yes, complete(), "C062") == NEEDS
    assert "C062" in complete().lacks("C062")[0]


def test_registry_and_needs_name_what_exists():
    variants, texts = {each.name for each in paper_variants()}, set(claims.text_claims()["id"])
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


def reading(answers, found, tier="book", given=None):
    return Finding(Ground("C073", found, tier, found.questions), answers, given)


def pooled(*found):
    return in_words(decide(found))


def test_each_kind_has_its_verdict_and_proofs_stand_above_all():
    no = reading(dict.fromkeys(SMALL, False), small())
    learned = Evidence({PICTURES: Model(None, "pretrained")}, {"pope": Asked(40)})
    mine = reading({PICTURES: True}, learned)
    yes = reading(dict.fromkeys(HUBS, True), complete(), "paper")
    proof = reading(None, Evidence(), given="contradicted by proof")
    wanted = {
        "published": "reproduced at tier paper",
        "pretrained": "same direction on a pretrained decoder",
        "small": "different direction on small models",
    }
    assert decide([no, yes, mine]) == decide([mine, yes, no]) == wanted
    assert pooled(no, yes, mine) == "; ".join(wanted.values())
    assert decide([no]) == {"small": wanted["small"], "published": NEEDS}
    assert decide([no, mine, yes, proof]) == dict.fromkeys(wanted, "contradicted by proof")
    with pytest.raises(ValueError, match="expected one verdict by proof"):
        decide([proof, reading(None, Evidence(), given="proved")])
    with pytest.raises(ValueError, match="found: expected at least one"):
        decide([])


def test_what_no_model_was_asked_is_open_for_all_until_one_answers():
    given_ = reading(None, Evidence(), given="undecided")
    yes = reading(dict.fromkeys(SMALL, True), small())
    assert pooled(given_) == "undecided"
    assert decide([given_, yes])["small"] == "same direction on small models"
    needs = reading(None, Evidence(), given=NEEDS)
    assert decide([needs]) == {"published": NEEDS}


def test_a_model_that_is_open_in_one_chapter_and_clear_in_another_is_clear():
    clear = reading(dict.fromkeys(SMALL, True), small())
    open_ = reading(dict.fromkeys(SMALL, None), small())
    assert pooled(open_, clear).startswith("same")
    assert pooled(open_) == "undecided"
    few = reading(dict.fromkeys(SMALL, False), small(4))
    assert pooled(few, clear).startswith("same")


@given(st.lists(answers_of_models, min_size=1, max_size=3), st.sampled_from(["book", "paper"]))
def test_no_answers_of_small_models_become_words_about_the_paper(chapters, tier):
    readings = [
        reading(dict(zip(SMALL, answers, strict=False)), small(), tier) for answers in chapters
    ]
    words = [pooled(*readings), *map(pooled, readings)]
    assert set(words) <= set(VERDICTS) and not any(map(ABOUT_THE_PAPER.search, words))


# --- what was really loaded and asked


@pytest.fixture(scope="module")
def qwen():
    return load("small-qwen2.5-vl")


def test_a_small_model_is_recorded_as_one(qwen):
    found = Evidence()
    found.saw(qwen)
    model = found.models["small-qwen2.5-vl"]
    assert model.subject == "small" and re.fullmatch("[0-9a-f]{16}", model.weights)
    assert model.variant is model.revision is None
    assert Evidence.from_json(json.loads(json.dumps(found.as_json()))) == found


def test_a_changed_model_is_not_recorded_as_the_untouched_one(qwen):
    with without_rope(qwen), pytest.raises(ValueError, match="inside a block of 'no RoPE'"):
        Evidence().saw(qwen)
    with without_rope(qwen) as bare:
        found = Evidence()
        found.saw(bare)
    assert found.models[bare.name].subject is None


@pytest.fixture
def shipped_parts(tmp_path, monkeypatch) -> Path:
    """A repository with one model in parts, and its decoder in the cache."""
    monkeypatch.setenv("LOST_IN_ATTENTION_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LOST_IN_ATTENTION_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "models" / PICTURES
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def made_with(folder: Path, seed: int | None) -> None:
    told = {
        "decoder": None,
        "sha256": None,
        "decoder_weights": "digest",
        "scaling": 2,
        "adapted": 7,
    }
    (folder / "parts.json").write_text(json.dumps(told | {"seed": seed}))


def handle(name: str, source: Path):
    model = SimpleNamespace(name_or_path=str(source))
    return SimpleNamespace(model=model, name=name)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("seed", "subject"), [(None, "pretrained"), (7, None)])
def test_a_model_in_parts_is_what_its_decoder_is(shipped_parts, monkeypatch, seed, subject):
    made_with(shipped_parts, seed)
    monkeypatch.setattr(evidence, "weights_digest", lambda model: "digest")
    found, stored = Evidence(), Evidence()
    found.saw(handle(PICTURES, shipped_parts))
    stored.stored([PICTURES])
    assert found.models[PICTURES] == Model("digest", subject)
    assert stored.models[PICTURES] == Model(None, subject)
    elsewhere = shutil.copytree(shipped_parts, shipped_parts.parents[2] / PICTURES)
    found.saw(handle(PICTURES, elsewhere))
    assert found.models[PICTURES].subject is None


@pytest.mark.usefixtures("unchecked")
def test_the_decoder_alone_is_pretrained_by_its_weights_from_the_package(
    shipped_parts, monkeypatch
):
    monkeypatch.setattr(evidence, "weights_digest", lambda model: "digest")
    package = shipped_parts.parents[2] / "cache" / "smollm2"
    found, stored = Evidence(), Evidence()
    stored.stored(["smollm2", "smollm2 with random weights"])
    assert [model.subject for model in stored.models.values()] == ["pretrained", None]
    for name, source, subject in [
        ("smollm2", package, "pretrained"),
        ("smollm2", shipped_parts, None),
        ("smollm2 with random weights", package, None),
    ]:
        found.saw(handle(name, source))
        assert found.models[name].subject == subject


def test_parts_that_cannot_be_read_are_refused(shipped_parts):
    (shipped_parts / "parts.json").write_text("{}")
    with pytest.raises(ValueError, match=f"name: expected '{PICTURES}' to be a model in parts"):
        Evidence().stored([PICTURES])


def test_a_kind_that_nobody_knows_is_refused():
    with pytest.raises(ValueError, match="subject: expected pretrained, small or None, got 'big'"):
        Evidence.from_json({"models": {"a": {"weights": None, "subject": "big"}}})


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
        found.models[PUBLISHED], subject=None, variant=None, revision=None
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
        evidence,
        "try_to_load_from_cache",
        lambda *names, **at: look_up(*names, **at, cache_dir=cache),
    )
    assert hub_revision(PUBLISHED) == hub_revision(PUBLISHED, COMMIT) == COMMIT
    assert hub_revision(PUBLISHED, COMMIT[::-1]) is None
    assert hub_revision("Qwen/Qwen2.5-VL-3B-Instruct") is None
    assert hub_revision("small-llava") is None and hub_revision("a/b/c") is None
    monkeypatch.chdir(stand_in)
    assert hub_revision(PUBLISHED) is None


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("billions", "quantised", "variant"),
    [(8.3, False, "Qwen-2.5-VL-7B"), (0.002, False, None), (8.3, True, None)],
)
def test_other_weights_are_no_published_ones(monkeypatch, billions, quantised, variant):
    """They are of another size, or have lost digits."""
    weight = SimpleNamespace(numel=lambda: int(billions * 1e9))
    model = SimpleNamespace(
        name_or_path=PUBLISHED, parameters=lambda: [weight], is_loaded_in_8bit=quantised
    )
    monkeypatch.setattr(evidence, "weights_digest", lambda model: "digest")
    monkeypatch.setattr(evidence, "hub_revision", lambda name, revision: COMMIT)
    found = Evidence()
    found.saw(VisionLanguageModel(model, None, PUBLISHED, COMMIT))
    assert found.models[PUBLISHED] == Model("digest", None, variant, COMMIT)


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
    assert {claim.verdict for claim in run.claims} == {NEEDS}
    run.asked("pope", load_benchmark("pope").draw(100, seed=0))
    run.claim("C071", answers={PUBLISHED: True}, **CLAIM)
    assert run.claims[-1].verdict == NEEDS


# --- the claim itself


def written(found, tier="paper", **changes):
    origin = {"notebook": "06_layerwise_curves", "tier": tier, "evidence": found.as_json()}
    claim = {"verdict": "reproduced at tier paper", "provenance": origin} | changes
    return claims.Claim("C073", **CLAIM | {"answers": {}, "questions": 1000} | claim)


def test_no_claim_can_be_made_with_another_verdict_than_the_rules():
    yes = dict.fromkeys(HUBS, True)
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
    answers, found = asked_of([True], [True, False, None], [], 40)
    both = "same direction on a pretrained decoder; mixed on small models"
    claim = {"tier": "book", "answers": answers, "questions": 40}
    assert written(found, **claim, verdict=both).verdicts == {
        "pretrained": "same direction on a pretrained decoder",
        "small": "mixed on small models",
        "published": NEEDS,
    }
    for part in (*both.split("; "), "same direction on small models", "; ".join(VERDICTS)):
        with pytest.raises(ValueError, match=f"expected '{both}' by what was measured"):
            written(found, **claim, verdict=part)


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


def test_a_claim_about_two_kinds_survives_its_file_and_no_other_kind_does(tmp_path):
    answers, found = asked_of([True], [False] * 3, [], 40)
    run = started(tmp_path)
    run.evidence.models.update(found.models)
    run.asked("pope", load_benchmark("pope").draw(40, seed=0))
    run.claim("C073", answers=answers, **CLAIM)
    assert claims.read_claims(tmp_path) == run.claims
    [path] = (tmp_path / "claims").iterdir()
    text = path.read_text()
    path.write_text(text.replace('"subject": "pretrained"', '"subject": "small"'))
    with pytest.raises(ValueError, match="verdict of C073: expected 'mixed on small models'"):
        claims.read_claims(tmp_path)
