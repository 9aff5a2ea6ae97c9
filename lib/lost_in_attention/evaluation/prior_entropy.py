"""How flat the priors are: the entropy of their softmax over images, as a share of log n."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from PIL import Image

from lost_in_attention.benchmarks import Sample
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.sap import VisualTokens, encoded
from lost_in_attention.sap.images import IMAGE, OUTPUTS
from lost_in_attention.sap.priors import VERSIONS, Scores, normalised_entropy
from lost_in_attention.sap.registry import PRIORS


def prior_entropies(
    vlm: VisionLanguageModel, samples: Sequence[Sample], *, seed: int
) -> pd.DataFrame:
    """One row an image (the first of each sample), prior and version: image_source, prior,
    variant (the version's name), entropy (`priors.normalised_entropy`: 1 is uniform).

    The release rescales priors of the LLaVA families to their scores; that is left out here.
    """
    images = {sample.image_source: sample.image for sample in samples if sample.images}
    random = np.random.default_rng(seed)
    rows = []
    for source, image in images.items():
        for version, priors in _priors(vlm, image, random).items():
            for name, scores in priors.items():
                entropy = normalised_entropy(scores)
                rows.append(
                    {"image_source": source, "prior": name, "variant": version, "entropy": entropy}
                )
    return pd.DataFrame(rows)


@torch.inference_mode()
def _priors(
    vlm: VisionLanguageModel, image: Image.Image, random: np.random.Generator
) -> dict[str, dict[str, Scores]]:
    inputs = encoded(vlm, vlm.pixels([image]))
    images = inputs[OUTPUTS][IMAGE].images
    return {
        version: {
            name: prior.of(VisualTokens(images.seen, random, version=version))[0]
            for name, prior in PRIORS.items()
        }
        for version in VERSIONS
    }
