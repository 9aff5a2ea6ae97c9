"""What is replaced, where, and by what; the settings of the paper and of its released code."""

import math
from dataclasses import dataclass
from types import UnionType
from typing import Literal, get_args

from lost_in_attention.models.families import Published, family_named
from lost_in_attention.sap.priors import Version
from lost_in_attention.sap.ranking import Ranking
from lost_in_attention.sap.registry import PRIORS, Prior

# The names of the registered priors, as they are when asked for.
MODES = PRIORS.keys()
Queries = Literal["all", "last"]
ValueScale = Literal["none", "matched"]


@dataclass(frozen=True)
class SharedAttentionPrior:
    """One intervention (Appendix C.3).

    `mode`: the prior's name (`registry.PRIORS`).
    `layers`: the first and the last layer, counted from 0, both included.
    `heads`: a band of percentiles of each layer's heads, ordered from those that look most at
        text to those that look least at it, judged by the prompt's last query.
    `reranks`: whether every later token judges the heads anew for its own row (the paper's
        "current decoding step", and the release); otherwise the prompt's heads stay chosen.
    `ranking`: how much a head looks at text: its mean "weights" on non-visual tokens (the paper),
        the mean "scores" before the softmax, or "two_sided_scores", the average of the means
        before and behind the images (the release).  For a later token the paper counts the
        prompt's text alone, the release that and the tokens generated since.
    `queries`: "all" rows, or only the "last" of the prompt and every one after it.
    `blend`: the share b in score = (1 - b) own + b prior.
    `value_scale`: "none", or "matched" to half the mean score (the release for LLaVA); the latter
        looks at the whole prompt, so it goes with the last query only.
    `version`: of the prior, "paper" or "released" (see `priors`).
    `seed`: of the noise.

    Raises ValueError on a value that is not one of these.
    """

    mode: str
    layers: tuple[int, int]
    heads: tuple[float, float] = (0.0, 1.0)
    ranking: Ranking = "weights"
    reranks: bool = True
    queries: Queries = "all"
    blend: float = 1.0
    value_scale: ValueScale = "none"
    version: Version = "paper"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, known in (
            ("mode", MODES),
            ("ranking", get_args(Ranking)),
            ("queries", get_args(Queries)),
            ("value_scale", get_args(ValueScale)),
            ("version", get_args(Version)),
        ):
            value = getattr(self, name)
            if not isinstance(value, str) or value not in known:
                raise ValueError(f"{name}: expected one of {list(known)}, got {value!r}")
        _check_pair("layers", self.layers, int, "two whole numbers")
        first, last = self.layers
        if not 0 <= first <= last:
            raise ValueError(f"layers: expected 0 <= first <= last, got {self.layers}")
        _check_pair("heads", self.heads, int | float, "two numbers")
        low, high = self.heads
        if not 0 <= low <= high <= 1:
            raise ValueError(f"heads: expected a band within [0, 1], got {self.heads}")
        if not isinstance(self.blend, int | float) or not 0 <= self.blend <= 1:
            raise ValueError(f"blend: expected a number between 0 and 1, got {self.blend!r}")
        if type(self.reranks) is not bool:
            raise ValueError(f"reranks: expected True or False, got {self.reranks!r}")
        if type(self.seed) is not int or self.seed < 0:
            raise ValueError(f"seed: expected a whole number, 0 or more, got {self.seed!r}")
        if self.value_scale == "matched" and self.queries == "all":
            raise ValueError(
                "value_scale: 'matched' looks ahead in the prompt, so it needs queries 'last', "
                "got 'all'"
            )

    @property
    def label(self) -> str:
        """Everything that sets this plan apart, in words."""
        first, last = self.layers
        low, high = self.heads
        return (
            f"SAP {self.mode} {self.version}, layers {first}-{last}, heads {low:g}-{high:g} "
            f"by {self.ranking}{' at each step' if self.reranks else ' at the prompt'}, "
            f"{self.queries} queries, blend {self.blend:g}, "
            f"scale {self.value_scale}, seed {self.seed}"
        )

    @property
    def is_exact_mean(self) -> bool:
        """Whether the visual part of attention is a weighted mean that no query changes."""
        return self.blend == 1 and self.value_scale == "none" and not self.has_own_rows

    @property
    def prior(self) -> Prior:
        """The prior that `mode` names."""
        return PRIORS[self.mode]

    @property
    def has_own_rows(self) -> bool:
        """Whether each query has scores of its own; in the release none has."""
        return self.prior.by_row and self.version == "paper"

    def ranks(self, heads: int) -> range:
        """Which ranks of `heads` ordered heads lie between the band's two quantiles.

        Raises ValueError if none does.
        """
        low, high = (share * (heads - 1) for share in self.heads)
        # 0.07 * 100 is a little more than 7 in floating point.
        chosen = range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)
        if not chosen:
            raise ValueError(
                f"heads: expected a band that holds at least one of {heads} heads, got {self.heads}"
            )
        return chosen


def _check_pair(name: str, pair: object, kind: type | UnionType, expected: str) -> None:
    right = isinstance(pair, tuple) and len(pair) == 2
    if not right or not all(isinstance(n, kind) and not isinstance(n, bool) for n in pair):
        raise ValueError(f"{name}: expected {expected}, got {pair!r}")


def paper(family: str, mode: str = "encoder", *, depth: int | None = None) -> SharedAttentionPrior:
    """The paper's setting: all queries, values as they are (Section 4.3, Appendices C.3 and D).

    A decoder of `depth` layers, fewer than the published one, takes the layers at the same share of
    its depth; a deeper one takes them as published (Table 8: [1, 27] whatever the depth).

    Raises ValueError on an unknown family or mode, or a depth below 1.
    """
    published = family_named(family).published
    return SharedAttentionPrior(mode, _layers(published, depth), published.heads)


def released(
    family: str, mode: str = "encoder", *, depth: int | None = None
) -> SharedAttentionPrior:
    """What the authors' code does, with the paper's layers and bands: it fixes none itself.

    The last query only; probabilities written as scores, rescaled for the LLaVA families.  It has
    no code for LLaVA-NeXT, which is treated as LLaVA-1.5.  Its OneVision cannot run the encoder's
    and the complexity prior, and its LLaVA squashes the whole image into the patches where the
    model sees a middle crop: here both priors are those of what the model sees.

    Raises ValueError on an unknown family or mode, or a depth below 1.
    """
    published = family_named(family).published
    return SharedAttentionPrior(
        mode,
        _layers(published, depth),
        published.heads,
        ranking=published.ranking,
        queries="last",
        value_scale=published.value_scale,
        version="released",
    )


def _layers(published: Published, depth: int | None) -> tuple[int, int]:
    if depth is None:
        return published.layers
    if depth < 1:
        raise ValueError(f"depth: expected at least 1 layer, got {depth}")
    return at_share(published.layers, published.depth, depth)


def at_share(layers: tuple[int, int], published: int, depth: int) -> tuple[int, int]:
    """The layers at the same share of a shallower decoder of `depth` layers, at least one.

    `layers` are the first and last of a decoder of `published` layers; one that is as deep or
    deeper takes them as they are.  A range that spares the first layer does so at any depth that
    has a second.
    """
    if depth >= published:
        return layers
    first, last = layers
    start = min(max(round(first * depth / published), int(first > 0)), depth - 1)
    return start, max(start, round((last + 1) * depth / published) - 1)
