"""A small decoder of the pretrained one's class, with a word for every noun."""

import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from lost_in_attention.pictures import groups

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
RESERVED = ["<empty_output>", "<jupyter_output>", "<jupyter_start>"]


def save_small_decoder(folder: Path) -> None:
    """One layer of 32 features, saved with its tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    words = [f" {word}" for noun in (*groups(), "nothing") for word in noun.split()]
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        special_tokens=[*SPECIAL, *RESERVED],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(words * 3, trainer)
    special = dict(zip(("pad_token", "bos_token", "eos_token"), SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=64,
        num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)


def copy_without(folder: str | Path, copy: Path, name: str) -> None:
    """A copy of a decoder's folder that lacks one of its weights."""
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    del weights[name]
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
