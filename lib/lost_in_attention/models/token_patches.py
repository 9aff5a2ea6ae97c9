"""What is measured of the pixels behind each visual token."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from lost_in_attention.models.families import Inputs
from lost_in_attention.models.vlm import VisionLanguageModel


def token_patches(
    vlm: VisionLanguageModel,
    inputs: Inputs,
    measure: Callable[[Float[Tensor, "*tiles 3 height width"]], Float[Tensor, "*tiles"]],
) -> list[Float[Tensor, " _"]]:
    """`measure(patches)` of each visual token, an entry for each image; NaN for newlines.

    Pixels are in [0, 1]; a token that merges patches shows them as one.
    """
    tiles = [measure(pixels)[..., None] for pixels in vlm.family.token_pixels(inputs)]
    return [values[:, 0] for values in vlm.family.pack(inputs, tiles)]
