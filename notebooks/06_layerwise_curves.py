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
# - **Verdict** on claim C073: {glue:text}`verdict_c073`. The other claims are in the last table.
# - **Takes** less than a minute and 2 GB at tier `book`: most numbers were measured before.
#
# You will
#
# 1. measure what every update of several trained models does to the residual stream,
# 2. see how much of RID comes from the spectrum and how much from the support, and split the
#    support's part into the size of an update and its novelty,
# 3. see in which layers the curves peak, and how far models of one recipe differ when only the
#    training seed does.
#
# You need {doc}`01_residual_stream`. The symbols are in {doc}`../notation`.

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from myst_nb import glue

from lost_in_attention.models.shipped import recipe_of
from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.paper import claimed, table1, table1_words
from lost_in_attention.publishing.votes import (
    apart,
    ends,
    how_many,
    interval_table,
    labour_divided,
    means_apart,
    tally,
)
from lost_in_attention.residual.measurements import Updates, own_updates
from lost_in_attention.residual.tables import (
    crowded_models,
    intervals,
    module_gaps,
    over_layers,
    without_forced_zeros,
)
from lost_in_attention.runs.files import replaced_when_complete

# %% tags=["parameters"]
tier = "book"
models = "pretrained,zoo"
source = "own"
questions = 150
live = 4
seed = 0
output = "book/generated"

# %%
run = report.start("06_layerwise_curves", globals())
names = run.models
samples = run.drawn("pope", source, questions, smoke=8)

# %% tags=["hide-cell"]
[updates] = run.measured((Updates(), samples), live=live)

# %% tags=["hide-input"]
QUANTITIES = [
    "rid",
    "spectrum_change",
    "support_innovation",
    "mixig",
    "size",
    "token_novelty",
    "feature_novelty",
]
measured = without_forced_zeros(own_updates(updates.table))
crowded = crowded_models(measured)
with replaced_when_complete(Path(output) / run.notebook / "measured.parquet") as part:
    measured.to_parquet(part)
# Questions on one image share most of their tokens: whole images are resampled.
curves = intervals(measured, QUANTITIES, ["model", "layer", "module"], seed=seed)


# %% tags=["remove-cell"]
def spelled(numbers):
    """The range of several whole numbers."""
    return " to ".join(str(n) for n in sorted({min(numbers), max(numbers)}))


recipes = {}
for name in names:
    recipes.setdefault(recipe_of(name), []).append(name)
repeated = {recipe: group for recipe, group in recipes.items() if len(group) > 1}
measured = measured.assign(full_rank=measured["rank"] == measured["tokens"])
roomy = [name for name in names if name not in crowded]
full_rank = measured.groupby("model")["full_rank"].mean()
deficient = measured[measured["model"].isin(roomy) & ~measured["full_rank"]]
where_deficient = "; ".join(
    f"{name}, layers {own['layer'].min()} to {own['layer'].max()}"
    for name, own in deficient.groupby("model", sort=False)
)
first = measured[(measured["layer"] == 0) & (measured["module"] == "attention")]
counts = measured.groupby("model")[["sample", "image_source"]].nunique()
layers = sorted(measured.groupby("model")["layer"].max() + 1)
glue("first_model", names[0], display=False)
glue("agreement", updates.agreement, display=False)
glue("end_weighs", " or ".join(f"1/{n}" for n in dict.fromkeys(layers)), display=False)
glue("n_questions", int(counts["sample"].max()), display=False)
glue("n_images", spelled(counts["image_source"]), display=False)
glue("n_models", len(names), display=False)
glue("n_recipes", len(recipes), display=False)
glue("n_tokens", spelled(measured["tokens"]), display=False)
told = apart(lambda own: ends(full_rank[own], ".1%"), roomy, run.evidence)
glue("full_rank", told, display=False)
glue("where_deficient", where_deficient or "nowhere", display=False)
glue("first_token_novelty", f"{first['token_novelty'].mean():.3f}", display=False)
glue("crowded", ", ".join(crowded) or "none", display=False)
glue("n_crowded", len(crowded), display=False)
glue("paper_attention", float(table1().loc["attention", "mixig"]), display=False)
glue("paper_ffn", float(table1().loc["ffn", "mixig"]), display=False)


# %% tags=["hide-input"]
def draw_curve(ax, rows, member):
    """One model's two curves; models of one recipe share a panel and differ in their marks."""
    for module, curve in rows.groupby("module"):
        look = plots.MODULES[module] | {"marker": "os^Dv"[member % 5]}
        depth = 100 * curve["layer"] / max(curve["layer"].max(), 1)
        plots.band(ax, depth, curve, look | {"lw": 1.3, "ms": 3.5})


def draw_rows(grid, shown):
    """A row of panels a recipe, a column a quantity."""
    for axes, (recipe, group) in zip(grid, recipes.items(), strict=True):
        for ax, quantity in zip(axes, shown, strict=True):
            rows = curves[curves["quantity"] == quantity]
            for member, model in enumerate(group):
                draw_curve(ax, rows[rows["model"] == model], member)
        axes[0].set_ylabel(recipe.removeprefix("small-").rsplit("/")[-1])
    for top, bottom, quantity in zip(grid[0], grid[-1], shown, strict=True):
        top.set_title(plots.axis_label(quantity))
        bottom.set_xlabel("depth (% of layers)")


# %% tags=["hide-input"]
def peaks_alt(rows):
    """Where every curve is highest."""
    tops = rows.loc[rows.groupby(["quantity", "model", "module"])["mean"].idxmax().to_numpy()]
    return "; ".join(
        f"{plots.axis_label(row['quantity'])}, {row['model']}, "
        f"{plots.MODULES[row['module']]['label']}: {row['mean']:.2g} at layer {row['layer']}"
        for _, row in tops.iterrows()
    )


def draw(name, shown, caption):
    rows, width = len(recipes), 3.2 * len(shown)
    shared = {"squeeze": False, "sharex": True, "sharey": "col"}
    size = (width, 0.9 + 1.75 * rows)
    fig, grid = plt.subplots(rows, len(shown), figsize=size, layout="constrained", **shared)
    draw_rows(grid, shown)
    looks = [look | {"marker": ""} for look in plots.MODULES.values()]
    lines = [plt.Line2D([], [], **look) for look in looks]
    fig.legend(handles=lines, ncols=2, loc="outside lower center", frameon=False)
    data = curves[curves["quantity"].isin(shown)].dropna(subset="mean")
    alt = f"Curves over layers, a row of panels a recipe. Highest: {peaks_alt(data)}."
    run.figure(fig, name, data=data, alt=alt, caption=caption)


# %% [markdown]
# ## The answer
#
# As means over depth the FFN's {term}`RID` is above attention's in {glue:text}`rid_yes`, and
# where tokens are fewer than features, as in published models, in {glue:text}`rid_roomy`.
# Attention's {term}`MixIG` is above the FFN's in {glue:text}`mixig_yes`. Both halves of the
# paper's claim C073 together hold over depth in {glue:text}`both_depth`, with all layers alike in
# {glue:text}`both_plain`, and over layers 1 and later in {glue:text}`both_later`. But a higher
# RID need not mean that a module writes what is new: FFN minus attention is, in the {term}`size`
# of updates (a ratio), {glue:text}`gap_size`, and in feature {term}`novelty`,
# {glue:text}`gap_novelty`.
#
# Is attention's MixIG strong in layer 0, by its absolute value (C016)? {glue:text}`said_c016`; it
# is negative there in {glue:text}`first_negative`. Is it strong around 40% of the depth more than
# elsewhere (C017)? {glue:text}`said_c017`. The scale of MixIG cannot be compared with Table 1, and
# what one token makes of RID in a pretrained decoder is told in {doc}`17_sink`.

# %% tags=["hide-input"]
draw(
    "rid_mixig",
    ["rid", "mixig"],
    "RID and MixIG by layer, the curves of Figure 3a, a row a recipe. Training seeds of one "
    "recipe lie in one panel, with different marks.",
)

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
# from $X_\mathrm{attn}$ to $X_\mathrm{ffn}$, as Section 4.2 says. The questions are existence
# questions, for each model in the world that it was trained on; the images were held out.
#
# We fix what each model must show; the rule that makes one verdict of all models stands in
# {doc}`../reading`.
#
# - C073: the FFN's RID is above attention's *and* attention's MixIG is above the FFN's, both as
#   means over layers, with 95% intervals of the difference that exclude zero.
# - C016: attention's MixIG at layer 0 is, in absolute value, among the largest quarter of layers,
#   in at least 97.5% of bootstrap resamples of the images (no: in at most 2.5%).
# - C017: a layer between 30% and 50% of the depth is among them, in as many resamples. Where fewer
#   than three layers lie in that range, or half of all ranges of as many layers hold such a layer
#   too, the range cannot be told from others, and the answer stays open.
#
# **How layers are weighed.** The first and the last layer are unlike those between. In a plain mean
# each of them weighs {glue:text}`end_weighs` in the models here, and 1/28 to 1/64 in the paper's. A
# mean over all layers is then partly a statement about how many there are. So neither end gets a
# weight above 1/28, and the layers between share the rest alike; from 28 layers on that is the
# plain mean. We chose this after the curves of the first models had been seen. The plain mean, and
# the mean over layers 1 and later, are therefore shown beside it.
#
# ## Measured once, read here
#
# To measure takes minutes in a small model and up to an hour in a large one. So it is done once, by
# `python -m lost_in_attention measure --model` and the model's name, and the tables are kept in
# `data/results/measured` with their origin. A table is read only where it is of these very weights
# and questions and of the same seed; otherwise the model is measured now. The table folded above
# the answer says which.
#
# The numbers of this chapter are those of the models' *own* updates, as
# `measure(vlm, samples)` gives them. Some questions of {glue:text}`first_model` were asked again:
# {glue:text}`agreement`. Batches of other questions are padded to other lengths, so that sums round
# differently.
#
# Measured were {glue:text}`n_models` trained models of {glue:text}`n_recipes` recipes, each with
# {glue:text}`n_questions` questions on {glue:text}`n_images` images, of {glue:text}`n_tokens`
# tokens. Bands are 95% bootstrap intervals of the mean over images. They say how well the mean is
# known for that one trained model. How far it moves with the training seed is another question,
# asked below.
#
# ## RID and MixIG
#
# MixIG cannot exceed $\log 2 \approx 0.693$ nats in absolute value, for any update of any model,
# and over all updates of a model it adds up to one difference of two entropies. The paper's Table 1
# has {glue:text}`paper_attention` for attention and {glue:text}`paper_ffn` for the FFN, and does
# not say how layers are put together. As means over 28 layers they would add up to far more than
# the bound ({doc}`07_modulewise`), so we do not compare the scale of the right panels of the figure
# under the answer with Table 1. Signs and order can be compared.
#
# ## Where RID comes from

# %% tags=["hide-input"]
draw(
    "rid_parts",
    ["spectrum_change", "support_innovation"],
    "The two parts of RID: the change of effective rank, and what lies outside the old support.",
)

# %% [markdown]
# Where tokens are fewer than features, most states after an update have as high a rank as they have
# tokens ({glue:text}`full_rank`). Then the column space of $X$ is everything,
# $(I - P_\mathcal{C})X' = 0$, and support innovation cannot exceed one half. There are three
# exceptions. In the input of layer 0 a word that occurs twice gives two equal rows; attention tells
# them apart, and the column term is not zero (mean token novelty
# {glue:text}`first_token_novelty`). In some layers a state has a lower rank than tokens
# ({glue:text}`where_deficient`): beside a massive activation ({doc}`17_sink`) the smallest of the
# other directions fall below the {term}`rank rule` ({doc}`03_projectors`).
# And a prompt may have at least as many tokens as features: {glue:text}`crowded`. There the row
# space is everything, the other term vanishes, and support innovation is about the column space
# alone. No model of the paper is in that case: they have thousands of features. So what these
# {glue:text}`n_crowded` models say of RID is about another term than in the paper, and they are
# told apart wherever RID is counted.
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

# %% tags=["hide-input"]
draw(
    "size_novelty",
    ["size", "feature_novelty"],
    "The two factors of support innovation: how large an update is, "
    "and how much of it is new. Feature novelty has no curve where there are at least as many "
    "tokens as features: it is zero there by construction.",
)

# %% [markdown]
# ## The numbers
#
# Means over layers for each question, weighed by depth as said above, then over questions;
# differences are taken question by question. *No value*: feature novelty in models with at least as
# many tokens as features.


# %% tags=["hide-input"]
def gap_table(per_sample, caption):
    """FFN minus attention, and the table of it for every model and quantity."""
    gaps = module_gaps(per_sample, QUANTITIES, ["model"], seed=seed)
    shown = interval_table(gaps, "model", "quantity").loc[names, QUANTITIES]
    run.table(shown.rename(columns=plots.axis_label).reset_index(), caption)
    return gaps


# %%
from lost_in_attention.residual.depth import in_range, layer_weights, over_depth

per_sample = over_depth(measured, QUANTITIES, ["model", "module"])
levels = intervals(per_sample, ["rid", "mixig"], ["model", "module"], seed=seed)
shown = interval_table(levels, "model", ["quantity", "module"]).loc[names]
shown.columns = [f"{plots.axis_label(q)}, {plots.MODULES[m]['label']}" for q, m in shown.columns]
run.table(shown.reset_index(), "Means over depth with 95% intervals")
gaps = gap_table(per_sample, "FFN minus attention over depth, with 95% intervals")

# %% tags=["remove-cell"]
for key, quantity in (("size", "size"), ("novelty", "feature_novelty")):
    own = gaps[gaps["quantity"] == quantity].dropna(subset="mean")
    glue(f"gap_{key}", means_apart(own, run.evidence), display=False)

# %% [markdown]
# A mean over layers does not say how many layers it rests on. The next table does: in how many
# layers a model's curves are in the order that the paper gives, and how much of the difference the
# three layers make that make most of it. More than 100% means that others take some of it away.


# %% tags=["hide-input"]
def carried_by(own, quantity, sign):
    """In how many layers the difference has the sign, and what three make of their sum."""
    wide = own.pivot_table(quantity, "layer", "module")
    by_layer = sign * (wide["ffn"] - wide["attention"])
    parts = by_layer * layer_weights(len(by_layer))
    top = parts.nlargest(3)
    if parts.sum() <= 0:
        return f"{(by_layer > 0).sum()} of {len(by_layer)}", "no such difference"
    named = ", ".join(map(str, sorted(top.index)))
    return f"{(by_layer > 0).sum()} of {len(by_layer)}", f"{named}: {top.sum() / parts.sum():.0%}"


rows = []
for name in names:
    own = measured[measured["model"] == name]
    row = {"model": name}
    for quantity, sign, order in (
        ("rid", 1, "FFN's RID above"),
        ("mixig", -1, "FFN's MixIG below"),
    ):
        row[f"{order}, layers"], row[f"{order}, from"] = carried_by(own, quantity, sign)
    rows.append(row)
run.table(pd.DataFrame(rows), "How many layers the difference rests on")

# %% [markdown]
# ## How far the training seed moves it
#
# {glue:text}`seeds_said`

# %% tags=["remove-cell"]
SEEDS_SAID = "Each recipe was trained with one seed here, so that nothing can be said about seeds."
if repeated:
    counts = [f"{recipe} with {len(group)}" for recipe, group in repeated.items()]
    SEEDS_SAID = (
        f"Trained with several seeds: {', '.join(counts)}. The table sets the spread of FFN minus "
        "attention over seeds (largest minus smallest) beside the width of one model's interval. "
        "Where the spread is the larger one, the interval of one model understates what another "
        "training would give. Seeds also differ in how much they learned (their accuracies stand "
        "with the models' cards), and the spread holds that too."
    )
glue("seeds_said", SEEDS_SAID, display=False)

# %% tags=["hide-input"]
found = gaps.dropna(subset="mean").assign(
    width=gaps["high"] - gaps["low"], recipe=gaps["model"].map(recipe_of)
)
spread = found.groupby(["recipe", "quantity"]).agg(
    seeds=("model", "count"),
    lowest=("mean", "min"),
    highest=("mean", "max"),
    mean_width=("width", "mean"),
)
spread = spread.loc[list(recipes)].reset_index()
spread["spread over seeds"] = (spread["highest"] - spread["lowest"]).where(spread["seeds"] > 1)
spread = spread[spread["quantity"].isin(["rid", "mixig", "size", "feature_novelty"])]
spread["quantity"] = spread["quantity"].map(plots.axis_label)
columns = {"mean_width": "width of one model's interval"}
run.table(
    spread.rename(columns=columns).replace({float("nan"): "one seed"}),
    "FFN minus attention over training seeds",
)

# %% [markdown]
# ## Where the peaks lie
#
# The layer where a curve's mean is largest in absolute value, over all layers and without layer 0,
# as a share of the depth. The last column is the share of questions whose own curve has its largest
# value after layer 0 in that same layer: where it is low, the peak is one of the mean only.


# %%
def peak(rows, quantity):
    """Where one model's module peaks, as a row of the table."""
    wide = rows.pivot(index="sample", columns="layer", values=quantity)
    strength, last = wide.mean().abs(), max(wide.columns)
    top, later = strength.idxmax(), strength.drop(0).idxmax()
    own = wide.drop(columns=0).abs().idxmax(axis=1)
    return {
        "peak (layer)": top,
        "peak after layer 0 (layer)": later,
        "depth of the latter (%)": 100 * later / last,
        "questions that agree": f"{(own == later).mean():.0%}",
        "rank of layer 0": int(strength.rank(ascending=False)[0]),
        "layers": last + 1,
    }


# %% tags=["hide-input"]
peaks = pd.DataFrame(
    {"model": name, "module": module, "quantity": quantity} | peak(rows, quantity)
    for quantity in ("rid", "mixig")
    for name in names
    for module, rows in measured[measured["model"] == name].groupby("module")
)
labels = {"module": lambda m: plots.MODULES[m]["label"], "quantity": plots.axis_label}
shown = peaks.assign(**{c: peaks[c].map(say) for c, say in labels.items()})
run.table(shown, "Peaks of the curves")

# %% [markdown]
# ## Both halves of C073, under three weightings
#
# The first question is whether the FFN's RID is above attention's, the second whether attention's
# MixIG is above the FFN's. Each cell says of each kind of subject whether the interval says yes,
# says no, or leaves it open, and counts models where there are several.

# %%
LAYERS = {
    "over depth": per_sample,
    "all layers alike": over_layers(measured, QUANTITIES, ["model", "module"]),
    "layers 1 and later": over_layers(
        measured[measured["layer"] > 0], QUANTITIES, ["model", "module"]
    ),
}
answered = {
    label: labour_divided(module_gaps(table, ["rid", "mixig"], ["model"], seed=seed)).loc[names]
    for label, table in LAYERS.items()
}


# %% tags=["hide-input"]
rows = [
    {
        "layers": label,
        "RID: FFN above attention": tally(halves["rid"], run.evidence),
        "the same, fewer tokens than features": tally(halves.loc[roomy, "rid"], run.evidence),
        "MixIG: attention above FFN": tally(halves["mixig"], run.evidence),
        "both": tally(halves["both"], run.evidence),
    }
    for label, halves in answered.items()
]
run.table(pd.DataFrame(rows), "Claim C073: what each kind of subject says")
WORD = {True: "yes", False: "no", None: "open"}
table = pd.DataFrame({"model": names, "S ≥ H": [n in crowded for n in names]})
table["S ≥ H"] = table["S ≥ H"].map({True: "yes", False: "no"})
for label, halves in answered.items():
    for half, title in (("rid", "RID"), ("mixig", "MixIG")):
        table[f"{title}, {label}"] = [WORD[answer] for answer in halves[half]]
run.table(table, "Claim C073, model by model (S tokens, H features)")

# %% tags=["remove-cell"]
halves, later = answered["over depth"], answered["layers 1 and later"]
asked = {
    "rid_yes": halves["rid"],
    "rid_roomy": halves.loc[roomy, "rid"],
    "mixig_yes": halves["mixig"],
    "both_depth": halves["both"],
    "both_plain": answered["all layers alike"]["both"],
    "both_later": later["both"],
}
for key, found in asked.items():
    glue(key, how_many(found.to_dict(), run.evidence), display=False)
same = answered["all layers alike"] == answered["layers 1 and later"]
glue("rid_turned", int((~same["rid"]).sum()), display=False)
glue("mixig_turned", int((~same["mixig"]).sum()), display=False)

# %% [markdown]
# Taking layer 0 away from the plain mean turns the answer of {glue:text}`rid_turned` models in RID
# and of {glue:text}`mixig_turned` in MixIG: the plain mean of few layers hangs on one of them.
# Compare the columns of size and feature novelty above: which of the two follows RID?
#
# ## The verdicts

# %%
from lost_in_attention.residual.depth import (
    first_is_strong,
    holds_for_mean,
    range_answer,
    ranges_with_strong,
)

mixing = measured[measured["module"] == "attention"]
by_model = {name: mixing[mixing["model"] == name] for name in names}
answers = {
    "C073": answered["over depth"]["both"].to_dict(),
    "C016": {
        name: holds_for_mean(rows, "mixig", first_is_strong, seed=seed)
        for name, rows in by_model.items()
    },
    "C017": {
        name: range_answer(rows, "mixig", 0.3, 0.5, seed=seed) for name, rows in by_model.items()
    },
}

# %% tags=["hide-input"]
attention = peaks.query("module == 'attention' and quantity == 'mixig'")
attention = attention.set_index("model")


def listed(column, ending=""):
    """A peak's number in each model, the kinds of subjects apart."""
    return apart(
        lambda own: ", ".join(f"{value:.0f}{ending}" for value in attention.loc[own, column]),
        names,
        run.evidence,
    )


def other_ranges(own):
    """How many ranges of as many layers hold a strong one, model by model."""
    counts = []
    for name in own:
        curve = by_model[name].groupby("layer")["mixig"].mean().to_numpy()
        width = int(in_range(len(curve), 0.3, 0.5).sum())
        counts.append("{} of {}".format(*ranges_with_strong(curve, width)))
    return ", ".join(counts)


said = {claim: tally(each, run.evidence) for claim, each in answers.items()}
glue("said_c016", said["C016"], display=False)
glue("said_c017", said["C017"], display=False)
first_mixig = curves.query("layer == 0 and module == 'attention' and quantity == 'mixig'")
below_zero = {row.model: row.high < 0 for row in first_mixig.itertuples()}
glue("first_negative", how_many(below_zero, run.evidence), display=False)


# %% tags=["hide-input"]
run.claim(
    "C073",
    statement="Attention has low RID and high MixIG, the FFN the reverse",
    paper=table1_words("attention", "ffn", "against"),
    measured="Is the FFN's RID above attention's and its MixIG below? Over depth, "
    f"{said['C073']}. Over layers 1 and later, {tally(later['both'], run.evidence)}",
    tolerance="both differences in the paper's direction, intervals without 0",
    answers=answers["C073"],
    note="RID with fewer tokens than features, as in published models: "
    f"{tally(halves.loc[roomy, 'rid'], run.evidence)}",
)

# %% tags=["hide-input"]
run.claim(
    "C016",
    statement="Layer 0 reconfigures strongly",
    paper=f"layer {claimed('C016'):g} named",
    measured=f"Is layer 0 among the strongest by attention's |MixIG|? {said['C016']}. "
    f"Its rank, {listed('rank of layer 0')}",
    tolerance="among the largest quarter of layers in 97.5% of resamples",
    answers=answers["C016"],
)
run.claim(
    "C017",
    statement="Layers around this share of the depth reconfigure strongly",
    paper=f"{claimed('C017'):g}%",
    measured=f"Is one of them among the strongest quarter? {said['C017']}. So many ranges of as "
    f"many layers hold one, {apart(other_ranges, names, run.evidence)}. The strongest layer after "
    f"layer 0 lies at, {listed('depth of the latter (%)', '%')}",
    tolerance="a layer between 30% and 50% in 97.5% of resamples, not so in half of all ranges",
    answers=answers["C017"],
)
run.claims_table()

# %% tags=["remove-cell"]
glue("verdict_c073", run.claims[0].verdict, display=False)

# %% [markdown]
# ## Exercises
#
# Where a function is asked for, the cell below its solution checks yours. `make exercises` writes
# this chapter without the solutions.
#
# ```{exercise} Read the product
# :label: ex-read-the-product
#
# *Warm-up, 5 minutes.* Choose a model. At the layer where its FFN's support innovation is largest,
# is it the size or the novelty that makes it so? Use the figure's data.
#
# :::{dropdown} Hint
# `curves` has a row for each model, layer, module and quantity.
# :::
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
# ```{exercise} How much the ends weigh
# :label: ex-depth-weights
#
# *Warm-up, 10 minutes.* Write `depth_weights(layers)`: the weights of a mean over depth as this
# chapter takes it, for three layers or more. With 8 layers, how much more does a layer in the
# middle weigh than in the plain mean?
#
# :::{dropdown} Hint
# First settle what the two ends get, for 8 layers and for 64. What is left goes to the others
# alike.
# :::
# ```
#
# ```{solution} ex-depth-weights
# :class: dropdown
#
# An end gets $1/28$, or $1/L$ where that is less. With 8 layers a layer between gets
# $(1 - 2/28)/6 = 0.155$ in place of $0.125$. The rule takes from the ends what would depend on how
# many layers the model happens to have.
# ```


# %% tags=["solution", "hide-input"]
def depth_weights(layers):
    """The weight of each layer (a list) in a mean over depth, for at least three layers."""
    end = min(1 / 28, 1 / layers)
    between = (1 - 2 * end) / (layers - 2)
    return [end, *[between] * (layers - 2), end]


# %% tags=["exercise-check"]
from lost_in_attention.teaching.layerwise_curves import check_depth_weights

check_depth_weights(depth_weights)

# %% [markdown]
# ```{exercise} Who mixes
# :label: ex-gains-by-module
#
# *Medium, 20 minutes.* Write `gains_by_module(states)`: MixIG in nats, summed over all attention
# updates and over all FFN updates, for the $2L + 1$ states of a model in order. What do the two
# numbers add up to? So what can no model have, whatever it does?
#
# :::{dropdown} Hint
# `token_mixing_entropy` in `lost_in_attention.metrics.mixing` gives the TME of one state. Attention
# writes the first update, the FFN the second.
# :::
# ```
#
# ```{solution} ex-gains-by-module
# :class: dropdown
#
# All gains together telescope to $\mathrm{TME}(X_\mathrm{last}) - \mathrm{TME}(X_\mathrm{first})$,
# which lies within $\pm\log 2$. So two modules cannot both have a large positive MixIG, summed over
# layers: what the one gains, the other has to give back.
# ```

# %% tags=["solution", "hide-input"]
from itertools import pairwise

from lost_in_attention.metrics.mixing import token_mixing_entropy


def gains_by_module(states):
    """MixIG in nats over all layers, of attention and of the FFN, from the states in order."""
    entropies = [token_mixing_entropy(x) for x in states]
    gains = [after - before for before, after in pairwise(entropies)]
    return sum(gains[0::2]), sum(gains[1::2])


# %% tags=["exercise-check"]
from lost_in_attention.teaching.layerwise_curves import check_gains_by_module

check_gains_by_module(gains_by_module)

# %% [markdown]
# ```{exercise} Sum it up
# :label: ex-sum-it-up
#
# *Medium, 15 minutes.* Show from `measured` that MixIG, summed over all modules and layers of one
# question, equals the TME of the last state minus that of the first. Check with
# `abs(total - difference) < 1e-9`.
#
# :::{dropdown} Hint
# TME of the first state is the `tme` of layer 0's attention minus its `mixig`.
# :::
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
#
# :::{dropdown} Hint
# Ask the same samples twice, with `tokens="all"` and `tokens="visual"`, and compare question by
# question. What does the rank of $X$ become with fewer rows?
# :::
#
# Rubric (10 points): which order you expect among the visual rows, written before the run (2); FFN
# minus attention for both subsets with intervals over images (3); a control that takes as many rows
# at random, visual or not (3); what a change would not show, since $S$ differs (2).
# ```
#
# ```{solution} ex-only-the-picture
# :class: dropdown
#
# Report both with intervals. With fewer rows the row space of $X$ is smaller, so the same update
# leaves it more easily: novelty rises for geometric reasons alone. As many rows drawn at random
# share that effect, so what visual rows do beyond it is about pictures. Compare modules at one
# token subset, not across subsets.
# ```
