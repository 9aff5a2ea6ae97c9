"""The small models' shapes: the four stock classes with tiny configurations.

All have 8 decoder layers of width 128, see a scene as 8 x 8 visual tokens of 12 pixels and
share one tokenizer and chat template.  The two tiled families see it twice: whole, and again
as tiles with a newline token at the end of each row.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaNextProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaProcessor,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Config,
    SiglipVisionConfig,
)
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from lost_in_attention.digits import IMAGE_SIZE
from lost_in_attention.models.families.llava_onevision import VideolessLlavaOnevisionProcessor
from lost_in_attention.models.families.qwen2_5_vl import VideolessQwen2_5_VLProcessor

GRID = 8
PATCH = IMAGE_SIZE // GRID
VISUAL_TOKENS = GRID * GRID
MERGE = 2
HIDDEN = 128
# One tile beside another, and under it, as LLaVA-NeXT cuts pictures that are not square.
NEXT_TILES = [[IMAGE_SIZE, 2 * IMAGE_SIZE], [2 * IMAGE_SIZE, IMAGE_SIZE]]
ONEVISION_TILES = [[IMAGE_SIZE, IMAGE_SIZE], *NEXT_TILES, [2 * IMAGE_SIZE, 2 * IMAGE_SIZE]]

Tokenizer = PreTrainedTokenizerFast


@dataclass(frozen=True)
class Architecture:
    """A family: its class, its configuration and its processor for a given tokenizer."""

    model: type[PreTrainedModel]
    config: Callable[[Tokenizer], PreTrainedConfig]
    processor: Callable[[Tokenizer], ProcessorMixin]

    def build(self, tokenizer: Tokenizer, *, seed: int) -> tuple[PreTrainedModel, ProcessorMixin]:
        """A freshly initialised model and its processor."""
        torch.manual_seed(seed)
        return self.model(self.config(tokenizer)), self.processor(tokenizer)


def _decoder(tokenizer: Tokenizer) -> dict:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 3 * HIDDEN,
        "num_hidden_layers": 8,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        # The usual 0.02 suits widths of thousands; here it would let the embeddings that
        # the vision tower was aligned with be overwritten in the decoder's first steps.
        "initializer_range": HIDDEN**-0.5,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _tower(depth: int) -> dict:
    return {
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": depth,
        "num_attention_heads": 4,
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH,
        "initializer_range": HIDDEN**-0.5,
    }


def _qwen(tokenizer: Tokenizer) -> Qwen2_5_VLConfig:
    ids = tokenizer.convert_tokens_to_ids
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]}
    return Qwen2_5_VLConfig(
        text_config=_decoder(tokenizer) | {"rope_parameters": rope},
        vision_config={
            "depth": 4,
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_heads": 4,
            "patch_size": PATCH // MERGE,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "window_size": 4 * PATCH,
            "fullatt_block_indexes": [1, 3],
            "out_hidden_size": HIDDEN,
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def _qwen_processor(tokenizer: Tokenizer) -> ProcessorMixin:
    """At the scenes' own resolution."""
    size = {"shortest_edge": IMAGE_SIZE**2, "longest_edge": IMAGE_SIZE**2}
    image_processor = Qwen2VLImageProcessorPil(
        patch_size=PATCH // MERGE, merge_size=MERGE, temporal_patch_size=2, size=size
    )
    return VideolessQwen2_5_VLProcessor(
        image_processor, tokenizer, chat_template=tokenizer.chat_template
    )


def _llava(tokenizer: Tokenizer) -> LlavaConfig:
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**_tower(depth=5)),
        text_config=LlamaConfig(**_decoder(tokenizer)),
        image_token_id=tokenizer.image_token_id,
        image_seq_length=VISUAL_TOKENS,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )


def _llava_processor(tokenizer: Tokenizer) -> ProcessorMixin:
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    return LlavaProcessor(
        LlavaImageProcessorPil(size={"shortest_edge": IMAGE_SIZE}, crop_size=size),
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )


def _llava_next(tokenizer: Tokenizer) -> LlavaNextConfig:
    return LlavaNextConfig(
        vision_config=CLIPVisionConfig(**_tower(depth=5)),
        text_config=MistralConfig(**_decoder(tokenizer) | {"sliding_window": None}),
        image_token_id=tokenizer.image_token_id,
        image_grid_pinpoints=NEXT_TILES,
        image_seq_length=VISUAL_TOKENS,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
    )


def _llava_next_processor(tokenizer: Tokenizer) -> ProcessorMixin:
    image_processor = LlavaNextImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_grid_pinpoints=NEXT_TILES,
    )
    return LlavaNextProcessor(
        image_processor,
        tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )


def _onevision(tokenizer: Tokenizer) -> LlavaOnevisionConfig:
    return LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**_tower(depth=4), vision_use_head=False),
        text_config=Qwen2Config(**_decoder(tokenizer)),
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        image_grid_pinpoints=ONEVISION_TILES,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
        tie_word_embeddings=True,
    )


def _onevision_processor(tokenizer: Tokenizer) -> ProcessorMixin:
    image_processor = LlavaOnevisionImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, image_grid_pinpoints=ONEVISION_TILES
    )
    return VideolessLlavaOnevisionProcessor(
        image_processor,
        tokenizer,
        num_image_tokens=VISUAL_TOKENS,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
        chat_template=tokenizer.chat_template,
    )


ARCHITECTURES = {
    "qwen2.5-vl": Architecture(Qwen2_5_VLForConditionalGeneration, _qwen, _qwen_processor),
    "llava": Architecture(LlavaForConditionalGeneration, _llava, _llava_processor),
    "llava-next": Architecture(
        LlavaNextForConditionalGeneration, _llava_next, _llava_next_processor
    ),
    "llava-onevision": Architecture(
        LlavaOnevisionForConditionalGeneration, _onevision, _onevision_processor
    ),
}
