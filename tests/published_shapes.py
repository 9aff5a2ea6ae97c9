"""The four families with the published image sizes, patches, tiles and chat templates.

Everything that decides which pixels a token stands for, and how a prompt is written, is that of
the published models; layers are few and narrow, and their weights random.
"""

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
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    SiglipVisionConfig,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava_next.image_processing_pil_llava_next import (
    LlavaNextImageProcessorPil,
)
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import (
    LlavaOnevisionImageProcessorPil,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from lost_in_attention.digits import COLOURS, DIGIT_NAMES
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.families.llava_onevision import VideolessLlavaOnevisionProcessor
from lost_in_attention.models.families.qwen2_5_vl import VideolessQwen2_5_VLProcessor
from lost_in_attention.training.tokenizer import train_tokenizer

NEXT_PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
ONEVISION_PINPOINTS = [[384 * high, 384 * wide] for high in range(1, 7) for wide in range(1, 7)]

_IMAGES = "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}"
_TEXTS = "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}"
TEMPLATES = {
    "llava": (
        "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
        + _IMAGES + "{{ '<image>\\n' }}{% endfor %}"
        + _TEXTS + "{{ part['text'] + ' ' }}{% endfor %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    ),
    "llava-next": (
        "{% for message in messages %}{{ '[INST] ' }}"
        + _IMAGES + "{{ '<image>\\n' }}{% endfor %}"
        + _TEXTS + "{{ part['text'] }}{% endfor %}{{ ' [/INST]' }}{% endfor %}"
    ),
    "llava-onevision": (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
        + _IMAGES + "{{ '<image>' }}{% endfor %}"
        + _TEXTS + "{{ '\\n' + part['text'] }}{% endfor %}{{ '<|im_end|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "qwen2.5-vl": (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{% for part in message['content'] %}{% if part['type'] == 'image' %}"
        "<|vision_start|><|image_pad|><|vision_end|>"
        "{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
}  # fmt: skip


def published(family: str) -> VisionLanguageModel:
    """A stand-in for the published model of a family."""
    tokenizer = train_tokenizer([f" {word}" for word in ("look", *DIGIT_NAMES, *COLOURS)] * 5)
    tokenizer.chat_template = TEMPLATES[family]
    if family != "qwen2.5-vl":
        tokenizer.add_special_tokens({"image_token": "<image>"})
    torch.manual_seed(0)
    build = {
        "llava": _llava,
        "llava-next": _llava_next,
        "llava-onevision": _onevision,
        "qwen2.5-vl": _qwen,
    }[family]
    model, processor = build(tokenizer)
    return VisionLanguageModel(model.eval(), processor, family)


def _text(tokenizer) -> dict:
    return {
        "vocab_size": len(tokenizer), "hidden_size": 16, "intermediate_size": 16,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1,
        "pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip


def _tower(side: int) -> dict:
    return {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 1, "image_size": side, "patch_size": 14,
    }  # fmt: skip


def _clip(tokenizer) -> dict:
    return {
        "vision_config": CLIPVisionConfig(**_tower(336)),
        "text_config": LlamaConfig(**_text(tokenizer), max_position_embeddings=4096),
        "image_token_id": tokenizer.image_token_id,
        "image_seq_length": 576,
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }


def _counting(tokenizer) -> dict:
    """What LLaVA's processors need to count tokens."""
    return {
        "patch_size": 14,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
        "chat_template": tokenizer.chat_template,
    }


def _llava(tokenizer):
    images = CLIPImageProcessorPil(
        size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}
    )
    model = LlavaForConditionalGeneration(LlavaConfig(**_clip(tokenizer)))
    return model, LlavaProcessor(images, tokenizer, **_counting(tokenizer))


def _llava_next(tokenizer):
    images = LlavaNextImageProcessorPil(
        size={"shortest_edge": 336},
        crop_size={"height": 336, "width": 336},
        image_grid_pinpoints=NEXT_PINPOINTS,
    )
    config = LlavaNextConfig(**_clip(tokenizer), image_grid_pinpoints=NEXT_PINPOINTS)
    return LlavaNextForConditionalGeneration(config), LlavaNextProcessor(
        images, tokenizer, **_counting(tokenizer)
    )


def _onevision(tokenizer):
    images = LlavaOnevisionImageProcessorPil(
        size={"height": 384, "width": 384}, image_grid_pinpoints=ONEVISION_PINPOINTS,
        image_mean=[0.5] * 3, image_std=[0.5] * 3,
    )  # fmt: skip
    config = LlavaOnevisionConfig(
        vision_config=SiglipVisionConfig(**_tower(384), vision_use_head=False),
        text_config={"model_type": "qwen2"} | _text(tokenizer),
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        image_grid_pinpoints=ONEVISION_PINPOINTS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9",
    )
    return LlavaOnevisionForConditionalGeneration(config), VideolessLlavaOnevisionProcessor(
        images, tokenizer, num_image_tokens=729, vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_9", chat_template=tokenizer.chat_template,
    )  # fmt: skip


def _qwen(tokenizer):
    ids = tokenizer.convert_tokens_to_ids
    images = Qwen2VLImageProcessorPil(
        patch_size=14, merge_size=2, temporal_patch_size=2,
        size={"shortest_edge": 56 * 56, "longest_edge": 12845056},
    )  # fmt: skip
    config = Qwen2_5_VLConfig(
        text_config=_text(tokenizer)
        | {"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]}},
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 1,
            "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
            "window_size": 112, "fullatt_block_indexes": [0], "out_hidden_size": 16,
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(config), VideolessQwen2_5_VLProcessor(
        images, tokenizer, chat_template=tokenizer.chat_template
    )
