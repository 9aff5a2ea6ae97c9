"""How models are loaded: on several devices, quantised, and said the same way by all commands."""

from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
from accelerate import dispatch_model

from lost_in_attention.__main__ import app
from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.evaluation.grid import presets
from lost_in_attention.evaluation.grid_run import GridRun
from lost_in_attention.evaluation.measure_run import MeasureRun
from lost_in_attention.evaluation.measured import Subject
from lost_in_attention.evaluation.sink_store import SinkRun
from lost_in_attention.evaluation.under_plans import answer_under
from lost_in_attention.models import fitting_batch, load, loading, memory, quantization, release
from lost_in_attention.models.devices import usable_devices
from lost_in_attention.models.load import ATTENTIONS
from lost_in_attention.models.loading import Loading
from lost_in_attention.models.memory import cache_bytes, check_weights_fit, weight_bytes
from lost_in_attention.models.quantization import bitsandbytes_config, check_quantization
from lost_in_attention.models.settings import identity_of
from lost_in_attention.residual.baselines import noise_qkv
from lost_in_attention.trace.trace_run import TraceRun

MODEL = "small-llava"
# The package gives the name of the module to its function.
LOAD = import_module("lost_in_attention.models.load")
GPUS = (torch.device("cuda", 0), torch.device("cuda", 1))


@pytest.fixture
def vlm():
    return load(MODEL)


@pytest.fixture
def anything_goes(monkeypatch):
    """As on a machine that has GPUs and bitsandbytes."""
    monkeypatch.setattr(loading, "usable_devices", lambda _: GPUS)
    monkeypatch.setattr(loading, "check_how", lambda *_: None)


# --- Several devices


def test_auto_means_all_gpus_and_needs_one(monkeypatch):
    with pytest.raises(ValueError, match="device: expected a GPU for 'auto', got a machine witho"):
        usable_devices("auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert usable_devices("auto") == GPUS
    assert usable_devices("cpu") == (torch.device("cpu"),)


def test_weights_that_find_no_room_on_gpus_are_not_left_elsewhere(monkeypatch):
    """transformers would place them in the processor's memory or on disk and go on."""
    monkeypatch.setattr(LOAD, "usable_devices", lambda _: GPUS)
    monkeypatch.setattr(memory, "free_bytes", lambda place: 2**40)
    with pytest.raises(ValueError, match="name: expected the GPUs to hold all of 'small-llava', "):
        load(MODEL, device="auto")


def test_a_model_in_parts_stays_in_one_place(monkeypatch):
    monkeypatch.setattr(LOAD, "usable_devices", lambda _: (torch.device("cpu"),) * 2)
    monkeypatch.setattr(LOAD, "in_parts", lambda _: True)
    with pytest.raises(ValueError, match="device, quantization: expected one device and whole"):
        load(MODEL, device="auto")


def test_gpus_hold_together_what_one_of_them_cannot(vlm, monkeypatch):
    config, needed = vlm.model.config, weight_bytes(vlm.model.config, torch.float32)
    free = {GPUS[0]: needed - 1, GPUS[1]: 1}
    monkeypatch.setattr(memory, "free_bytes", lambda place: free.get(place, 2 * needed))
    check_weights_fit(MODEL, config, torch.float32, GPUS)
    with pytest.raises(ValueError, match="GiB free on cuda:0"):
        check_weights_fit(MODEL, config, torch.float32, GPUS[:1])
    free[GPUS[1]] = 0
    with pytest.raises(ValueError, match="GiB free on cuda:0, cuda:1"):
        check_weights_fit(MODEL, config, torch.float32, GPUS)


def test_a_batch_fits_where_the_fullest_device_has_room_for_its_layers(vlm, monkeypatch):
    count = len(vlm.layers)
    token = cache_bytes(vlm.model.config, torch.float32)
    vlm.layers[count - 1].to("meta")
    # Room for 10 prompts' keys of all layers but one, and for 3 of that one.
    there = {"cpu": 2 * 10 * 100 * token * (count - 1) / count, "meta": 2 * 3 * 100 * token / count}
    monkeypatch.setattr(memory, "free_bytes", lambda place: there[place.type])
    assert fitting_batch(vlm, 90, 10) == 3
    there["meta"] = 0
    with pytest.raises(ValueError, match="that are free on meta"):
        fitting_batch(vlm, 90, 10)


def test_under_hooks_of_accelerate_answers_stay_and_so_do_the_hooks(vlm):
    samples = list(load_benchmark("pope").draw(2, seed=0))
    variants = presets("llava", depth=len(vlm.layers), noise_seeds=1)[:4]
    how = {"benchmark": "pope", "variants": variants}
    plain = answer_under(vlm, samples, **how)
    dispatch_model(vlm.model, {"": "cpu"}, force_hooks=True, skip_keys="past_key_values")
    before = [vars(layer)["forward"] for layer in vlm.layers]
    assert answer_under(vlm, samples, **how).equals(plain)
    assert [vars(layer).get("forward") for layer in vlm.layers] == before
    release(vlm)
    assert vlm.device.type == "meta" and not hasattr(vlm.layers[0], "_hf_hook")


# --- Quantised weights


@pytest.mark.parametrize(
    ("asked", "dtype", "places", "installed", "message"),
    [
        ("3bit", torch.bfloat16, GPUS, True, "quantization: expected one of .*'4bit'.*, got '3b"),
        ("4bit", torch.float32, GPUS, True, "dtype: expected bfloat16 or float16 .* got float32"),
        (
            "8bit",
            torch.float16,
            (torch.device("cpu"),),
            True,
            "device: expected a GPU .* got 'cpu'",
        ),
        ("8bit", torch.bfloat16, GPUS, False, "quantization: expected bitsandbytes .* got none"),
    ],
)
def test_what_cannot_be_quantised_is_refused(asked, dtype, places, installed, message, monkeypatch):
    monkeypatch.setattr(quantization, "is_bitsandbytes_available", lambda: installed)
    with pytest.raises(ValueError, match=message):
        check_quantization(asked, dtype, places)
    check_quantization(None, dtype, places)


def test_bits_are_those_that_were_asked_for():
    four, eight = (bitsandbytes_config(each, torch.bfloat16) for each in ("4bit", "8bit"))
    assert four.load_in_4bit and four.bnb_4bit_compute_dtype is torch.bfloat16
    assert eight.load_in_8bit and not eight.load_in_4bit


def test_quantised_weights_take_fewer_bytes_but_for_embeddings(vlm):
    config = vlm.model.config
    full, eight, four = (
        weight_bytes(config, torch.bfloat16, each) for each in (None, "8bit", "4bit")
    )
    layers = sum(
        each.weight.numel()
        for name, each in vlm.model.named_modules()
        if isinstance(each, torch.nn.Linear) and name != "lm_head"
    )
    assert (full - eight, full - four) == (layers, int(1.5 * layers))
    assert four > sum(each.numel() for each in vlm.model.get_input_embeddings().parameters()) * 2


def test_noise_in_the_place_of_codes_is_refused(vlm, anything_goes):
    weight = vlm.layers[1].self_attn.k_proj.weight
    codes = torch.nn.Parameter(weight.detach().to(torch.int8), requires_grad=False)
    vlm.layers[1].self_attn.k_proj.weight = codes
    with (
        pytest.raises(ValueError, match=r"vlm: .* got torch.int8, quantised ones"),
        noise_qkv(vlm, seed=0),
    ):
        pass
    for asked in ("all", "updates,averaging"):
        with pytest.raises(ValueError, match="measurements: expected none of .*'averaging'"):
            MeasureRun(MODEL, asked, quantization="4bit", dtype="bfloat16")
    MeasureRun(MODEL, "updates,tolerance", quantization="4bit", dtype="bfloat16")


def test_a_quantised_model_is_another_one(vlm):
    plain = identity_of(vlm)
    facts = {"dtype": "float32", "files": Subject(MODEL).facts()["files"], "identity": plain}
    assert "quantization" not in plain
    vlm.model.is_loaded_in_4bit = True
    assert identity_of(vlm) == plain | {"quantization": "4bit"}
    same, other = Subject(MODEL), Subject(MODEL, attention="eager")
    assert same.is_that_of(facts) and not same.loaded
    assert not other.is_that_of(facts) and other.loaded
    four = Subject(MODEL, quantization="4bit")
    four.vlm = vlm
    assert not four.is_that_of(facts)


# --- One way to say it


def test_options_are_those_that_were_said(anything_goes):
    asked = TraceRun(MODEL, cases=3, device="auto", quantization="8bit", dtype="float16")
    assert next(iter(asked.options)) == "model"
    assert list(asked.options.items())[-3:] == [
        ("dtype", "float16"), ("device", "auto"), ("quantization", "8bit"),
    ]  # fmt: skip
    assert "revision" not in asked.options and "attention" not in asked.options


def test_several_processes_cannot_each_have_all_gpus(anything_goes, monkeypatch):
    asked = Loading(device="auto")
    assert asked.arguments()["device"] == "auto"
    several = SimpleNamespace(num_processes=2, device=torch.device("cpu"))
    monkeypatch.setattr(loading, "PartialState", lambda cpu: several)
    with pytest.raises(ValueError, match="device: expected one process for 'auto', got 2"):
        asked.arguments()
    assert Loading().arguments()["device"] == torch.device("cpu")


@pytest.mark.parametrize("command", ["evaluate", "sap", "trace", "measure", "sinks"])
def test_every_command_that_loads_a_model_takes_all_of_them(command):
    import typer

    [own] = [each for name, each in typer.main.get_command(app).commands.items() if name == command]
    told = {parameter.name for parameter in own.params}
    assert {"model", "dtype", "device", "quantization", "revision", "attention"} <= told


def test_a_run_goes_on_only_as_it_began(tmp_path):
    folders = {"runs": tmp_path / "runs", "output": tmp_path / "out"}
    first, other = (
        MeasureRun(MODEL, "tolerance", questions=1, attention=each) for each in ATTENTIONS
    )
    first.run(**folders)
    with pytest.raises(ValueError, match="attention 'sdpa' there, 'eager' now"):
        other.run(**folders)


def test_what_a_run_cannot_do_otherwise_is_refused(anything_goes):
    with pytest.raises(ValueError, match="attention: expected 'sdpa', in whose place plans stand"):
        GridRun(MODEL, attention="eager")
    for name, value in {"dtype": "bfloat16", "revision": "main", "attention": "eager"}.items():
        with pytest.raises(ValueError, match=f"{name}: expected .* for smollm2, got '{value}'"):
            SinkRun("smollm2", 2, **{name: value})
    with pytest.raises(ValueError, match="device: expected one for smollm2, got 'auto'"):
        SinkRun("smollm2", 2, device="auto")
