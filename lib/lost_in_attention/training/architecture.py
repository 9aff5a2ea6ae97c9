"""The small models' shapes: stock transformers classes with tiny configurations."""

import torch
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

from lost_in_attention.digits import IMAGE_SIZE
from lost_in_attention.models.processors import VideolessQwen2_5_VLProcessor

PATCH = 6
MERGE = 2


def small_qwen(
    tokenizer: PreTrainedTokenizerFast, *, seed: int
) -> Qwen2_5_VLForConditionalGeneration:
    """A Qwen2.5-VL of 2.2 M parameters: 8 decoder layers of width 128, 8 x 8 visual tokens."""
    ids = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 128,
            "intermediate_size": 384,
            "num_hidden_layers": 8,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 1024,
            # The usual 0.02 suits widths of thousands; here it would let the embeddings that
            # the vision tower was aligned with be overwritten in the decoder's first steps.
            "initializer_range": 128**-0.5,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [4, 6, 6],
            },
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
        },
        vision_config={
            "depth": 4,
            "hidden_size": 96,
            "intermediate_size": 256,
            "num_heads": 4,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 2,
            "window_size": 4 * PATCH * MERGE,
            "fullatt_block_indexes": [1, 3],
            "out_hidden_size": 128,
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    return Qwen2_5_VLForConditionalGeneration(config)


def small_qwen_processor(tokenizer: PreTrainedTokenizerFast) -> ProcessorMixin:
    """The stock processor at the scenes' own resolution."""
    image_processor = Qwen2VLImageProcessorPil(
        patch_size=PATCH,
        merge_size=MERGE,
        temporal_patch_size=2,
        size={"shortest_edge": IMAGE_SIZE**2, "longest_edge": IMAGE_SIZE**2},
    )
    return VideolessQwen2_5_VLProcessor(
        image_processor, tokenizer, chat_template=tokenizer.chat_template
    )
