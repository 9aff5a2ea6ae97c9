"""The profile `slurm` on a real cluster of one node, where Debian's slurm-wlm is installed."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

from conftest import ROOT
from lost_in_attention.evaluation.measured import measured_path
from test_workflow import FEW, arguments, folders, snakemake

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
# A job's step looks here, whatever SLURM_CONF says.
CONFIGURATION = Path("/etc/slurm/slurm.conf")
MODEL = "small-llava"


def reason_to_skip() -> str | None:
    missing = [name for name in NEEDED if not shutil.which(name)]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)}): apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    # A run that was killed leaves its own.
    if CONFIGURATION.exists() and "test_slurm.py" not in CONFIGURATION.read_text():
        return f"a Slurm is set up here already, {CONFIGURATION}"
    return None


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Slurm runs on this machine, and is gone afterwards."""
    if reason := reason_to_skip():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    text = (ROOT / "tests/slurm.conf").read_text()
    text = text.replace("HOST", socket.gethostname()).replace("FOLDER", str(folder))
    CONFIGURATION.write_text(text)
    place = Path("/run/munge")
    place.mkdir(exist_ok=True)
    shutil.chown(place, "munge", "munge")
    daemons = []
    try:
        for command in (
            ["runuser", "-u", "munge", "--", "munged", "--foreground"],
            ["slurmctld", "-D"],
            ["slurmd", "-D"],
        ):
            said = (folder / f"{len(daemons)}.txt").open("w")
            daemons.append(subprocess.Popen(command, stdout=said, stderr=said))
            time.sleep(1)
        wait_until_idle()
        yield
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait()
        CONFIGURATION.unlink()


def wait_until_idle() -> None:
    for _ in range(60):
        state = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True).stdout
        if state.strip() == "idle":
            return
        time.sleep(1)
    raise TimeoutError(f"expected an idle node, got {state!r}")


@pytest.mark.timeout(600)
def test_jobs_run_on_the_cluster(cluster, tmp_path):
    config = FEW | {"questions": 2, "batch_size": 2, "gpus": 0, "dtype": "float32"}
    given = arguments("slurm", "figure3", models=MODEL, **config, **folders(tmp_path))
    # This node has two cores and no accounting.
    here = ["--default-resources", "cpus_per_task=1", "--slurm-status-command", "squeue"]
    often = ["--seconds-between-status-checks", "5", "--latency-wait", "5"]
    often += ["--slurm-init-seconds-before-status-checks", "5"]
    run = snakemake(*given, *here, *often)
    words = run.communicate()[0]
    assert run.returncode == 0, words
    assert "SLURM jobid" in words
    measured = folders(tmp_path)["results"] / "measured"
    table = pd.read_parquet(measured_path(MODEL, "updates", measured))
    assert table["sample"].nunique() == 2
