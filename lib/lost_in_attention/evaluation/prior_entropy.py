"""How flat the priors are: the entropy of their softmax over images, as a share of log n."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from PIL import Image

from lost_in_attention.benchmarks import Sample
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.token_patches import token_patches
from lost_in_attention.models.tower_attention import recorded_attention
from lost_in_attention.sap.priors import (
    VARIANTS,
    complexity_prior,
    encoder_prior,
    noise_prior,
    normalised_entropy,
    patch_complexity,
    uniform_prior,
)

_POOLING = {"paper": "mean", "released": "max"}


def prior_entropies(
    vlm: VisionLanguageModel, samples: Sequence[Sample], *, seed: int
) -> pd.DataFrame:
    """One row an image (the first of each sample), prior and variant: image_source, prior,
    variant, entropy (`priors.normalised_entropy`: 1 is uniform).

    The release rescales priors of the LLaVA families to their scores; that is left out here.
    """
    images = {sample.image_source: sample.image for sample in samples if sample.images}
    random = np.random.default_rng(seed)
    rows = []
    for source, image in images.items():
        for variant, priors in _priors(vlm, image, random).items():
            for name, scores in priors.items():
                entropy = normalised_entropy(scores)
                rows.append(
                    {"image_source": source, "prior": name, "variant": variant, "entropy": entropy}
                )
    return pd.DataFrame(rows)


@torch.inference_mode()
def _priors(
    vlm: VisionLanguageModel, image: Image.Image, random: np.random.Generator
) -> dict[str, dict[str, torch.Tensor]]:
    pixels = vlm.pixels([image])
    with recorded_attention(vlm) as recorded:
        vlm.model.model.get_image_features(**pixels, return_dict=True)
    [complexity] = token_patches(vlm, pixels, patch_complexity)
    found = {}
    for variant in VARIANTS:
        [received] = recorded.in_decoder_order(pixels, pooling=_POOLING[variant])
        found[variant] = {
            "encoder": encoder_prior(received, variant=variant),
            "complexity": complexity_prior(complexity, variant=variant),
            "noise": noise_prior(len(received), random, rows=1, variant=variant)[0],
            "uniform": uniform_prior(len(received)),
        }
    return found
