"""The priors by name: the paper's three, a control without content, and what a reader adds.

A prior is a function of some visual tokens, mostly those of one image, that gives each a score:

    def brightness(seen: VisualTokens) -> Scores:
        return seen.patches(lambda patches: patches.mean((-3, -2, -1)))

    register_prior("brightness", brightness)
    plan = SharedAttentionPrior("brightness", layers=(1, 6))
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lost_in_attention.benchmarks.benchmark import check_name
from lost_in_attention.residual.metrics import told_apart
from lost_in_attention.sap.images import PatchMeasure, Pooling, SeenImage
from lost_in_attention.sap.priors import (
    Scores,
    Version,
    complexity_prior,
    encoder_prior,
    noise_prior,
    patch_complexity,
    uniform_prior,
)


@dataclass(frozen=True, eq=False)
class VisualTokens:
    """What a prior may look at: visual tokens in the decoder's order, of one image or a prompt's.

    `random` is seeded by the plan's seed and the pixels of the prompt's images, and the same for
    all images of a prompt, one after another.  `rows` is how many queries ask, 1 but for a prior
    that is registered `by_row`; `version` is the plan's.
    """

    images: Sequence[SeenImage]
    random: np.random.Generator
    rows: int = 1
    version: Version = "paper"

    @property
    def count(self) -> int:
        """Number of visual tokens, over all images."""
        return sum(image.tokens for image in self.images)

    def patches(self, measure: PatchMeasure) -> Scores:
        """`measure` of the pixels behind each token, in [0, 1]; NaN for newline tokens."""
        return torch.cat([image.patches(measure) for image in self.images])

    def received(self, pooling: Pooling = "mean") -> Scores:
        """The attention that each token receives in the encoder's last map; NaN for newlines.

        The patches that a token merges are pooled by their mean (the paper) or their largest value
        (the release).
        """
        return torch.cat([image.received(pooling) for image in self.images])


@dataclass(frozen=True)
class Prior:
    """A registered prior.

    `scores` gives one score a token.  With `by_row` it is asked for a whole prompt at once, and
    gives a row of scores for each of `rows` queries.  One that `reads_attention` is refused at
    once where the vision tower cannot be recorded.
    """

    name: str
    scores: Callable[[VisualTokens], Tensor]
    by_row: bool = False
    reads_attention: bool = False

    def of(self, seen: VisualTokens) -> Float[Tensor, "rows tokens"]:
        """The scores of some visual tokens, a row for each query.

        Raises ValueError that names the prior unless each token has one score, a floating-point
        number that is finite in float32.
        """
        scores = self.scores(seen)
        rows = (seen.rows, seen.count) if self.by_row else (seen.count,)
        if wrong := _wrong(scores, rows):
            raise ValueError(
                f"prior {self.name!r}: expected finite scores of the shape {rows}, got {wrong}"
            )
        scores = scores.float()
        return scores if self.by_row else scores[None]

    @property
    def identity(self) -> str:
        """What tells it from another prior of its name; raises what `told_apart` does."""
        how = f"by_row {self.by_row}, reads_attention {self.reads_attention}"
        return f"{told_apart('mode', self.name, self.scores)}, {how}"


def _wrong(scores: object, rows: tuple[int, ...]) -> str:
    """What is wrong with scores, in words; nothing if nothing is."""
    if not isinstance(scores, Tensor):
        return type(scores).__name__
    if scores.shape != rows:
        return str(tuple(scores.shape))
    if not scores.is_floating_point():
        return f"{rows} of {scores.dtype}"
    return "" if scores.float().isfinite().all() else f"{rows} with NaN or an infinity in float32"


PRIORS: dict[str, Prior] = {}
_BUILT_IN: list[str] = []
# How the grid calls its other variants.
_VARIANTS = ("vanilla", "blank", "blend0")


def register_prior(
    name: str,
    scores: Callable[[VisualTokens], Tensor],
    *,
    by_row: bool = False,
    reads_attention: bool = False,
) -> None:
    """Make `name` a mode of plans; `Prior` says what the function gives.

    A prior of your own may be registered again, as a cell of a notebook does when it is run again.

    Raises ValueError on the name of one of the library's or of another variant of the grid, one
    that `check_name` refuses, or what is no function.
    """
    check_name(name)
    if name in (taken := [*_BUILT_IN, *_VARIANTS]):
        raise ValueError(f"name: expected none of {taken}, got {name!r}")
    if not callable(scores):
        raise ValueError(f"scores: expected a function, got {scores!r}")
    PRIORS[name] = Prior(name, scores, by_row, reads_attention)


def identities(modes: Iterable[str]) -> dict[str, str]:
    """Of those modes that a reader registered, what tells each from another of its name.

    Raises ValueError on one that cannot be told apart.
    """
    return {mode: PRIORS[mode].identity for mode in sorted({*modes} - {*_BUILT_IN})}


def _encoder(seen: VisualTokens) -> Scores:
    pooling: Pooling = "max" if seen.version == "released" else "mean"
    return encoder_prior(seen.received(pooling), version=seen.version)


def _complexity(seen: VisualTokens) -> Scores:
    return complexity_prior(seen.patches(patch_complexity), version=seen.version)


def _noise(seen: VisualTokens) -> Float[Tensor, "rows tokens"]:
    return noise_prior(seen.count, seen.random, rows=seen.rows, version=seen.version)


def _uniform(seen: VisualTokens) -> Scores:
    return uniform_prior(seen.count)


register_prior("encoder", _encoder, reads_attention=True)
register_prior("complexity", _complexity)
register_prior("noise", _noise, by_row=True)
register_prior("uniform", _uniform)
_BUILT_IN.extend(PRIORS)
