"""What a tower knows of places, said in words of the decoder.

The tower was also asked for every token's column and row, so both can be read from the connector's
output by a linear map; but the decoder does not know those directions.  Here the decoder's own
embeddings of left, right, top and bottom are added in the measure in which that map reads them.
Reading and adding are linear, as the connector is, so both go into its one matrix.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.training.tower_scenes import TOKENS

# From one end of an axis to the other.
ENDS = (("left", "right"), ("top", "bottom"))
# Of the features' mean square: what keeps the map short where features hardly vary.
_RIDGE = 1e-3


def say_places(vlm: VisionLanguageModel, images: Sequence[Image.Image]) -> None:
    """Change the connector so that its output says where in the image each token lies.

    Features f become f + p D: p is the place on both axes, from -1 to 1, as a linear map reads it
    from f, fitted on the images' tokens (ridge regression), and a row of D the way from the word
    at an axis's start to the one at its end.

    Raises ValueError if there are no images.
    """
    if not len(images):
        raise ValueError("images: expected at least one, got none")
    weight = vlm.model.model.connector.modality_projection.proj.weight
    with torch.no_grad():
        features = torch.cat(list(vlm.encode_images(images)))
        reading = read_places(features, token_places().repeat(len(images), 1))
        weight += (reading @ _directions(vlm)).T @ weight


def token_places() -> Float[Tensor, "tokens 2"]:
    """Column and row of the visual tokens of one image, from -1 to 1."""
    along = torch.linspace(-1, 1, TOKENS)
    return torch.cartesian_prod(along, along).flip(1)


def read_places(
    features: Float[Tensor, "tokens hidden"], places: Float[Tensor, "tokens 2"]
) -> Float[Tensor, "hidden 2"]:
    """The linear map from features to places, without an offset, as the connector has none."""
    gram = features.T @ features
    gram += _RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    return torch.linalg.solve(gram, features.T @ places)


def _directions(vlm: VisionLanguageModel) -> Float[Tensor, "2 hidden"]:
    """From the word at an axis's start to the one at its end."""
    return torch.stack([_word(vlm, end) - _word(vlm, start) for start, end in ENDS])


def _word(vlm: VisionLanguageModel, text: str) -> Float[Tensor, " hidden"]:
    ids = vlm.processor.tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
    return vlm.model.get_input_embeddings().weight[ids].mean(0)
