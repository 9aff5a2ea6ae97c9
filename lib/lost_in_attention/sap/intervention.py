"""The intervention on a stock model: attention of chosen layers goes through the plan.

Hooks see the prompts with their images, an attention function registered with transformers does the
rest.  Vision tower, other layers and other heads compute what they always did.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.attention_functions import DECODER, register, running_on
from lost_in_attention.models.changed import changing
from lost_in_attention.models.text_decoder import TextDecoder
from lost_in_attention.models.tower_attention import check_recordable
from lost_in_attention.sap.plan import SharedAttentionPrior
from lost_in_attention.sap.replacement import Replacement

_NAME = "shared_attention_prior"
register(_NAME)


@contextmanager
def shared_attention_prior(
    vlm: VisionLanguageModel, plan: SharedAttentionPrior
) -> Iterator[VisionLanguageModel]:
    """Within the block the model runs under `plan`; yields it under a name that says so.

    Images are seen where they are encoded: in a plain pass within the block, or by `images.encoded`
    before it, which `generate` needs.  Greedy, sampled and beam generation, with or without
    cache, in batches padded on the left.  A prompt without images is answered as ever: bit by bit
    in a batch of its kind, to rounding beside prompts with images.  With `blend` 0 everything is
    done but the replacement.

    Raises:
        ValueError: at once if the model has no such layers or heads, sees no images, has a sliding
            window, or does not run on SDPA; before the decoder runs if nothing is known of a
            prompt's images.
    """
    check_fits(vlm, plan)
    with replacing(vlm, Replacement(vlm, plan)) as changed:
        yield changed


@contextmanager
def replacing(vlm: VisionLanguageModel, replacement: Replacement) -> Iterator[VisionLanguageModel]:
    """Within the block `replacement` is asked for the attention of its plan's layers."""
    plan, inner = replacement.plan, vlm.model.model
    first, last = plan.layers
    with ExitStack() as undo:
        changed = undo.enter_context(changing(vlm, plan.label))
        asked = {layer.self_attn: replacement.attend for layer in vlm.layers[first : last + 1]}
        undo.enter_context(running_on(vlm.model, DECODER, _NAME, asked))
        for module, hook in ((inner, replacement.see_tokens), (vlm.decoder, replacement.begin)):
            undo.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield changed


def check_fits(vlm: VisionLanguageModel, plan: SharedAttentionPrior) -> None:
    """Raise the ValueErrors of `shared_attention_prior` that need no inputs."""
    if isinstance(vlm, TextDecoder):
        raise ValueError(f"vlm: expected a model that sees images, got {vlm.name!r}")
    config, layers = vlm.decoder.config, len(vlm.layers)
    if plan.layers[1] >= layers:
        raise ValueError(f"plan: expected layers within 0-{layers - 1}, got {plan.layers}")
    plan.ranks(config.num_attention_heads)
    if getattr(config, "sliding_window", None) is not None:
        raise ValueError(
            "plan: expected a decoder that keeps all keys, "
            f"got a sliding window of {config.sliding_window}"
        )
    if config._attn_implementation != "sdpa":
        raise ValueError(
            f"vlm: expected a decoder that runs on 'sdpa', got {config._attn_implementation!r}"
        )
    if plan.prior.reads_attention:
        check_recordable(vlm)
