"""How a reply is asked for and made: named prompts and decodings, and the replies to one batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from lost_in_attention.benchmarks import Sample, Samples
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.changed import check_named
from lost_in_attention.models.registry import registered
from lost_in_attention.sap.images import again, encoded


@dataclass(frozen=True)
class Decoding:
    """`greedy`: always the likeliest token; otherwise as the model's own generation settings say.

    `max_new_tokens` ends a reply that has not ended by itself.
    """

    name: str
    max_new_tokens: int
    greedy: bool

    def arguments(self) -> dict[str, Any]:
        """What `generate` is called with."""
        if not self.greedy:
            return {"max_new_tokens": self.max_new_tokens}
        # Published models ship sampling settings and penalties; greedy means none of them.
        unused = {"temperature": None, "top_p": None, "top_k": None, "repetition_penalty": 1.0}
        return {"max_new_tokens": self.max_new_tokens, "do_sample": False, "num_beams": 1} | unused


GREEDY = Decoding("greedy", max_new_tokens=64, greedy=True)
# Appendix C.2: 1,024 new tokens, everything else the model's default (some models sample).
# The paper also asks for attention maps, which do not change the replies.
PAPER = Decoding("paper", max_new_tokens=1024, greedy=False)
DECODINGS = {decoding.name: decoding for decoding in (GREEDY, PAPER)}

# Appendix C.2, word for word: for MM-Eureka, Orsta and Ocean-R1 it is appended to the question.
REASONING = (
    "You FIRST think about the reasoning process as an internal monologue and then provide the "
    "final answer. The reasoning process MUST BE enclosed within <think> </think> tags. The final "
    "answer MUST BE in <answer> </answer> tags."
)
PROMPTS = {"plain": "", "reasoning": f"\n{REASONING}"}
# In the place of a name: what a model's category in the registry is asked with.
OWN = "own"


def prompt_for(model: str, name: str = OWN) -> str:
    """The name of a model's prompt: `name`, or for OWN that of its category.

    A registered reasoning model has the trigger of Appendix C.2, every other the question alone.

    Raises ValueError on an unknown name.
    """
    return _own("prompt", name, PROMPTS, "reasoning" if _reasons(model) else "plain")


def decoding_for(model: str, name: str = OWN) -> str:
    """The name of a model's decoding: `name`, or for OWN that of its category.

    A registered reasoning model has the 1,024 tokens of Appendix C.2, of which its thoughts take
    most, every other model the greedy decoding.

    Raises ValueError on an unknown name.
    """
    return _own("decoding", name, DECODINGS, "paper" if _reasons(model) else "greedy")


def _own(argument: str, name: str, known: Mapping[str, Any], own: str) -> str:
    if name not in (OWN, *known):
        raise ValueError(f"{argument}: expected one of {[OWN, *known]}, got {name!r}")
    return own if name == OWN else name


def _reasons(model: str) -> bool:
    known = registered(getattr(model, "source", model))
    return known is not None and known.category == "reasoning"


def prompted(samples: Samples, prompt: str) -> Samples:
    """The same questions, with what `prompt` (a name in `PROMPTS`) says behind each.

    Raises ValueError on an unknown name.
    """
    if prompt not in PROMPTS:
        raise ValueError(f"prompt: expected one of {list(PROMPTS)}, got {prompt!r}")

    def build(row: dict, index: int) -> Sample:
        sample = samples.build(row, index)
        return replace(sample, prompt=sample.prompt + PROMPTS[prompt])

    return replace(samples, build=build)


def batch_seed(seed: int, number: int) -> int:
    """The seed of one batch, the same whichever process answers it and whenever."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])


class Reply(NamedTuple):
    """What the model said, and whether it came to an end by itself or was cut."""

    text: str
    finished: bool


def replies(
    vlm: VisionLanguageModel, samples: Sequence[Sample], decoding: Decoding, *, seed: int
) -> list[Reply]:
    """The model's reply to each sample, in one batch; `seed` decides where it samples.

    The random state of the caller is left as it was.
    """
    inputs = encoded(vlm, vlm.prepare([s.images for s in samples], [s.prompt for s in samples]))
    return replies_to(vlm, inputs, decoding, seed=seed)


@torch.inference_mode()
def replies_to(
    vlm: VisionLanguageModel, inputs: Mapping[str, Any], decoding: Decoding, *, seed: int
) -> list[Reply]:
    """As `replies`, to inputs whose images `sap.images.encoded` has encoded.

    Raises ValueError if the model is changed and `vlm` does not name it so (`check_named`).
    """
    check_named(vlm)
    vlm.check_context(inputs, decoding.max_new_tokens)
    with torch.random.fork_rng([place for place in vlm.devices if place.type == "cuda"]):
        torch.manual_seed(seed)
        output = vlm.model.generate(**again(inputs), **decoding.arguments())
    new = output[:, inputs["input_ids"].shape[1] :]
    texts = vlm.processor.batch_decode(new, skip_special_tokens=True)
    ended = torch.isin(new, _end_tokens(vlm).to(new)).any(1).tolist()
    return [Reply(text.strip(), end) for text, end in zip(texts, ended, strict=True)]


def _end_tokens(vlm: VisionLanguageModel) -> Int[Tensor, " ends"]:
    """The tokens that end a reply: published models may have several, or none."""
    ends = vlm.model.generation_config.eos_token_id
    return torch.tensor([] if ends is None else ends).flatten()
