"""A byte-level BPE tokenizer trained on the conversations, with a chat template.

Roles and contents are parted by a space, so that an answer's first word is the same
token as inside a sentence (" yes", " red").  The template marks the assistant's words
with `{% generation %}`, from which the training loss takes its mask.
"""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lost_in_attention.digits import COLOURS, DIGIT_NAMES

SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip
VOCABULARY_SIZE = 640

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }} "
    "{% if message.role == 'assistant' %}"
    "{% generation %}{{ message.content if message.content is string "
    "else message.content | map(attribute='text') | join }}<|im_end|>{% endgeneration %}"
    "{% else %}"
    "{% if message.content is string %}{{ message.content }}"
    "{% else %}{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|> "
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
)


def train_tokenizer(corpus: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train on `corpus`; padding side left, as batched generation needs.

    Raises ValueError if a digit's or a colour's name is not a single token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        extra_special_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    )
    for word in (*DIGIT_NAMES, *COLOURS):
        word_token(fast, word)
    return fast


def word_token(tokenizer: PreTrainedTokenizerFast, word: str) -> int:
    """The id of `word` as it stands inside a sentence (with its space before it)."""
    ids = tokenizer.encode(f" {word}", add_special_tokens=False)
    if len(ids) != 1:
        raise ValueError(f"word: expected {word!r} to be one token, got {len(ids)}: {ids}")
    return ids[0]
