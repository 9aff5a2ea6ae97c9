"""Tower and pretrained decoder become one model: adapters learn to read visual tokens.

The decoder's weights stay as published; small adapters on all its linear layers (LoRA, Hu et al.,
2022) learn the seven benchmarks' questions on scenes of training artists.  The tower is frozen, but
for one change in closed form: its output is made to say places (`place_words`).  On texts that the
decoder wrote itself its predictions are kept near those without adapters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from peft import LoraConfig, inject_adapter_in_model
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer, SmolVLMForConditionalGeneration
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string
from transformers.processing_utils import ProcessorMixin

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.families.smolvlm import VideolessSmolVLMProcessor
from lost_in_attention.models.joined import (
    SEEING,
    JoinedModel,
    fill_decoder,
    fill_tower,
    origin_of,
    read_weights,
    refused,
)
from lost_in_attention.models.smollm2 import smollm2
from lost_in_attention.pictures.drawings import load_drawings
from lost_in_attention.pictures.layouts import LAYOUTS
from lost_in_attention.pictures.scenes import IMAGE_SIZE, Scene
from lost_in_attention.runs.numbers import check_rate, check_seed, check_whole
from lost_in_attention.runs.paths import check_writable
from lost_in_attention.runs.provenance import weights_digest
from lost_in_attention.training.decoder import answer_logits
from lost_in_attention.training.loop import Phase, Rates, claim_folder, run_phase
from lost_in_attention.training.own_texts import drift, own_texts
from lost_in_attention.training.picture_tasks import conversation, looking, placing
from lost_in_attention.training.place_words import say_places
from lost_in_attention.training.tasks import Turn
from lost_in_attention.training.tower import vlm_config
from lost_in_attention.training.tower_scenes import TOKENS

NAME = "smollm2-pictures"
# Words that the decoder keeps for notebooks stand for images, so that its vocabulary stays.
IMAGE_WORDS = {
    "image_token": "<empty_output>",
    "fake_image_token": "<jupyter_output>",
    "global_image_token": "<jupyter_start>",
}
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<empty_output>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_SAVE_EVERY = 10
PHASES = ("joining", "practice", "placing", "review")
# The fields that hold their lengths.
_STEPS = ("steps", *PHASES[1:])
# Images on which places are read from the connector's output.
_PLACE_IMAGES = 400
# Texts of the decoder's own, and how many of them a step compares.
_TEXTS, _TEXT_TOKENS, _COMPARED = 64, 128, 2
# How adapters are scaled, alpha over rank.
SCALING = 2


Talk = Callable[[Scene, int, np.random.Generator], list[Turn]]


@dataclass(frozen=True)
class JoiningConfig:
    """What decides the adapters' weights; `random_decoder` is the seed of the control's.

    The first `looking` of `steps` ask for nothing but whether a thing is there; `practice` more are
    of all tasks.  Then visual tokens are made to say where they lie: `placing` steps ask for places
    and sizes alone, and `review` steps are of all tasks again.
    """

    seed: int = 0
    random_decoder: int | None = None
    steps: int = 200
    looking: int = 90
    practice: int = 240
    placing: int = 120
    review: int = 160
    batch: int = 8
    questions: int = 8
    rank: int = 16
    rate: float = 1e-3
    warmup: int = 10

    @property
    def name(self) -> str:
        """The model's folder; the control's says so."""
        return NAME if self.random_decoder is None else f"{NAME}-random-decoder"

    def __post_init__(self) -> None:
        for field in (*_STEPS, "batch", "questions", "rank", "warmup"):
            check_whole(field, getattr(self, field), least=1)
        check_seed("seed", self.seed)
        check_whole("looking", self.looking, least=0)
        if self.random_decoder is not None:
            check_seed("random_decoder", self.random_decoder)
        check_rate("rate", self.rate)


@dataclass(frozen=True)
class _Run:
    """What decides a run: its configuration and digests of the weights that it starts from."""

    config: JoiningConfig
    tower: str
    decoder: str


def assemble(decoder: str, tower: Path, *, seed: int | None = None) -> JoinedModel:
    """The decoder as published and a trained tower as one model of the class SmolVLM.

    `tower` is the state that `train_tower` keeps, a safetensors file.  With `seed` the decoder's
    weights are random, the control.

    Raises ValueError if `tower` is another file, or the decoder lacks weights.
    """
    processor = make_processor(decoder)
    config = vlm_config(decoder)
    config.image_token_id = processor.image_token_id
    config.tie_word_embeddings = True
    model = SmolVLMForConditionalGeneration(config)
    fill_decoder(model, decoder if seed is None else seed)
    with refused("tower: expected the weights of a tower"):
        state = read_weights(tower)
        fill_tower(model, {n: weight for n, weight in state.items() if n.startswith(SEEING)})
    model.tie_weights()
    origin = origin_of(model.get_decoder(), decoder, seed)
    return JoinedModel(model.eval(), processor, NAME, origin=origin)


def make_processor(decoder: str) -> ProcessorMixin:
    """Pictures of one tile; the decoder's tokenizer with a template that takes images."""
    tokenizer = AutoTokenizer.from_pretrained(decoder, extra_special_tokens=IMAGE_WORDS)
    images = SmolVLMImageProcessorPil(
        size={"longest_edge": IMAGE_SIZE},
        max_image_size={"longest_edge": IMAGE_SIZE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        do_image_splitting=False,
    )
    return VideolessSmolVLMProcessor(
        images, tokenizer, image_seq_len=TOKENS**2, chat_template=TEMPLATE
    )


def add_adapters(vlm: VisionLanguageModel, rank: int) -> list[nn.Parameter]:
    """Adapters on all linear layers of the decoder; everything else is frozen."""
    vlm.model.requires_grad_(False)
    config = LoraConfig(r=rank, lora_alpha=SCALING * rank, target_modules=_LINEAR)
    inject_adapter_in_model(config, vlm.decoder)
    return [p for name, p in vlm.decoder.named_parameters() if "lora_" in name]


def train_adapters(
    config: JoiningConfig, *, tower: Path, runs: Path, decoder: str | None = None
) -> JoinedModel:
    """Train the adapters, or go on with them, in the folder `runs`/<name>.

    Raises ValueError if that folder belongs to another configuration, tower or decoder or cannot
    be written, and what `smollm2` and `assemble` do.
    """
    folder = Path(runs) / config.name
    check_writable("runs", folder)
    torch.manual_seed(config.seed)
    vlm = assemble(smollm2(decoder), tower, seed=config.random_decoder)
    claim_folder(folder, _Run(config, _tower_digest(vlm), vlm.origin.weights))
    texts = own_texts(vlm, _TEXTS, _TEXT_TOKENS, seed=config.seed)
    parameters = add_adapters(vlm, config.rank)
    adapters = nn.ParameterDict({str(index): each for index, each in enumerate(parameters)})
    first = 0
    for name, field in zip(PHASES, _STEPS, strict=True):
        steps = getattr(config, field)
        if name == "placing":
            say_places(vlm, _place_images(config.seed))
        phase = Phase(
            name, steps, Rates(config.rate, config.rate), config.warmup, adapters, parameters,
            partial(_loss, vlm, config, texts, first), save_every=_SAVE_EVERY, muon=False,
        )  # fmt: skip
        run_phase(phase, folder)
        first += steps
    return vlm


def _place_images(seed: int) -> list[Image.Image]:
    rngs = (np.random.default_rng([seed, 4, index]) for index in range(_PLACE_IMAGES))
    return [_scene(rng).image for rng in rngs]


def _tower_digest(vlm: VisionLanguageModel) -> str:
    seeing = vlm.model.model
    return weights_digest(nn.ModuleList([seeing.vision_model, seeing.connector]))


def _loss(
    vlm: VisionLanguageModel,
    config: JoiningConfig,
    texts: Int[Tensor, "texts tokens"],
    first: int,
    step: int,
) -> tuple[Tensor, dict[str, float]]:
    """Of the phase that began at step `first` of the run."""
    step = first + step
    rng = np.random.default_rng([config.seed, 3, step])
    scenes = [_scene(rng) for _ in range(config.batch)]
    talk = _talk(config, step)
    turns = [talk(scene, config.questions, rng) for scene in scenes]
    logits, wanted = conversation_logits(vlm, scenes, turns)
    right = (logits.argmax(-1) == wanted).float().mean().item()
    moved = drift(vlm, texts[rng.choice(len(texts), _COMPARED, replace=False)])
    numbers = {"answer_tokens": right, "drift": moved.item()}
    return F.cross_entropy(logits, wanted) + moved, numbers


def _talk(config: JoiningConfig, step: int) -> Talk:
    """Few words where looking up and placing begin: the benchmarks' wording does not teach them."""
    if step < config.looking:
        return looking
    before = config.steps + config.practice
    return placing if before <= step < before + config.placing else conversation


def _scene(rng: np.random.Generator) -> Scene:
    """Half of the scenes are free, the others are of any layout."""
    layouts = list(LAYOUTS.values())
    layout = layouts[0] if rng.random() < 0.5 else layouts[rng.integers(len(layouts))]
    return layout(load_drawings("train"), rng).painted()


def conversation_logits(
    vlm: VisionLanguageModel, scenes: list[Scene], turns: list[list[Turn]]
) -> tuple[Float[Tensor, "learned vocabulary"], Int[Tensor, " learned"]]:
    """The logits before every token of an answer, and that token."""
    with torch.no_grad():
        features = vlm.encode_images([scene.image for scene in scenes])
    ids, learned = (
        pad_sequence(each, batch_first=True)
        for each in zip(*(encode(vlm, asked) for asked in turns), strict=True)
    )
    with torch.autocast(ids.device.type, torch.bfloat16):
        logits, wanted = answer_logits(vlm, ids, learned, features, TOKENS)
    return logits.float(), wanted


def encode(
    vlm: VisionLanguageModel, turns: list[Turn]
) -> tuple[Int[Tensor, " tokens"], Bool[Tensor, " tokens"]]:
    """A conversation on one image: token ids, and which of them are answers to be learned."""
    processor = vlm.processor
    image = get_image_prompt_string(
        0, 0, processor.image_seq_len, processor.fake_image_token, processor.image_token,
        processor.global_image_token,
    )  # fmt: skip
    ids: list[int] = []
    marks: list[bool] = []
    for number, turn in enumerate(turns):
        seen = "" if number else image
        start = "\n" if number else ""
        asked = f"{start}<|im_start|>user\n{seen}{turn.question}<|im_end|>\n<|im_start|>assistant\n"
        for text, is_answer in ((asked, False), (f"{turn.answer}<|im_end|>", True)):
            found = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
            ids += found
            marks += [is_answer] * len(found)
    return torch.tensor(ids), torch.tensor(marks)
