"""What measurements of speed share: a fresh process, a decoder of random weights, a report."""

import json
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import torch
from rich.console import Console
from transformers import (
    BatchFeature,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2Config,
)

from lost_in_attention.benchmarks import Sample
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.provenance import versions

SEED = 0
# Qwen2.5-7B's proportions.
HEAD, GROUP, EXPANSION = 128, 7, 18944 / 3584
PATCH = 8


class RandomDecoder(VisionLanguageModel):
    """A model of random weights whose every prompt is a number of random, visual tokens."""

    def prepare(self, images, prompts) -> BatchFeature:
        shape = (len(prompts), int(prompts[0]))
        ids = torch.randint(10, 1000, shape, generator=torch.Generator().manual_seed(SEED))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        return BatchFeature(inputs).to(self.device)

    def visual_mask(self, inputs: BatchFeature) -> torch.Tensor:
        return inputs["attention_mask"].bool()


def proportioned(layers: int, features: int) -> Qwen2Config:
    """A decoder like Qwen2.5-7B's in all but depth, width and vocabulary."""
    heads = features // HEAD
    return Qwen2Config(
        vocab_size=1000, hidden_size=features, num_hidden_layers=layers,
        intermediate_size=round(EXPANSION * features), num_attention_heads=heads,
        num_key_value_heads=max(1, heads // GROUP),
    )  # fmt: skip


def random_decoder(text: Qwen2Config, where: str = "cpu", *, side: int = 2) -> RandomDecoder:
    """A decoder of that shape behind a tiny tower of side x side patches; bfloat16 on a GPU."""
    tower = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=1,
        image_size=side * PATCH, patch_size=PATCH,
    )  # fmt: skip
    config = LlavaConfig(vision_config=tower, text_config=text, image_token_id=5)
    torch.manual_seed(SEED)
    with torch.device(where):
        model = LlavaForConditionalGeneration(config)
    dtype = torch.bfloat16 if where == "cuda" else torch.float32
    name = f"random {text.num_hidden_layers}x{text.hidden_size}"
    pixels = SimpleNamespace(image_processor=SimpleNamespace(do_normalize=False))
    return RandomDecoder(model.to(dtype).eval(), pixels, name)


def random_words(tokens: int) -> Sample:
    """A question to a `RandomDecoder`, of so many tokens."""
    return Sample(f"random-{tokens}", (), "", str(tokens), "", "", "random")


def printed_apart(call: str, **environment: str) -> str:
    """What a Python statement prints in a fresh process that starts among the benchmarks."""
    finished = subprocess.run(
        [sys.executable, "-c", call], cwd=Path(__file__).parent,
        env=os.environ | environment, capture_output=True, text=True,
    )  # fmt: skip
    if finished.returncode:
        raise RuntimeError(f"{call} failed:\n{finished.stderr}")
    return finished.stdout


def show(rows: list[dict]) -> None:
    """Print rows as a table."""
    table = pd.DataFrame(rows).to_string(index=False, float_format="{:.3g}".format)
    Console(width=160).print(table)


def store(output: Path, *, device: str, **figures: Any) -> None:
    """Write figures as JSON, with the command, the versions and the machine they come from."""
    script = f"speed/{Path(sys.argv[0]).name}"
    report = {
        "command": shlex.join(["python", script, *sys.argv[1:]]),
        "versions": versions(),
        "seed": SEED,
        "device": device,
        "processors": os.cpu_count(),
        "processor": processor_name(),
        "load_average": os.getloadavg(),
        **figures,
    }
    with replaced_when_complete(output) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")


def processor_name() -> str:
    """The processor's name where Linux gives it, else its architecture."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
