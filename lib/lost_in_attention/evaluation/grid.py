"""The grid of the experiment: every way in which a question is put to a model.

Beside the paper's three priors stand controls.  `blend0` goes through the same code and replaces
nothing; `uniform` is a prior without content; `blank` shows the unchanged model a grey image;
`everywhere` replaces all heads of all layers, where the presets replace a few.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from transformers import AutoConfig

from lost_in_attention.models import VisionLanguageModel, families
from lost_in_attention.models.load import resolve
from lost_in_attention.sap import MODES, SharedAttentionPrior, paper, released
from lost_in_attention.sap.plan import at_share

PRESETS = {"paper": paper, "released": released}
# Tables 4, 5 and 8.
BANDS = ((0.0, 0.3), (0.3, 0.6), (0.6, 0.9), (0.2, 0.8), (0.0, 1.0))


@dataclass(frozen=True)
class Variant:
    """One way to answer: under a plan, on blank images, or (neither) as the model is.

    `preset` says where attention is replaced, "none" without a plan.
    """

    name: str
    preset: str = "none"
    plan: SharedAttentionPrior | None = None
    blank: bool = False

    @property
    def noise_seed(self) -> int:
        """The plan's seed, 0 without a plan."""
        return self.plan.seed if self.plan else 0

    @property
    def label(self) -> str:
        """What sets it apart, in words."""
        return self.plan.label if self.plan else self.name

    @property
    def description(self) -> str:
        """Name, preset and all that sets it apart: no two variants of a grid share it."""
        return f"{self.name}, {self.preset}: {self.label}"


VANILLA = Variant("vanilla")
BLANK = Variant("blank", blank=True)


def family_of(vlm: VisionLanguageModel) -> str:
    """The family whose settings the model takes, by its name.

    Raises ValueError if the model is of none that is known.
    """
    return vlm.family.key


def presets(
    family: str, *, depth: int, noise_seeds: int = 1, names: Sequence[str] = tuple(PRESETS)
) -> list[Variant]:
    """Vanilla, the controls, and every prior under the presets `names` ("paper", "released").

    Raises ValueError on an unknown family or preset, or fewer than one noise seed.
    """
    if unknown := sorted(set(names) - set(PRESETS)):
        raise ValueError(f"preset: expected names among {list(PRESETS)}, got {unknown}")
    if noise_seeds < 1:
        raise ValueError(f"noise_seeds: expected at least 1, got {noise_seeds}")
    identity = Variant("blend0", "paper", replace(paper(family, depth=depth), blend=0.0))
    variants = [VANILLA, BLANK, identity]
    for name in names:
        plans = [PRESETS[name](family, mode, depth=depth) for mode in MODES]
        variants += [
            Variant(plan.mode, name, replace(plan, seed=seed))
            for plan in plans
            for seed in range(noise_seeds if plan.mode == "noise" else 1)
        ]
    for mode in ("encoder", "uniform"):
        plan = replace(paper(family, mode, depth=depth), layers=(0, depth - 1), heads=(0.0, 1.0))
        variants.append(Variant(mode, "everywhere", plan))
    return variants


def ablations(family: str, *, depth: int) -> list[Variant]:
    """Vanilla, blank, and noise in each head band and layer range of Tables 4 to 8.

    All of a reply is given by the heads that the prompt's last query chose (`reranks` False).
    Bands are ranked as the paper says (preset "heads") and as the release does ("heads,
    released ranking"), ranges (preset "layers") are at the same share of `depth` layers.  Two
    ranges that fall on the same layers stand once.
    """
    usual = replace(paper(family, "noise", depth=depth), reranks=False)
    other = released(family, depth=depth).ranking
    rankings = {"heads": usual.ranking, "heads, released ranking": other}
    variants = [VANILLA, BLANK]
    for preset, ranking in rankings.items():
        for band in BANDS:
            variants.append(Variant("noise", preset, replace(usual, heads=band, ranking=ranking)))
    for layers in layer_ranges(family, depth=depth):
        variants.append(Variant("noise", "layers", replace(usual, layers=layers)))
    return variants


def heads_replaced(model: str) -> tuple[int, int]:
    """How many heads, counted over layers, the presets replace in a model, and of how many.

    `model` is what `load` takes; its weights are not read.

    Raises what `models.load.resolve` does, and ValueError if the model is of none of the families.
    """
    config = AutoConfig.from_pretrained(resolve(model))
    family = families.family_of(config, "model")
    decoder = config.get_text_config()
    plan = paper(family.key, depth=decoder.num_hidden_layers)
    first, last = plan.layers
    heads = decoder.num_attention_heads
    return (last - first + 1) * len(plan.ranks(heads)), decoder.num_hidden_layers * heads


def layer_ranges(family: str, *, depth: int) -> list[tuple[int, int]]:
    """The ranges of Tables 6 and 7 at the same share of `depth` layers, each once.

    Raises ValueError on an unknown family.
    """
    own = families.family_named(family).published
    return list(dict.fromkeys(at_share(each, own.depth, depth) for each in own.ranges))
