"""The workflow: every target has jobs for every model, they run, go on, are tried again."""

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
import yaml

from conftest import ROOT
from lost_in_attention.evaluation.job_costs import JobCosts
from lost_in_attention.evaluation.measured import measured_path
from lost_in_attention.evaluation.sink_store import read_sinks
from lost_in_attention.evaluation.stored import results_path
from lost_in_attention.evaluation.subjects import PAPER, PUBLISHED, job_subjects
from lost_in_attention.evaluation.targets import TARGETS
from lost_in_attention.evaluation.workload import Workload
from lost_in_attention.models.registry import paper_variants
from lost_in_attention.trace.stored import traced_path

PROFILES = sorted(path.parent.name for path in (ROOT / "workflow/profiles").glob("*/config.yaml"))
SETTINGS = yaml.safe_load((ROOT / "workflow/config.yaml").read_text())
SMALL = [each.folder for each in job_subjects("families")]
# The cheapest run that has every kind of job.
FEW = {
    "questions": 20, "ablation_questions": 20, "benchmarks": "pope,mmmu", "preset": "paper",
    "ablation_benchmarks": "vmcbench", "noise_seeds": 1, "cases": 2, "traced_questions": 20,
    "counted": 2, "sink_questions": 2,
}  # fmt: skip


def arguments(profile: str, *targets: str, **config) -> list[str]:
    """Of a command line of Snakemake."""
    values = [f"{name}={value}" for name, value in config.items()]
    given = ["--config", *values] if values else []
    return ["--profile", f"workflow/profiles/{profile}", *targets, *given]


def snakemake(*given: str, **how) -> subprocess.Popen:
    """A process of its own, all of whose words are kept."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "snakemake", *given]
    words = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **words, **how)


@pytest.fixture
def dry_run(monkeypatch, capsys):
    """The words of a dry run in this process, and what it says of costs at its end."""
    from snakemake.cli import main

    def run(*given: str) -> tuple[str, str]:
        at_exit = []
        monkeypatch.setattr(atexit, "register", lambda hook: at_exit.append(hook) or hook)
        # Where a browser has been used an event loop runs in this thread, which Snakemake refuses.
        with ThreadPoolExecutor(1) as aside, pytest.raises(SystemExit) as end:
            aside.submit(main, ["-n", *given]).result()
        said = capsys.readouterr()
        assert end.value.code == 0, said.err
        for hook in at_exit:
            hook()
        return said.out + said.err, capsys.readouterr().out

    monkeypatch.chdir(ROOT)
    return run


def jobs_of(words: str) -> Counter:
    """How many jobs of each rule a dry run lists, from its last table."""
    lines = words.rpartition("Job stats:")[2].splitlines()
    rows = [line.split() for line in lines]
    return Counter({row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()})


def expected(target: str, models: int, benchmarks: dict[str, int]) -> dict[str, int]:
    """The jobs of a target by rule."""
    wanted = TARGETS[target]
    found = {
        "measure": models * len(wanted.measurements),
        "answer": models * sum(benchmarks[grid] for grid in wanted.grids),
        "gather": models * len(wanted.grids),
        "trace": models * wanted.traced,
        target: 1,
    }
    return {name: count for name, count in found.items() if count}


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_has_jobs_for_each_of_the_papers_variants(target, dry_run, tmp_path):
    words, costs = dry_run(*arguments("node", target, "-p", models=PUBLISHED, results=tmp_path))
    variants = paper_variants()
    supported = [each for each in variants if each.supported]
    assert len(variants) == 15
    jobs = jobs_of(words)
    assert jobs.pop("total") == sum(jobs.values())
    assert jobs == expected(target, len(supported), {"default": 7, "ablations": 1})
    assert all(f"--model {each.hub} " in words for each in supported)
    for each in variants:
        assert each.supported != (f"left out: {each.name}: {each.reason}" in costs)
    assert "GPU hours" in costs and f"of weights ({len(supported)} models)" in costs


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_has_jobs_for_the_small_models(target, dry_run, tmp_path):
    words, costs = dry_run(*arguments("laptop", target, results=tmp_path))
    jobs = jobs_of(words)
    del jobs["total"]
    assert jobs == expected(target, len(SMALL), {"default": 7, "ablations": 7})
    assert "core hours" in costs and "0 GB of weights (0 models), up to 0 GB" in costs


def test_all_holds_every_job_once(dry_run, tmp_path):
    words, _ = dry_run(*arguments("gpu", "all", models=PUBLISHED, results=tmp_path))
    models = sum(each.supported for each in paper_variants())
    jobs = jobs_of(words)
    assert (jobs["measure"], jobs["gather"], jobs["trace"]) == (3 * models, 2 * models, models)
    assert jobs["answer"] == 8 * models


@pytest.mark.parametrize("profile", ["gpu", "node"])
def test_sinks_are_jobs_of_their_own_which_no_processes_share(profile, dry_run, tmp_path):
    words, costs = dry_run(*arguments(profile, "sinks", "-p", models=PUBLISHED, results=tmp_path))
    models = sum(each.supported for each in paper_variants())
    jobs = jobs_of(words)
    assert (jobs["sink_tables"], jobs["sinks"]) == (models, 1) and "nproc" not in words
    assert words.count(" sinks --model ") == models and f"sink_tables: {models} jobs" in costs
    assert "--source hub --dtype bfloat16 --seed 0 --count 200 --batch-size 1 " in words


def printed_costs() -> list[tuple[str, str]]:
    """Targets and GPU hours in the table of the page on experiments."""
    page = (ROOT / "book/change_our_mind.md").read_text()
    return re.findall(r"\| `(\w+)` \| (\d+) \|", page)


@pytest.mark.parametrize(("target", "hours"), printed_costs())
def test_the_page_on_experiments_prints_what_a_dry_run_counts(target, hours, dry_run, tmp_path):
    _, costs = dry_run(*arguments("gpu", target, results=tmp_path))
    [counted] = re.findall(r"^all, ([\d.]+) GPU hours", costs, re.MULTILINE)
    assert f"{float(counted):.0f}" == hours


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_asks_for_its_machine(profile, dry_run, tmp_path):
    words, _ = dry_run(*arguments(profile, "figure3", "-p", results=tmp_path))
    processes = words.count("--nproc-per-node 8 ")
    assert bool(processes) == (profile == "node")
    assert PROFILES == ["gpu", "laptop", "node", "slurm"]


def test_what_the_repository_holds_is_not_made_again(dry_run):
    words, _ = dry_run(*arguments("laptop", "all"))
    assert "Nothing to be done" in words


@pytest.mark.parametrize(
    ("profile", "model", "chapters"),
    [("laptop", "small-llava", 16), ("gpu", "Qwen-2.5-VL-7B", 14), ("gpu", "./mine", 14)],
)
def test_a_report_has_the_chapters_of_any_model(profile, model, chapters, dry_run, tmp_path):
    """Those on tracing want boxes; a model of one's own is a folder."""
    if model == "./mine":
        model = str(shutil.copytree(ROOT / "data/models/small-llava", tmp_path / "mine"))
    words, _ = dry_run(*arguments(profile, "report", models=model, results=tmp_path / "results"))
    jobs = jobs_of(words)
    assert (jobs["chapter"], jobs["pages"], jobs["report"]) == (chapters, 1, 1)
    assert (jobs["measure"], jobs["gather"], jobs["trace"]) == (6, 2, chapters > 14)


def test_the_paper_prints_some_variants_in_some_tables():
    def names(target: str) -> list[str]:
        work = Workload.of(SETTINGS | {"models": PAPER})
        folders = {path.split("/")[-1] for path in work.files(target)}
        return [each.name for f, each in work.subjects.items() if any(f in p for p in folders)]

    assert names("table2") == [
        "Qwen-2.5-VL-3B", "Qwen-2.5-VL-7B", "LLaVA-1.5-7B", "LLaVA-OneVision-7B",
    ]  # fmt: skip
    assert names("tables4_7") == ["Qwen-2.5-VL-7B", "LLaVA-1.5-7B", "LLaVA-OneVision-7B"]
    assert len(names("table8")) == 8 and "Reverse" in names("table8")


@pytest.mark.parametrize("name", ["small-llava", "Qwen-2.5-VL-7B", "./data/models/small-llava"])
def test_results_lie_where_chapters_read_them(name, tmp_path):
    [subject] = job_subjects(name)
    work = Workload.of(SETTINGS | {"models": name, "results": str(tmp_path)})
    model = subject.model
    assert work.files("figure3") == [str(measured_path(model, "updates", tmp_path / "measured"))]
    assert work.files("tracing") == [str(traced_path(model, "cases", tmp_path / "traced"))]
    for target, grid in (("table2", "default"), ("table8", "ablations")):
        assert work.files(target) == [str(results_path(model, grid, tmp_path))]


def test_a_command_is_told_the_model_and_its_questions():
    work = Workload.of(SETTINGS | {"models": PUBLISHED})
    for each in paper_variants():
        [folder] = [f for f, subject in work.subjects.items() if subject.name == each.name]
        asked = work.options("answer", folder, prefix="sap", benchmark="pope")
        assert f"--model {each.hub} --source hub --dtype bfloat16 --seed 0" in asked
        # The command knows how a model of its category is asked.
        assert "--prompt" not in asked and "--decoding" not in asked
    measured = work.options("measure", folder, measurement="updates")
    assert "--every" in measured and "--questions 1000" in measured
    assert "--every" not in work.options("measure", folder, measurement="averaging")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"questions": 0}, "questions: expected"),
        ({"benchmarks": "popes"}, "benchmarks: expected"),
        ({"gpus": -1}, "gpus: expected"),
        ({"models": None}, "models: expected text, got None"),
        ({"benchmarks": ""}, "benchmarks: expected text, got ''"),
        ({"dtype": "int8"}, "dtype: expected"),
        ({"preset": "best"}, "preset: expected"),
        ({"batch_size": 0}, "batch_size: expected at least 1, got 0"),
        ({"batch_size": "big"}, "batch_size: expected a whole number"),
        ({"annotations": "nowhere.json"}, "annotations: expected a file"),
        ({"source": "digit"}, "source: expected 'auto', .* got 'digit'"),
        ({"source": "./nowhere"}, "source: expected 'auto', .* got './nowhere'"),
        ({"question": 5}, "config: expected the keys of config.yaml"),
    ],
)
def test_wrong_settings_are_refused(wrong, message, unchecked):
    with pytest.raises(ValueError, match=message):
        Workload.of(SETTINGS | wrong)


@pytest.mark.parametrize(
    ("given", "last"),
    [
        (
            ["tabel2"],
            "Error: target: expected one of ['all', 'table1', .* got 'tabel2'; "
            "did you mean 'table2'?",
        ),
        (["table2", "--config", "source=typo"], "Error: source: expected 'auto', .* got 'typo'"),
        (["table2", "--config", "models=none"], "Error: name: expected one of .* got 'none'"),
    ],
)
def test_what_is_mistyped_is_one_line(given, last, tmp_path):
    """The folder is not left locked behind it."""
    run = snakemake("--profile", "workflow/profiles/laptop", *given)
    *_, said = run.communicate()[0].strip().splitlines()
    assert run.returncode == 1
    assert re.fullmatch(re.escape(last).replace(r"\.\*", ".*"), said), said
    assert not list((ROOT / ".snakemake" / "locks").glob("*"))


@pytest.mark.parametrize("source", ["auto", "pictures", "hub", "./data", "lmms-lab/POPE"])
def test_a_source_may_be_a_name_a_folder_or_a_hub_id(source, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert Workload.of(SETTINGS | {"source": source}).source == source


@pytest.mark.parametrize("other", ["b/mine", "small-llava"])
def test_results_of_two_models_never_share_a_folder(other, tmp_path):
    """Folders elsewhere go by their last part, which may be that of another, or of the zoo."""
    paths = [str(tmp_path / name) for name in ("a/mine", other)]
    for path in paths:
        shutil.copytree(ROOT / "data/models/small-llava", path)
    assert [each.folder for each in job_subjects(paths[0])] == ["mine"]
    with pytest.raises(ValueError, match="models: expected a folder of results for each, got"):
        job_subjects(",".join(paths))


def test_a_folder_is_no_download_and_a_model_without_boxes_is_told():
    work = Workload.of(SETTINGS | {"models": "./data/models/small-llava"})
    [folder] = work.possible
    said = JobCosts(work).summary([("trace", {"model": folder})])
    assert "0 GB of weights (0 models)" in said
    assert "trace: 1 jobs will be refused without annotations=FILE" in said
    own = Workload.of(SETTINGS | {"models": "small-llava"})
    assert "refused" not in JobCosts(own).summary([("trace", {"model": "small-llava"})])


def test_other_settings_keep_their_unfinished_work_elsewhere():
    work = Workload.of(SETTINGS)
    for name, value in {"questions": 5, "dtype": "float32", "seed": 3}.items():
        assert Workload.of(SETTINGS | {name: value}).state != work.state


def folders(place: Path) -> dict[str, Path]:
    """Whose names a shell would take apart."""
    return {"results": place / "my results [1]", "runs": place / "my runs"}


def kept(place: Path) -> dict[Path, tuple[int, int]]:
    """Every file of unfinished work with its number, which a new one would not have, and size."""
    files = folders(place)["runs"].rglob("*.jsonl")
    return {path: (path.stat().st_ino, path.stat().st_size) for path in files}


def killed_after(jobs: int, *given: str) -> set[str]:
    """What the jobs were that a run had finished when it was killed with all of its processes."""
    run, words = snakemake(*given, start_new_session=True), ""
    for line in run.stdout:
        words += line
        if words.count("Finished jobid") == jobs:
            break
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    begun = dict(re.findall(r"Job (\d+): (.+): about", words))
    return {begun[number] for number in re.findall(r"Finished jobid: (\d+)", words)}


def test_the_whole_graph_runs_goes_on_after_a_kill_and_repeats_nothing(tmp_path):
    """All targets for a small model, killed in the middle."""
    given = arguments("laptop", "all", models=SMALL[0], **FEW, **folders(tmp_path))
    finished, before = killed_after(2, *given), kept(tmp_path)
    assert len(finished) == 2 and before

    assert snakemake(*given, "--unlock").wait() == 0
    run = snakemake(*given)
    words = run.communicate()[0]
    assert run.returncode == 0, words
    assert not [job for job in finished if job in words]
    after = kept(tmp_path)
    for path, (number, size) in before.items():
        assert after[path][0] == number and after[path][1] >= size, path
    paths = {name: str(path) for name, path in folders(tmp_path).items()}
    work = Workload.of(SETTINGS | FEW | paths | {"models": SMALL[0]})
    for target in TARGETS:
        for path in work.files(target):
            assert len(pd.read_parquet(path)), path
    answers = pd.read_parquet(results_path(SMALL[0], "default", folders(tmp_path)["results"]))
    assert answers.groupby("benchmark")["sample"].nunique().to_dict() == {"pope": 20, "mmmu": 20}
    assert "Nothing to be done" in snakemake(*given).communicate()[0]


def test_what_a_sink_job_keeps_is_what_the_chapter_reads(tmp_path):
    run = snakemake(*arguments("laptop", "sinks", models=SMALL[0], **FEW, **folders(tmp_path)))
    words = run.communicate()[0]
    assert run.returncode == 0, words
    tables, facts = read_sinks(SMALL[0], folders(tmp_path)["results"] / "sinks")
    assert tables.updates["sample"].nunique() == facts["options"]["count"] == 2


def test_a_failing_job_is_tried_again_and_reported(tmp_path):
    """A model of no weights, beside one that runs to its end."""
    broken = tmp_path / "broken one"
    shutil.copytree(ROOT / "data/models" / SMALL[0], broken)
    for weights in broken.glob("*.safetensors"):
        weights.write_bytes(b"")
    given = {"models": f"{SMALL[0]},{broken}", "source": "digits"}
    run = snakemake(
        *arguments("laptop", "figure3", **given, **FEW | {"questions": 2}, **folders(tmp_path))
    )
    words = run.communicate()[0]
    assert run.returncode == 1
    assert words.count("updates of broken one") == 3
    assert words.count(f"updates of {SMALL[0]}") == 1
    assert "Error in rule measure" in words and "expected" in words
    results = folders(tmp_path)["results"]
    assert measured_path(SMALL[0], "updates", results / "measured").exists()
