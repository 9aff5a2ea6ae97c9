"""Who carries the largest activation of a state, and how far it is above the others."""

from jaxtyping import Bool, Float
from torch import Tensor

from lost_in_attention.residual.sinks import LARGE, TIMES_MEDIAN, Peaks

Number = int | float


def carrier(
    hidden: Float[Tensor, "tokens features"], peaks: Peaks, visual: Bool[Tensor, " tokens"]
) -> dict[str, Number]:
    """The largest absolute activation of one sample's state, without padding, and its place.

    largest and median (of all absolute values), position and feature of the largest, second (the
    largest on any other token), norm of its token and median_norm of all tokens; massive and
    massive_visual count the tokens, and the visual ones, with a massive activation, large those
    with one of `LARGE` times the median.  `peaks` are those of the state, of one sample.
    """
    [largest] = peaks.largest
    position = int(largest.argmax())
    norms = hidden.float().norm(dim=1)
    massive = peaks.beyond(TIMES_MEDIAN)[0]
    return {
        "position": position,
        "feature": int(hidden[position].abs().argmax()),
        "largest": float(largest[position]),
        "second": float(largest.topk(min(2, len(largest))).values[-1]),
        "median": float(peaks.median),
        "norm": float(norms[position]),
        "median_norm": float(norms.median()),
        "massive": int(massive.sum()),
        "massive_visual": int((massive & visual).sum()),
        "large": int(peaks.beyond(LARGE).sum()),
    }
