# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Layer by layer: RID and MixIG of attention and FFN
#
# - **Covers** Section 4.2 of the paper, observations 2 and 3, and Figure 3a.
# - **Verdict** on claim C073: {glue:text}`verdict_c073`. The others are in the table below.
# - **Takes** about half a minute and 1 GB at tier `book`.
#
# You will
#
# 1. measure what every update of a trained model does to the residual stream,
# 2. see how much of RID comes from the spectrum and how much from the support,
# 3. split support innovation into the size of an update and its novelty, and see which of the two
#    tells attention and FFN apart.
#
# You need {doc}`01_residual_stream`. The symbols are in {doc}`../notation`.

# %%
from pathlib import Path

import pandas as pd
import torch
from myst_nb import glue

from lost_in_attention import plots, report
from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.claims import agreement
from lost_in_attention.measure import measure
from lost_in_attention.models import load
from lost_in_attention.stats import mean_interval, mean_intervals

# %% tags=["parameters"]
tier = "book"
model = "small-qwen2.5-vl"
source = "digits"
questions = 500
seed = 0
output = "book/generated"

# %%
run = report.start(
    "06_layerwise_curves",
    tier=tier,
    seed=seed,
    model=model,
    output=output,
    source=source,
    questions=questions,
)
device = "cuda" if torch.cuda.is_available() else "cpu"
dtype = torch.bfloat16 if tier == "paper" else torch.float32
vlm = load(model, device=device, dtype=dtype)
asked = 8 if tier == "smoke" else questions
samples = load_benchmark("pope", source).draw(asked, seed=seed)

# %% [markdown]
# ## What is measured
#
# Every update turns a state $X$ into $X' = X + \Delta X$. With $Q = \min(S, H)$, projectors
# $P_\mathcal{C}$ and $P_\mathcal{R}$ onto the column and row space of $X$, and $\mathrm{TME}$ the
# token mixing entropy,
#
# $$
# \mathrm{RID}(X \mid X') =
# \underbrace{\frac{|\mathrm{eRank}(X') - \mathrm{eRank}(X)|}{Q}}_{\text{spectrum change}} +
# \underbrace{\frac{\|(I - P_\mathcal{C}) X'\|_F + \|X' (I - P_\mathcal{R})\|_F}
# {2 \|X'\|_F}}_{\text{support innovation}}
# $$
#
# $$
# \mathrm{MixIG}(X \mid X') = \mathrm{TME}(X') - \mathrm{TME}(X)
# $$
#
# (Definitions 3.6 to 3.8). Attention is measured from $X_\mathrm{in}$ to $X_\mathrm{attn}$, the FFN
# from $X_\mathrm{attn}$ to $X_\mathrm{ffn}$, as Section 4.2 says. The questions are held-out
# existence questions; their images hold digits that the model never saw in training.
#
# Before the run we fix what will count as agreement with the paper:
#
# - C073: the FFN's RID is above attention's *and* attention's MixIG is above the FFN's, both as
#   means over layers, with 95% intervals of the difference that exclude zero.
# - C016: attention's MixIG at layer 0 is, in absolute value, among the largest quarter of layers.
# - C017: apart from layer 0, the layer where attention's MixIG is largest in absolute value lies
#   between 30% and 50% of the depth.

# %%
measured = measure(vlm, samples)
quantities = [
    "rid",
    "spectrum_change",
    "support_innovation",
    "mixig",
    "size",
    "token_novelty",
    "feature_novelty",
]
# Questions on one image share most of their tokens: resample whole images.
curves = mean_intervals(
    measured, quantities, ["layer", "module"], unit="image_source", seed=seed
)
table_path = Path(output) / run.notebook / "measured.parquet"
table_path.parent.mkdir(parents=True, exist_ok=True)
measured.to_parquet(table_path)

# %% tags=["remove-cell"]
glue("n_questions", len(samples), display=False)
glue("n_images", measured["image_source"].nunique(), display=False)
lengths = sorted({measured["tokens"].min(), measured["tokens"].max()})
full_rank = (measured["rank"] == measured["tokens"]).mean()
glue("n_tokens", " to ".join(map(str, lengths)), display=False)
glue("full_rank", f"{full_rank:.1%}", display=False)
first = measured[(measured["layer"] == 0) & (measured["module"] == "attention")]
glue("first_token_novelty", f"{first['token_novelty'].mean():.3f}", display=False)
glue("n_layers", len(vlm.layers), display=False)
glue("n_features", vlm.model.config.text_config.hidden_size, display=False)

# %% [markdown]
# Measured were {glue:text}`n_questions` questions on {glue:text}`n_images` images,
# {glue:text}`n_tokens` tokens each, in {glue:text}`n_features` features. Bands are 95% bootstrap
# intervals of the mean over images. They say how well the mean is known for this one trained model,
# and nothing about other models or other training seeds.
#
# ## RID and MixIG


# %%
def draw(name, shown, caption):
    fig, axes = plots.panels(len(shown), row_height=2.4)
    for quantity, ax in zip(shown, axes, strict=True):
        plots.layer_curves(curves, quantity, ax)
    data = curves[curves["quantity"].isin(shown)]
    alt = " ".join(report.alt_layer_curves(curves, q) for q in shown)
    run.figure(fig, name, data=data, alt=alt, caption=caption)


draw(
    "rid_mixig",
    ["rid", "mixig"],
    "RID and MixIG by layer, the two curves of Figure 3a.",
)

# %% [markdown]
# MixIG cannot exceed $\log 2 \approx 0.693$ nats in absolute value, for any update of any model,
# and over all updates of a model it adds up to one difference of two entropies. The paper's Table 1
# gives noise a MixIG of -0.80 and attention one of 0.61. So its numbers cannot be means over layers
# of the quantity that Definition 3.8 defines, and the scale of the right panel cannot be compared
# with Table 1. Signs and order can.
#
# ## Where RID comes from

# %%
draw(
    "rid_parts",
    ["spectrum_change", "support_innovation"],
    "The two parts of RID: the change of effective rank, "
    "and what lies outside the old support.",
)

# %% [markdown]
# There are fewer tokens than features here. Of the states after an update, {glue:text}`full_rank`
# have full row rank. Then the column space of $X$ is everything, $(I - P_\mathcal{C})X' = 0$, and
# support innovation cannot exceed one half. The input of layer 0 is the exception: a word that
# occurs twice gives two equal rows, attention tells them apart, and the column term is not zero
# (mean token novelty {glue:text}`first_token_novelty`).
#
# ## Size or novelty?
#
# With full row rank support innovation is a product:
#
# $$
# \frac{\|X'(I - P_\mathcal{R})\|_F}{2\|X'\|_F} = \frac{1}{2} \cdot
# \underbrace{\frac{\|\Delta X\|_F}{\|X'\|_F}}_{\text{size}} \cdot
# \underbrace{\frac{\|\Delta X (I - P_\mathcal{R})\|_F}{\|\Delta X\|_F}}_{\text{novelty}}.
# $$
#
# The first factor is only how large the update is. The second is the share of it that points out of
# the old row space, whatever its size. A module that "expands the subspace" should stand out in the
# second.

# %%
draw(
    "size_novelty",
    ["size", "feature_novelty"],
    "The two factors of support innovation: how large an update is, "
    "and how much of it is new.",
)

# %% [markdown]
# ## The numbers
#
# Means over layers for each question, then over questions; differences are taken question by
# question.


# %%
def words(found):
    return f"{found.mean:.4f} [{found.low:.4f}, {found.high:.4f}]"


# %%
def module_gaps(table):
    """FFN minus attention, and a row of words, for every quantity."""
    modules = table.groupby(["sample", "image_source", "module"])
    means = modules[quantities].mean().unstack("module")
    images = means.index.get_level_values("image_source")
    gaps, rows = {}, []
    for quantity in quantities:
        attention, ffn = (means[quantity][name] for name in ("attention", "ffn"))
        found = [
            mean_interval(values, units=images, seed=seed)
            for values in (attention, ffn, ffn - attention)
        ]
        gaps[quantity] = found[-1]
        rows.append([plots.axis_label(quantity), *map(words, found)])
    columns = ["quantity", "attention", "FFN", "FFN - attention"]
    return gaps, pd.DataFrame(rows, columns=columns)


gaps, table = module_gaps(measured)
run.table(table, "Means over all layers with 95% intervals")

# %% [markdown]
# ## The verdicts

# %%
of_attention = curves[curves["module"] == "attention"].set_index("layer")
strength = of_attention.loc[of_attention["quantity"] == "mixig", "mean"].abs()
place = int(strength.rank(ascending=False)[0])
peak = int(strength.drop(0).idxmax())
depth = 100 * peak / strength.index.max()
rid_gap, mixig_gap = gaps["rid"], gaps["mixig"]
separated = None
if rid_gap.low > 0 and mixig_gap.high < 0:
    separated = True
elif rid_gap.high < 0 or mixig_gap.low > 0:
    separated = False

# %%
run.claim(
    "C073",
    statement="Attention has low RID and high MixIG, the FFN the reverse",
    paper="RID 0.06 against 0.21, MixIG 0.61 against 0.02",
    measured=f"FFN - attention: RID {words(rid_gap)}, MixIG {words(mixig_gap)}",
    tolerance="both differences in the paper's direction, intervals without 0",
    verdict=agreement(separated, tier),
    note="one model, one training seed",
)
run.claim(
    "C016",
    statement="Layer 0 reconfigures strongly",
    paper="layer 0 named",
    measured=f"rank {place} of {len(strength)} layers by |MixIG| of attention",
    tolerance="among the largest quarter of layers",
    verdict=agreement(place <= len(strength) / 4, tier),
)
run.claim(
    "C017",
    statement="Layers around this share of the depth reconfigure strongly",
    paper="40%",
    measured=f"largest |MixIG| after layer 0: layer {peak}, {depth:.0f}% of depth",
    tolerance="between 30% and 50%",
    verdict=agreement(30 <= depth <= 50, tier),
)

# %%
run.claims_table()

# %% tags=["remove-cell"]
glue("verdict_c073", run.claims[0].verdict, display=False)

# %% [markdown]
# ## After the fact: what hangs on layer 0
#
# This was not planned; we looked after seeing the curves. The paper names layer 0 as a special
# case, and a mean over layers can be a statement about one of them. The same differences without
# layer 0:

# %%
_, later = module_gaps(measured[measured["layer"] > 0])
run.table(later, "Means over layers 1 and later with 95% intervals")

# %% [markdown]
# Compare the signs in the last columns of the two tables, row by row. Where they differ, the answer
# to "does attention or the FFN innovate more?" depends on one layer out of
# {glue:text}`n_layers`. Compare also the rows of size and feature novelty: which of the two follows
# RID?
#
# ## Exercises
#
# ```{exercise} Read the product
# :label: ex-read-the-product
#
# *Warm-up, 5 minutes.* At the layer where the FFN's support innovation is largest, is it the size
# or the novelty that makes it so? Use the figure's data.
# ```
#
# ```{solution} ex-read-the-product
# :class: dropdown
#
# Take the row of that layer from `curves`, once for `size` and once for `feature_novelty`, and
# compare each with its own mean over layers. The factor that is further above its mean, as a ratio,
# is the one that makes the peak.
# ```
#
# ```{exercise} Sum it up
# :label: ex-sum-it-up
#
# *Medium, 15 minutes.* Show from `measured` that MixIG, summed over all modules and layers of one
# question, equals the TME of the last state minus that of the first. Check with
# `abs(total - difference) < 1e-9`.
# Hint: TME of the first state is the `tme` of layer 0's attention minus its `mixig`.
# ```
#
# ```{solution} ex-sum-it-up
# :class: dropdown
#
# The sum telescopes: each state enters once as $X'$ and once as $X$, except the first and the last.
# So the sum lies within $\pm\log 2$, however many layers there are.
# ```
#
# ```{exercise} Only the picture
# :label: ex-only-the-picture
#
# *Research, 45 minutes.* `measure(..., tokens="visual")` looks at the visual rows alone. Does the
# order of attention and FFN change, in RID and in MixIG? Explain what changes with $S$.
# ```
#
# ```{solution} ex-only-the-picture
# :class: dropdown
#
# Report both with intervals. With fewer rows the row space of $X$ is smaller, so the same update
# leaves it more easily: novelty rises for geometric reasons alone. Compare modules at one token
# subset, not across subsets.
# ```
