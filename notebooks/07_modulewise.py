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
# # Module by module: attention, FFN and two kinds of noise
#
# - **Covers** Section 4.2 of the paper, observations 1 and 2, Figure 2, Table 1 and Theorem F.3.
# - **Verdict** on claim C071, noise: {glue:text}`verdict_c071`. On claim C073, attention and FFN:
#   {glue:text}`verdict_c073`. The others are in the table below.
# - **Takes** less than a minute and 2 GB at tier `book`: most numbers were measured before.
#
# You will
#
# 1. place every model's attention and FFN in the plane of RID and MixIG,
# 2. put noise in attention's place in two ways, and see which figures come from the noise and which
#    from where it is put,
# 3. test Theorem F.3, which says that the two ways are alike in the mean.
#
# You need {doc}`04_rid`, {doc}`05_token_mixing` and {doc}`06_layerwise_curves`.

# %%
import numpy as np
import pandas as pd
from myst_nb import glue

from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.paper import table1, table1_words
from lost_in_attention.publishing.votes import (
    apart,
    ends,
    how_many,
    in_words,
    interval_table,
    labour_divided,
    means_apart,
    side_of,
    tally,
)
from lost_in_attention.residual.depth import over_depth
from lost_in_attention.residual.measurements import BASELINES, Averaging, Baselines, Updates
from lost_in_attention.residual.tables import (
    crowded_models,
    intervals,
    module_gaps,
    over_layers,
    without_forced_zeros,
)

# %% tags=["parameters"]
tier = "book"
models = "pretrained,families"
source = "own"
questions = 150
noise_questions = 40
noise_seeds = 2
live = 2
seed = 0
output = "book/generated"

# %% tags=["hide-cell"]
run = report.start("07_modulewise", globals())
names, draws = run.models, run.count(noise_seeds, smoke=1)
samples = run.drawn("pope", source, questions, smoke=6)
under_noise = run.fewer(samples, noise_questions, smoke=6)
updates, baselines, averaging = run.measured(
    (Updates(), samples),
    (Baselines(draws), under_noise),
    (Averaging(), under_noise),
    live=live,
)

# %%
own = updates.table
one_layer = own[own["update"] == "noise"].assign(module="noise_one_layer")
own = pd.concat([own[own["update"] == "own"], one_layer]).assign(draw=0)
measured = without_forced_zeros(pd.concat([own, baselines.table], ignore_index=True))
averages = averaging.table
crowded = crowded_models(measured)

BOTH = ["rid", "mixig"]
PARTS = ["size", "feature_novelty", "spectrum_change", "support_innovation"]
groups = ["model", "module"]
# Draws of noise are several tables of one model: their mean stands for them.
keys = ["sample", "image_source", *groups, "layer"]
per_layer = measured.groupby(keys, sort=False)[[*PARTS, *BOTH]].mean().reset_index()
per_sample = over_depth(per_layer, [*PARTS, *BOTH], groups)
points = intervals(per_sample, BOTH, groups, seed=seed)
# What is set beside the baselines is of the same questions.
both_asked = baselines.table[["model", "sample"]].drop_duplicates()
shared = per_sample.merge(both_asked, on=["model", "sample"])

# %% tags=["remove-cell"]
of_models = own.groupby("model")
glue("first_model", names[0], display=False)
glue("agreement", updates.agreement, display=False)
glue("noise_agreement", baselines.agreement, display=False)
glue("averaging_agreement", averaging.agreement, display=False)
glue("n_questions", int(of_models["sample"].nunique().max()), display=False)
asked_under_noise = int(baselines.table.groupby("model")["sample"].nunique().max())
glue("n_noise", asked_under_noise, display=False)
depths = sorted(set(of_models["layer"].max() + 1))
glue("n_layers", " or ".join(map(str, depths)), display=False)

# %% [markdown]
# ## The answer
#
# Over depth the FFN is ahead of attention in RID, as in Table 1, in {glue:text}`rid_depth` (FFN
# minus attention, {glue:text}`gap_rid`). Where tokens are fewer than features, as in the paper's
# models, it is in {glue:text}`rid_roomy`; over layers 1 and later, in {glue:text}`rid_later`.
# Attention is ahead in MixIG, as in Table 1, in {glue:text}`mixig_depth` (FFN minus attention in
# nats, {glue:text}`gap_mixig`). Noise in attention's place has, in Table 1, a RID above both
# modules' and a MixIG below zero; here RID is above both under either kind of noise in
# {glue:text}`noise_rid` (with fewer tokens than features, {glue:text}`noise_roomy`), and MixIG
# below zero under either in {glue:text}`noise_mixig`.
#
# Counted are models whose 95% interval over images excludes the opposite; each was asked
# {glue:text}`n_questions` questions, {glue:text}`n_noise` of them under noise, and small models are
# one training seed a family. Intervals do not hold what another draw of the noise would change:
# RID differs between draws by up to {glue:text}`draw_spread`.

# %% tags=["hide-input"]
MARKS = dict(zip(names, 3 * "osD^vP*X<>hpd8H", strict=False))


def draw_plane(ax, shown):
    for (name, module), cell in shown.groupby(groups):
        rid, mixig = (cell.set_index("quantity").loc[q] for q in BOTH)
        middle, (x, y) = "mean", (mixig, rid)
        across = [[x[middle] - x["low"]], [x["high"] - x[middle]]]
        along = [[y[middle] - y["low"]], [y["high"] - y[middle]]]
        ax.errorbar(x[middle], y[middle], xerr=across, yerr=along, lw=1,
                    fmt=MARKS[name], color=LOOKS[module][1], ms=6)  # fmt: skip
    ax.axvline(0, color="0.7", lw=1, zorder=0)
    # Numbers of five decimals: more of them would run into each other.
    ax.locator_params(axis="x", nbins=4)
    ax.set(xlabel=plots.axis_label("mixig"), ylabel=plots.axis_label("rid"))
    for label, color in LOOKS.values():
        ax.plot([], [], "s", color=color, label=label)
    for name in names:
        ax.plot([], [], MARKS[name], color="0.4", label=name)


# %% tags=["hide-input"]
LOOKS = {
    "attention": ("attention", plots.ATTENTION),
    "ffn": ("FFN", plots.FFN),
    "noise_delta": ("NoiseΔ", plots.OKABE_ITO[2]),
    "noise_qkv": ("NoiseQKV", plots.OKABE_ITO[3]),
    "noise_one_layer": ("NoiseΔ in one layer", plots.OKABE_ITO[4]),
}
means = points.groupby(["module", "quantity"])["mean"].agg(["min", "max"])
ranges = [f"{LOOKS[m][0]} {q} {low:.2g} to {high:.2g}" for (m, q), (low, high) in means.iterrows()]
fig, [ax] = plots.panels(1, row_height=5.4)
draw_plane(ax, points)
fig.legend(loc="outside lower left", ncols=2, frameon=False)
run.figure(
    fig,
    "plane",
    data=points,
    alt=f"RID against MixIG, one mark a model and module. Over models: {'; '.join(ranges)}.",
    caption="Each model's attention and FFN, and noise in attention's place: the counterpart of "
    "the paper's Figure 2. Means over depth, then over questions, with 95% intervals over images; "
    "where none is seen it is smaller than the mark. Colours tell modules apart, marks tell models "
    "apart.",
)

# %% [markdown]
# ## What is compared
#
# `attention` and `ffn` are the updates of a trained model. The paper sets two baselines beside
# them. **NoiseΔ** throws attention's update away and writes a Gaussian matrix with the same mean
# and standard deviation. **NoiseQKV** keeps the computation and throws away what was learned: every
# query, key and value matrix becomes a Gaussian matrix of the same mean and standard deviation.
# Biases and the output projection stay as they are. Section 4.2 adds that the mean of the noise is
# matched to that of attention's update in both cases, and refers to Theorem F.3. The released code
# takes no step for that with NoiseQKV, and neither do we: how far the theorem's argument carries is
# measured below.
#
# Both replace all layers at once, so that from the second layer on the noise is added to a state
# that is noise already. We add a third: **NoiseΔ in one layer** puts the noise into one layer at a
# time, after layers that were left alone. The paper does not say which of the two it measured.
#
# We fix what each model must show; the rule that makes one verdict of all models stands in
# {doc}`../reading`. Means are over layers, weighed so that the number of layers does not decide
# ({doc}`06_layerwise_curves`): neither end of the decoder weighs more than 1/28.
#
# - C071: under both baselines RID is above attention's *and* above the FFN's, and MixIG is below
#   zero, with 95% intervals that leave no doubt.
# - C073: the FFN's RID is above attention's and attention's MixIG above the FFN's, with intervals
#   of the difference that exclude zero.
# - Cells of Table 1: a number of the paper can be reproduced on published weights alone. There,
#   agreement is a distance of at most a tenth, as a mean or as a sum over layers: the whole
#   interval of the mean over all models lies that close.
#
# The models' own updates and noise in one layer are those of {doc}`06_layerwise_curves`, of
# {glue:text}`n_questions` questions. The baselines need passes of their own, and
# {glue:text}`n_noise` of these questions suffice for them. All were measured before, by
# `python -m lost_in_attention measure --model` and the model's name, and are read where they are of
# these very weights, questions and seed; the folded cell before the answer, where they are read,
# lists where the numbers come from.
#
# Some questions of {glue:text}`first_model` were asked again. Updates: {glue:text}`agreement`.
# Baselines: {glue:text}`noise_agreement`. Outputs and values: {glue:text}`averaging_agreement`.

# %% [markdown]
# ## Table 1: means or sums?
#
# MixIG telescopes: over all updates of a model it adds up to the entropy of the last state minus
# that of the first, at most $\log 2 \approx 0.693$ nats ({doc}`05_token_mixing`). Table 1's
# attention and FFN together have {glue:text}`table1_sum` nats. As means over the layers of one
# model that would make {glue:text}`table1_total` over {glue:text}`table1_layers` layers, far beyond
# the bound, in nats as in bits; as sums over layers it stays below the bound, but only for an input
# whose tokens lie nearly on one line. The paper says neither how layers are put together nor the
# base of its logarithm. We show both, and compare neither with the paper's size: a sum grows with
# the number of layers, and the models here have {glue:text}`n_layers`.

# %% tags=["hide-input"]
layer_sums = over_layers(measured, BOTH, [*groups, "draw"], how="sum")
sums = intervals(layer_sums, BOTH, groups, seed=seed)
columns = {}
for label, table in (("depth mean", points), ("layer sum", sums)):
    for quantity in BOTH:
        rows = table[table["quantity"] == quantity]
        cells = rows.apply(in_words, axis=1).tolist()
        columns[f"{quantity}, {label}"] = pd.Series(
            cells, index=pd.MultiIndex.from_frame(rows[groups])
        )
shown = pd.DataFrame(columns).reset_index()
shown["module"] = [LOOKS[module][0] for module in shown["module"]]
run.table(shown, "Means over depth and sums over layers, with 95% intervals")

# %% tags=["remove-cell"]
learned_sum = table1().loc[["attention", "ffn"], "mixig"].sum()
layers = 28
glue("table1_sum", f"{learned_sum:.2f}", display=False)
glue("table1_layers", layers, display=False)
glue("table1_total", f"{layers * learned_sum:.1f}", display=False)

# %% [markdown]
# ## What the noise figures are made of
#
# The next table takes the figures apart. NoiseΔ has the size of an attention update by
# construction. But in a state that is noise already the layer computes another update, so its
# moments drift from layer to layer, and the state that it is added to is not the one that attention
# meets.


# %% tags=["hide-input"]
def parts_of(own):
    """Means over some models, a row a module."""
    means = shared[shared["model"].isin(own)].groupby("module")[[*PARTS, *BOTH]].mean()
    return means.loc[list(LOOKS)].rename(index={m: look[0] for m, look in LOOKS.items()})


def ratio_of(quantity, one, other):
    """How many times another module's mean one module's is, for each kind of subject."""
    return apart(
        lambda own: f"{parts_of(own).loc[one, quantity] / parts_of(own).loc[other, quantity]:.2f}",
        names,
        run.evidence,
    )


kinds = run.evidence.by_subject(dict.fromkeys(names))
means = pd.concat({kind: parts_of(own) for kind, own in kinds.items()}, names=["subject"])
named = means.rename(columns=plots.axis_label).reset_index()
run.table(named, "Parts of RID, means over the models of a kind, same questions")
spread = (
    over_layers(measured[measured["module"].isin(BASELINES)], BOTH, [*groups, "draw"])
    .groupby([*groups, "draw"])[BOTH].mean().groupby(groups).agg(np.ptp)
)  # fmt: skip
glue("draw_spread", f"{spread['rid'].max():.3f}", display=False)
glue("n_draws", draws, display=False)
glue("one_layer_ratio", ratio_of("rid", "NoiseΔ in one layer", "NoiseΔ"), display=False)
glue("novelty_ratio", ratio_of("feature_novelty", "NoiseΔ", "attention"), display=False)
glue("crowded", ", ".join(crowded) or "none of these models", display=False)

# %% [markdown]
# Feature novelty is the mean over models with fewer tokens than features. Elsewhere
# ({glue:text}`crowded`) the row space is everything: feature novelty is zero by construction, for
# noise as for attention, and RID's support part is about the column space alone, as in no model of
# the paper.
#
# RID of noise in one layer, as a multiple of that of noise in all layers:
# {glue:text}`one_layer_ratio`. Novelty of NoiseΔ, as a multiple of attention's:
# {glue:text}`novelty_ratio`. Noise was drawn
# {glue:text}`n_draws` times; between draws a model's mean RID differs by at most
# {glue:text}`draw_spread`.
#
# ## Theorem F.3: are the two baselines alike?
#
# The theorem says that both baselines have the same mean. It argues in four steps, for one query
# with $N$ independent keys and values and attention weights $a_i$:
#
# 1. $\mathbb{E}[a_i] = 1/N$, because the keys are exchangeable.
# 2. $\mathbb{E}[y] = \mu_V$ for $y = \sum_i a_i v_i$, because values are independent of weights.
# 3. The mean of the *learned* output is $\mu_V$ too.
# 4. NoiseΔ has that mean by construction, so the means agree.
#
# Steps 1 and 2 hold in the setting they are stated in:


# %%
def theorem_setting(keys, size=32, trials=2000):
    """One query, independent Gaussian keys and values of mean 1/2."""
    random = np.random.default_rng(seed)
    query = random.standard_normal((trials, 1, size))
    scores = (random.standard_normal((trials, keys, size)) * query).sum(2) / size**0.5
    weights = np.exp(scores)
    weights /= weights.sum(1, keepdims=True)
    values = 0.5 + random.standard_normal((trials, keys))
    outputs = (weights * values).sum(1)
    error = 1.96 * outputs.std() / trials**0.5
    return {
        "keys N": keys,
        "N times mean weight of the first key": keys * weights[:, 0].mean(),
        "mean output (values: 0.5)": f"{outputs.mean():.3f} ± {error:.3f}",
        "variance of output / variance of values": outputs.var() / values.var(),
        "1 / N": 1 / keys,
    }


run.table(
    pd.DataFrame([theorem_setting(keys) for keys in (4, 16, 64, 256)]),
    "Steps 1 and 2 in their own setting: the mean holds, the variance shrinks",
)

# %% [markdown]
# The fourth column shows what the theorem leaves out. Means agree and variances do not: a weighted
# mean of independent values has the variance $\sum_i a_i^2$ times theirs, and that falls with $N$
# as $1/N$ does. NoiseΔ keeps the variance of the learned update. The theorem speaks of means alone;
# it does not say that the baselines are interchangeable, and the paper measures both. We ask about
# variances because RID depends on size: where it does, equal means do not make two baselines equal.
#
# Step 3 is an assumption, and the paper names it as one: weights centred at zero, or symmetry. From
# convexity alone it does not follow. A convex combination lies between its values; its mean over
# tokens is the mean of the values only if all values are used equally. And NoiseQKV, as Section 4.2
# has it, is not in the theorem's setting: the *weights* are drawn, not the keys, so tokens that
# look alike have keys and values that are alike, and they are not independent. Both can be
# measured. Below, the shift is $|\bar y - \bar v|$ in units of the spread of the values, and the
# variance ratio is the spread of outputs over that of values.

# %% tags=["hide-input"]
SHARES = {
    "mean_shift": "shift of mean (spreads)",
    "variance_ratio": "variance ratio",
}
LINES = {"learned": ("-", plots.OKABE_ITO[7]), "noise": ("--", plots.OKABE_ITO[3])}
shares = intervals(averages, list(SHARES), ["model", "weights", "layer"], seed=seed)
outer = shares.groupby(["quantity", "weights"])["mean"].agg(["min", "max"])
spans = [f"{SHARES[q]}, {w}: {a:.2g} to {b:.2g}" for (q, w), (a, b) in outer.iterrows()]

# %% tags=["hide-input"]
fig, axes = plots.panels(2, row_height=2.6)
for ax, (quantity, label) in zip(axes, SHARES.items(), strict=True):
    rows = shares[shares["quantity"] == quantity]
    for (name, weights), curve in rows.groupby(["model", "weights"]):
        style, color = LINES[weights]
        first = weights if name == names[0] else None
        depth = 100 * curve["layer"] / max(curve["layer"].max(), 1)
        ax.plot(depth, curve["mean"], style, color=color, lw=1.3, label=first)
    ax.set(xlabel="depth (% of layers)", ylabel=label, ylim=(0, None))
handles, _ = axes[0].get_legend_handles_labels()
fig.legend(handles, [f"{weights} weights" for weights in LINES], ncols=2,
           loc="outside lower center", frameon=False)  # fmt: skip
run.figure(
    fig,
    "theorem_f3",
    data=shares,
    alt=f"Lines over depth, one a model. {'; '.join(spans)}.",
    caption="Step 3 and the theorem's setting on models: how far the mean of the outputs is from "
    "the mean of the values, and how much averaging shrinks the variance.",
)

# %% tags=["remove-cell"]
tokens = measured.groupby("model")["tokens"].mean()
typical = averages.groupby(["weights", "model"])[list(SHARES)].mean()
shift = typical.loc["learned", "mean_shift"]
alone = {
    count: theorem_setting(count)["variance of output / variance of values"]
    for count in sorted(set(tokens.round().astype(int)))
}
OF_MODELS = {
    "f3_shift": (shift, ".2f"),
    "f3_chance": (tokens**-0.5, ".2f"),
    "f3_times": (shift * tokens**0.5, ".1f"),
    "f3_ratio_noise": (typical.loc["noise", "variance_ratio"], ".2f"),
    "f3_ratio_learned": (typical.loc["learned", "variance_ratio"], ".2f"),
    "f3_independent": (tokens.round().astype(int).map(alone), ".3f"),
}
for key, (each, form) in OF_MODELS.items():
    told = apart(lambda own, of=each, as_=form: ends(of[own], as_), names, run.evidence)
    glue(key, told, display=False)

# %% [markdown]
# How far is the mean shifted with learned weights, in spreads? {glue:text}`f3_shift`. Independent
# draws of as many tokens would shift it by about one over the root of their number
# ({glue:text}`f3_chance`); as a multiple of that the shift is {glue:text}`f3_times`. Of the
# variance of the values the outputs keep, with noise for weights, {glue:text}`f3_ratio_noise`, and
# with learned weights {glue:text}`f3_ratio_learned`. As many keys as a prompt has tokens would
# keep, in the setting of the table above, {glue:text}`f3_independent`; the early rows of a causal
# mask average fewer, and keep more.
#
# | part of Theorem F.3 | status |
# | --- | --- |
# | mean weight is $1/N$ | proved, for independent keys; not the setting of NoiseQKV |
# | $\mathbb{E}[y] = \mu_V$ under noise | proved, for values independent of the weights |
# | the learned output has mean $\mu_V$ | an assumption; its error is the shift above |
# | both baselines have equal means | follows from these three; of variances it says nothing |

# %% [markdown]
# ## The verdicts

# %%
from lost_in_attention.publishing.votes import opposite, unanimous

noise, modules = list(BASELINES), ["attention", "ffn"]
wide = shared.pivot(index=["model", "sample", "image_source"], columns="module", values=BOTH)
margins = pd.DataFrame(
    {
        "margin": wide["rid"][noise].min(axis=1) - wide["rid"][modules].max(axis=1),
        "mixig": wide["mixig"][noise].max(axis=1),
    }
).reset_index()
margins = intervals(margins, ["margin", "mixig"], ["model"], seed=seed)
margins = margins.set_index(["model", "quantity"])
run.table(
    interval_table(margins.reset_index(), "model", "quantity").reset_index(),
    "C071: least RID of the two baselines minus the larger of attention and FFN; "
    "the higher MixIG of the two baselines",
)


# %%
def sides(table):
    """For every row of a table of intervals: above zero, below, or open."""
    return {key: side_of(row["low"], row["high"]) for key, row in table.iterrows()}


# %%
found = sides(margins)
above_both = {name: found[name, "margin"] for name in names}
below_zero = {name: opposite(found[name, "mixig"]) for name in names}
noise_answers = {name: unanimous([above_both[name], below_zero[name]]) for name in names}
learned = per_sample[per_sample["module"].isin(modules)]
gaps = module_gaps(learned, BOTH, ["model"], seed=seed)
halves = labour_divided(gaps).loc[names]
later = over_layers(measured[measured["layer"] > 0], BOTH, groups)
later = later[later["module"].isin(modules)]
later = labour_divided(module_gaps(later, BOTH, ["model"], seed=seed)).loc[names]
roomy = [name for name in names if name not in crowded]
rows = interval_table(gaps, "model", "quantity")
run.table(
    rows.assign(**{"S ≥ H": ["yes" if n in crowded else "no" for n in rows.index]})
    .reset_index(),
    "C073: FFN minus attention over depth, with 95% intervals (S tokens, H features)",
)  # fmt: skip

# %% tags=["hide-input"]
run.claim(
    "C071",
    statement="Both noise baselines have RID well above the modules' and negative MixIG",
    paper=table1_words("noise_delta", "noise_qkv", "and"),
    measured=f"Have they? {tally(noise_answers, run.evidence)}",
    tolerance="RID above both modules, MixIG below 0, intervals clear",
    answers=noise_answers,
    questions=asked_under_noise,
    note="noise in all layers at once",
)
run.claim(
    "C073",
    statement="Attention has low RID and high MixIG, the FFN the reverse, in every model",
    paper=table1_words("attention", "ffn", "against"),
    measured="Is the FFN's RID above attention's and its MixIG below? Over depth, "
    f"{tally(halves['both'], run.evidence)}. Over layers 1 and later, "
    f"{tally(later['both'], run.evidence)}",
    tolerance="both differences in the paper's direction, intervals without 0",
    answers=halves["both"].to_dict(),
    note="RID with fewer tokens than features, as in published models: "
    f"{tally(halves.loc[roomy, 'rid'], run.evidence)}",
)

# %% tags=["hide-input"]
from lost_in_attention.publishing.votes import within


def cell_claim(module, quantity):
    paper = float(table1().loc[module, quantity])

    def means_of(own):
        """Mean over depth and sum over layers, over some models."""
        return [
            intervals(table[table["model"].isin(own)], [quantity], ["module"], seed=seed)
            .set_index("module").loc[module]
            for table in (per_sample, layer_sums)
        ]  # fmt: skip

    near = [within(r["low"], r["high"], paper, abs(paper) / 10) for r in means_of(names)]
    run.claim(
        f"T1.{module}.{quantity}",
        statement=f"{quantity} of {LOOKS[module][0]}",
        paper=paper,
        measured=apart(
            lambda own: "depth mean {}, layer sum {}".format(*map(in_words, means_of(own))),
            names,
            run.evidence,
        ),
        tolerance="interval within a tenth, as mean or as sum, on published weights",
        answers={"mean over models": True if True in near else unanimous(near)},
        questions=asked_under_noise if module in BASELINES else None,
        number=True,
    )


# %% tags=["hide-input"]
for module in table1().index:
    for quantity in BOTH:
        cell_claim(module, quantity)
run.claims_table()

# %% tags=["remove-cell"]
glue("verdict_c071", run.claims[0].verdict, display=False)
glue("verdict_c073", run.claims[1].verdict, display=False)
for half in ("rid", "mixig"):
    glue(f"gap_{half}", means_apart(gaps[gaps["quantity"] == half], run.evidence), display=False)
    glue(f"{half}_depth", how_many(halves[half].to_dict(), run.evidence), display=False)
roomy_answers = halves.loc[roomy, "rid"].to_dict()
glue("rid_roomy", how_many(roomy_answers, run.evidence), display=False)
glue("rid_later", how_many(later["rid"].to_dict(), run.evidence), display=False)
glue("noise_rid", how_many(above_both, run.evidence), display=False)
of_roomy = {name: above_both[name] for name in roomy}
glue("noise_roomy", how_many(of_roomy, run.evidence), display=False)
glue("noise_mixig", how_many(below_zero, run.evidence), display=False)

# %% [markdown]
# ## Exercises
#
# Where a function is asked for, the cell below its solution checks yours. `make exercises` writes
# this chapter without the solutions.
#
# ```{exercise} Which draw?
# :label: ex-which-draw
#
# *Warm-up, 5 minutes.* Run the notebook with `noise_seeds` at 5. Which of the two baselines depends
# more on the draw, and why would you expect that?
#
# :::{dropdown} Hint
# Count the random numbers that each baseline draws for one layer.
# :::
# ```
#
# ```{solution} ex-which-draw
# :class: dropdown
#
# Look at `spread`. NoiseΔ averages over as many numbers as the update has entries. NoiseQKV draws
# few matrices, and every token goes through the same ones.
# ```
#
# ```{exercise} Noise with the moments of each feature
# :label: ex-feature-noise
#
# *Warm-up, 15 minutes.* NoiseΔ has one mean and one standard deviation for a whole update. Write
# `feature_noise(update, seed)`: Gaussian noise whose every feature has the mean and the standard
# deviation that this feature has in the update.
#
# :::{dropdown} Hint
# Tokens are rows. Which dimension has to be averaged away? A `torch.Generator` takes the seed.
# :::
# ```
#
# ```{solution} ex-feature-noise
# :class: dropdown
#
# The moments are those over tokens, dimension 0. This noise keeps what is common to all tokens, a
# matrix of rank one, and the scale of each feature, and forgets which token had what. A later
# exercise asks what that does to RID.
# ```

# %% tags=["solution", "hide-input"]
import torch


def feature_noise(update, seed):
    """Gaussian noise of the shape of `update` (tokens x features); a seed gives one noise."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(update.shape, generator=random, dtype=update.dtype)
    return update.mean(0) + update.std(0) * noise


# %% tags=["exercise-check"]
from lost_in_attention.teaching.modulewise import check_feature_noise

check_feature_noise(feature_noise)

# %% [markdown]
# ```{exercise} Question by question, image by image
# :label: ex-paired-interval
#
# *Medium, 25 minutes.* Write `paired_interval(ffn, attention, images)`: the mean of FFN minus
# attention over questions and the ends of its interval, 1.96 standard errors to either side.
# `images` names the image of each question, and all images have as many questions. Questions on one
# image are not independent: asking each of them twice must not make the interval narrower.
#
# :::{dropdown} Hint
# Two steps turn this into a textbook problem: one takes away what both modules share on a question,
# the other leaves one number for each image.
# :::
# ```
#
# ```{solution} ex-paired-interval
# :class: dropdown
#
# Take differences first: what makes a question large for both modules cancels. Then average them
# within an image; the images are the independent observations, so the standard error is
# $s / \sqrt{n}$ with $n$ images and the standard deviation $s$ of their means (with $n - 1$). The
# chapter resamples images instead, which needs no normal distribution and gives about the same.
# ```

# %% tags=["solution", "hide-input"]
import numpy as np


def paired_interval(ffn, attention, images):
    """Mean, low and high of FFN minus attention (arrays, a value a question)."""
    gaps, names = np.asarray(ffn) - np.asarray(attention), np.asarray(images)
    means = np.array([gaps[names == name].mean() for name in np.unique(names)])
    half = 1.96 * means.std(ddof=1) / np.sqrt(len(means))
    return means.mean(), means.mean() - half, means.mean() + half


# %% tags=["exercise-check"]
from lost_in_attention.teaching.modulewise import check_paired_interval

check_paired_interval(paired_interval)

# %% [markdown]
# ```{exercise} Noise of one mean
# :label: ex-noise-of-one-mean
#
# *Medium, 20 minutes.* Replace `gaussian_like` by noise with the mean and standard deviation of
# *each feature* of the update. Does NoiseΔ's RID fall? Which part of the update did the noise keep
# that it did not keep before?
#
# :::{dropdown} Hint
# Write it as a control, a function of $X$ and $\Delta X$, and hand it to
# `measure(..., controls=...)`; `feature_noise` above does the drawing.
# :::
# ```
#
# ```{solution} ex-noise-of-one-mean
# :class: dropdown
#
# It keeps the mean over tokens, a matrix of rank one, and the scale of every feature. A large part
# of an update can lie there. Report RID with both kinds of noise side by side; the difference says
# how much of the first figure came from noise in features that the model leaves alone.
# ```
#
# ```{exercise} The theorem's setting
# :label: ex-the-theorems-setting
#
# *Research, 40 minutes.* Draw keys and values independently for every token, with the moments of
# the learned ones, instead of drawing weights (hooks on `k_proj` and `v_proj`). Is the variance
# ratio now near $1/N$? What does the causal mask do to it?
#
# :::{dropdown} Hint
# A forward hook may return another output. Draw one Gaussian for each feature of the module's
# output, with that feature's moments over tokens.
# :::
#
# Rubric (10 points): the ratio that the theorem predicts under a causal mask, worked out before the
# run (3); the ratio of each layer with an interval over images (3); the learned keys and values
# beside it, as a control (2); which assumption of the theorem you could not meet (2).
# ```
#
# ```{solution} ex-the-theorems-setting
# :class: dropdown
#
# The ratio falls towards the mean of $1/t$ over positions $t$, because token $t$ sees $t$ keys.
# That is about $(\log S + 0.58)/S$, larger than $1/S$.
# ```
