"""What a block of the intervention knows: the prompts, the images, the heads of each layer.

It computes the attention of the chosen layers, pass by pass.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.sap.attention_rows import (
    Collapsed,
    merged_rows,
    replaced_rows,
    take_heads,
    visual_part,
)
from lost_in_attention.sap.images import IMAGE, OUTPUTS, BatchImages, encoded
from lost_in_attention.sap.plan import SharedAttentionPrior
from lost_in_attention.sap.prompts import DecoderPass, Prompts
from lost_in_attention.sap.ranking import chosen_heads, mean_scores

# Which heads each sample has chosen, in their order.
ChosenHeads = Int[Tensor, "batch chosen"]


@dataclass
class _Layer:
    """What is settled about a layer once the prompts have passed it.

    `heads` are those that the prompts' last queries chose; `collapsed` stands for the prompts'
    keys, where these were all that the pass had.
    """

    heads: ChosenHeads
    collapsed: Collapsed | None = None


class Replacement:
    """What the hooks have seen, and the attention of the chosen layers."""

    def __init__(self, vlm: VisionLanguageModel, plan: SharedAttentionPrior) -> None:
        self.vlm, self.plan = vlm, plan
        self.image_token = vlm.model.config.image_token_id
        heads = vlm.decoder.config.num_attention_heads
        self.ranks = plan.ranks(heads)
        self.reranks = plan.reranks and len(self.ranks) < heads
        self.given: BatchImages | None = None
        self.images: BatchImages | None = None
        self.ids: Int[Tensor, "batch tokens"] | None = None
        self.prompts: Prompts | None = None
        self.now: DecoderPass | None = None
        self.layers: dict[int, _Layer] = {}

    def see_tokens(self, module, args, kwargs) -> tuple[tuple, dict]:
        """Before anything else: the tokens and images of this pass, encoded here if need be."""
        kwargs = encoded(self.vlm, kwargs)
        self.ids = kwargs.get("input_ids", args[0] if args else None)
        if self.ids is None:
            raise ValueError("inputs: expected input_ids, got none")
        self.given = None
        if features := (kwargs.get(OUTPUTS) or {}).get(IMAGE):
            self.given = getattr(features, "images", None)
            if self.given is None:
                raise ValueError(
                    "inputs: expected images that `encoded` has encoded, got features of pixels "
                    "that nothing is known of; generate from encoded(vlm, inputs)"
                )
        return args, kwargs

    def begin(self, module, args, kwargs) -> None:
        """Before the decoder runs: where its rows stand and what their prior is."""
        first, ids = _past(kwargs), self.ids
        not_padding = _not_padding(kwargs.get("attention_mask"), ids, first)
        if first == 0:
            others = self.given is not None and self.given is not self.images
            if others or self.prompts is None or not self.prompts.continued_by(ids):
                self.images = self.given
                seen = self.images.seen if self.images else []
                self.prompts = Prompts(self.plan, ids, ids == self.image_token, seen)
            self.layers = {}
        elif self.prompts is None or first < self.prompts.length:
            raise ValueError("inputs: expected a cache that was filled within the block")
        elif self.given is not None:
            raise ValueError("inputs: expected all images in the prompts' first pass, got more")
        self.now = self.prompts.passed(first, not_padding)

    def attend(
        self,
        module,
        query: Float[Tensor, "batch heads rows features"],
        key: Float[Tensor, "batch kv_heads keys features"],
        value: Float[Tensor, "batch kv_heads keys features"],
        mask: Bool[Tensor, "batch 1 rows keys"] | None,
        scaling: float,
    ) -> Float[Tensor, "batch heads rows features"] | None:
        """The attention under the plan; None where it is the model's own."""
        now, layer = self.now.on(query.device), module.layer_idx
        self.now = now
        keys = now.not_padding.shape[1]
        if key.shape[2] != keys:
            raise ValueError(f"inputs: expected a cache that holds {keys} keys, got {key.shape[2]}")
        if layer not in self.layers:
            self.layers[layer] = _Layer(self._ranked_by_prompt(query, key, scaling))
        parts = self._parts(layer, query, key, scaling)
        if self.plan.blend == 0 or not now.visual.any():
            return None
        new = [self._replaced(layer, query, key, value, scaling, *part) for part in parts]
        if new[0].shape == query.shape:
            return new[0]
        if len(parts) == 1 and not now.replaced and query.shape[2] > 1:
            output = _other_heads(query, key, value, mask, scaling, parts[0][1])
        else:
            output = vanilla(module, query, key, value, mask, scaling)
        for (rows, heads), replaced in zip(parts, new, strict=True):
            index = heads[:, :, None, None].expand_as(replaced)
            output[:, :, rows].scatter_(1, index, replaced)
        return output

    def _parts(
        self, layer: int, query: Tensor, key: Tensor, scaling: float
    ) -> list[tuple[slice, ChosenHeads]]:
        """The replaced rows, parted where other heads are chosen: the prompts', then one by one."""
        now, end = self.now, query.shape[2]
        behind = max(now.prompt - now.first, 0) if self.reranks else end
        parts = [(slice(now.replaced, behind), self.layers[layer].heads)] if behind else []
        return parts + [
            (slice(row, row + 1), self._ranked(query, key, row, scaling))
            for row in range(behind, end)
        ]

    def _ranked_by_prompt(self, query: Tensor, key: Tensor, scaling: float) -> ChosenHeads:
        if self.now.first:
            raise ValueError("inputs: expected the prompts' first pass within the block")
        return self._ranked(query, key, self.now.prompt - 1, scaling)

    def _ranked(self, query: Tensor, key: Tensor, row: int, scaling: float) -> ChosenHeads:
        """The heads that the query of `row` chooses, among the keys that it sees."""
        now, end = self.now, self.now.first + row + 1
        return chosen_heads(
            query[:, :, row], key[:, :, :end],
            visual=now.visual[:, :end], not_padding=now.not_padding[:, :end], prompt=now.prompt,
            ranking=self.plan.ranking, ranks=self.ranks, scaling=scaling,
        )  # fmt: skip

    def _replaced(
        self, layer: int, query, key, value, scaling: float, rows: slice, heads: ChosenHeads
    ) -> Float[Tensor, "batch chosen rows features"]:
        """The replaced attention of some rows in some heads."""
        replace_rows = self._merged if self.plan.is_exact_mean else self._written_out
        return replace_rows(layer, query, key, value, scaling, rows, heads)

    def _merged(self, layer, query, key, value, scaling, rows, heads) -> Tensor:
        now, state = self.now, self.layers[layer]
        if state.collapsed is not None and query.shape[2] == 1:
            return _in_heads(self._collapsed(state, query, key, value, scaling), heads)
        visual = visual_part(value, now.prior[:, 0], now.visual, by_row=now.has_rows_within_images)
        text_key, text_value = now.text.take(key), now.text.take(value)
        if key.shape[2] == now.prompt:
            state.collapsed = Collapsed.of(text_key, text_value, now.text, visual)
        return merged_rows(
            _in_heads(query[:, :, rows], heads), text_key, text_value, now.text, visual,
            kv_heads=heads // (query.shape[1] // key.shape[1]),
            first=now.first + rows.start, scaling=scaling,
        )  # fmt: skip

    def _collapsed(self, state: _Layer, query, key, value, scaling) -> Tensor:
        end = self.now.prompt
        return state.collapsed.attend(
            query,
            key[:, :, end:],
            value[:, :, end:],
            not_padding=self.now.not_padding[:, end:],
            scaling=scaling,
        )

    def _written_out(self, layer, query, key, value, scaling, rows, heads) -> Tensor:
        now = self.now
        kv_heads = heads // (query.shape[1] // key.shape[1])
        prior = now.prior
        if self.plan.value_scale == "matched":
            prior = self._matched(query, key, scaling)
        if prior.shape[1] > 1:
            prior = prior[:, rows.start - now.replaced : rows.stop - now.replaced]
        return replaced_rows(
            _in_heads(query[:, :, rows], heads),
            take_heads(key, kv_heads), take_heads(value, kv_heads),
            prior=prior, visual=now.visual, not_padding=now.not_padding,
            first=now.first + rows.start, blend=self.plan.blend, scaling=scaling,
        )  # fmt: skip

    def _matched(self, query: Tensor, key: Tensor, scaling: float) -> Tensor:
        """The prior rescaled, so that its mean is half the size of the mean score."""
        now = self.now
        means = mean_scores(
            query,
            key,
            not_padding=now.not_padding,
            first=now.first,
            prompt=now.prompt,
            scaling=scaling,
        )[:, now.replaced :, None]
        own = now.prior.sum(-1, keepdim=True) / now.visual.sum(-1)[:, None, None]
        # A blank image's complexity is zero everywhere, at any scale.
        return now.prior * (means.abs() / (2 * own.abs()).clamp(min=1e-12))


def _in_heads(
    states: Float[Tensor, "batch heads rows features"], heads: ChosenHeads
) -> Float[Tensor, "batch chosen rows features"]:
    """The chosen heads; without a copy where they are all."""
    return states if heads.shape[1] == states.shape[1] else take_heads(states, heads)


def _other_heads(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, heads: Tensor
) -> Float[Tensor, "batch heads rows features"]:
    """SDPA of the heads that are not in `heads`; room for the others."""
    chosen = torch.zeros(query.shape[:2], dtype=torch.bool, device=query.device)
    chosen = chosen.scatter(1, heads, True)
    others = chosen.to(torch.int8).argsort(dim=1, stable=True)[:, : -heads.shape[1]]
    kv_heads = others // (query.shape[1] // key.shape[1])
    computed = scaled_dot_product_attention(
        take_heads(query, others), take_heads(key, kv_heads), take_heads(value, kv_heads),
        attn_mask=mask, is_causal=mask is None, scale=scaling,
    )  # fmt: skip
    output = torch.empty_like(query)
    return output.scatter_(1, others[:, :, None, None].expand_as(computed), computed)


def vanilla(
    module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float
) -> Float[Tensor, "batch heads rows features"]:
    """The model's own attention, heads before rows."""
    return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling)[0].transpose(
        1, 2
    )


def _past(kwargs: dict) -> int:
    cache = kwargs.get("past_key_values")
    return 0 if cache is None else cache.get_seq_length()


def _not_padding(
    mask: Tensor | None, ids: Int[Tensor, "batch tokens"], first: int
) -> Bool[Tensor, "batch keys"]:
    """Which keys are no padding."""
    shape = (ids.shape[0], first + ids.shape[1])
    if mask is None:
        return torch.ones(shape, dtype=torch.bool, device=ids.device)
    if mask.shape != shape:
        raise ValueError(f"attention_mask: expected the shape {shape}, got {tuple(mask.shape)}")
    return mask.to(ids.device).bool()
