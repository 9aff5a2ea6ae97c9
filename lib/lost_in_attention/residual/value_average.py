"""Theorem F.3 on a model: is the mean of attention's output the mean of its values?

The theorem compares two ways to put noise in attention's place by their means, and takes two
things from the output Y = A V of a head for granted: that mean(Y) = mean(V), and that equal means
make the two exchangeable.  A row of A sums to 1, so each y_t is a convex combination of values;
that bounds y_t, but gives mean(Y) = mean(V) only if all values are used equally.  And averaging
shrinks the variance: with N equal weights and independent values to 1/N.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from lost_in_attention.benchmarks import Sample
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.residual.measure import check_request, prepared
from lost_in_attention.runs.batches import batches


def output_against_values(
    vlm: VisionLanguageModel, samples: Sequence[Sample], *, batch_size: int = 8
) -> pd.DataFrame:
    """One row a sample and layer: sample, image_source, layer, mean_shift, variance_ratio.

    Both are means over heads.  mean_shift is |mean(Y) - mean(V)| over the root mean square of
    |v_t - mean(V)|; variance_ratio is the mean square of |y_t - mean(Y)| over that of the
    values.  Means are over the sample's tokens.

    Raises ValueError on bad arguments before the model runs.
    """
    check_request(samples, batch_size, "all")
    rows: list[dict] = []
    for batch in batches(samples, batch_size, f"values and outputs of {vlm.name}"):
        rows += averages_of_batch(vlm, batch)
    return pd.DataFrame(rows)


@torch.inference_mode()
def averages_of_batch(vlm: VisionLanguageModel, batch: Sequence[Sample]) -> list[dict]:
    """The rows of `output_against_values` for samples that go through the model together."""
    inputs, not_padding = prepared(vlm, batch, "all")
    with _watched(vlm) as (values, outputs):
        vlm.model.model(**inputs, use_cache=False)
    rows: list[dict] = []
    for index, sample in enumerate(batch):
        origin = {"sample": sample.id, "image_source": sample.image_source}
        for layer, pair in enumerate(zip(values, outputs, strict=True)):
            v, y = (each[index][not_padding[index]].double() for each in pair)
            rows.append(origin | {"layer": layer} | compare(v, y))
    return rows


def compare(
    values: Float[Tensor, "tokens value_heads size"], outputs: Float[Tensor, "tokens heads size"]
) -> dict[str, float]:
    """mean_shift and variance_ratio of a head's outputs against its values, averaged over heads.

    With fewer value heads than output heads (grouped queries) each value head serves as many
    output heads as follow one another.
    """
    values = values.repeat_interleave(outputs.shape[1] // values.shape[1], dim=1)
    spread = _spread(values)
    shift = (outputs.mean(0) - values.mean(0)).norm(dim=1)
    return {
        "mean_shift": float((shift / spread.sqrt()).mean()),
        "variance_ratio": float((_spread(outputs) / spread).mean()),
    }


def _spread(vectors: Float[Tensor, "tokens heads size"]) -> Float[Tensor, " heads"]:
    """Mean squared distance from the mean, of every head."""
    return (vectors - vectors.mean(0)).square().sum(2).mean(0)


@contextmanager
def _watched(vlm: VisionLanguageModel) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """Within the block a forward pass adds every layer's values and outputs, head by head."""
    values, outputs, handles = [], [], []
    size = vlm.layers[0].self_attn.head_dim

    def heads(flat: Tensor) -> Tensor:
        return flat.to(vlm.device).unflatten(-1, (-1, size))

    def see_values(module, args, output):
        values.append(heads(output))

    def see_outputs(module, args):
        outputs.append(heads(args[0]))

    try:
        for layer in vlm.layers:
            handles.append(layer.self_attn.v_proj.register_forward_hook(see_values))
            handles.append(layer.self_attn.o_proj.register_forward_pre_hook(see_outputs))
        yield values, outputs
    finally:
        for handle in handles:
            handle.remove()
