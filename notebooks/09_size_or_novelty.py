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
# # Size or novelty?
#
# - **Covers** Section 4.2 of the paper, observation 2: attention preserves the subspace, the FFN
#   expands it.
# - **Verdict** none: this goes beyond what the paper claims. Claim C073, about updates as they are,
#   has its verdicts in {doc}`06_layerwise_curves` and {doc}`07_modulewise`.
# - **Takes** less than a minute and 2 GB at tier `book`: most numbers were measured before.
#
# You will
#
# 1. split support innovation into the size of an update and its novelty, in every layer of every
#    model,
# 2. hold the size fixed, and see what is left of the difference between attention and FFN,
# 3. compare both modules with updates that point anywhere.
#
# You need {doc}`04_rid` and {doc}`06_layerwise_curves`.

# %%
import pandas as pd
from myst_nb import glue

from lost_in_attention.evaluation.sink_store import has_sinks, read_sinks
from lost_in_attention.models.registry import folder_name
from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.forest import forest
from lost_in_attention.publishing.votes import (
    how_many,
    in_words,
    interval_table,
    means_apart,
    opposite,
    side_of,
    tally,
    unanimous,
)
from lost_in_attention.residual.depth import over_depth
from lost_in_attention.residual.measurements import Updates
from lost_in_attention.residual.sink_parts import gap_parts
from lost_in_attention.residual.tables import crowded_models, intervals, module_gaps, over_layers

# %% tags=["parameters"]
tier = "book"
models = "pretrained,families"
source = "own"
questions = 150
size = 0.3
live = 2
seed = 0
output = "book/generated"

# %% tags=["hide-cell"]
run = report.start("09_size_or_novelty", globals())
names = run.models
samples = run.drawn("pope", source, questions, smoke=6)
[updates] = run.measured((Updates(size), samples), live=live)
measured = updates.table
measured = measured[measured["update"] != "noise"]
measured["novelty"] = measured[["token_novelty", "feature_novelty"]].mean(axis=1)
crowded = crowded_models(measured)
glue("crowded", ", ".join(crowded) or "none of these models", display=False)
QUANTITIES = ["rid", "spectrum_change", "support_innovation", "size", "novelty"]
per_sample = over_depth(measured, QUANTITIES, ["model", "update", "module"])
gaps = module_gaps(per_sample, QUANTITIES, ["model", "update"], seed=seed)

# %% [markdown]
# ## The answer
#
# As they are, the FFN's updates have the higher RID in {glue:text}`own_higher` (FFN minus
# attention, {glue:text}`own_gap`); at one size they have it in {glue:text}`resized_higher`
# ({glue:text}`resized_gap`). {glue:text}`without_sink` ({doc}`17_sink`). Novelty, which no size
# enters, is higher for the FFN in {glue:text}`ffn_newer`. As a multiple of that of the same update
# turned at random it is {glue:text}`attention_chance` for attention and {glue:text}`ffn_chance` for
# the FFN: both write less that is new than chance would in {glue:text}`both_below_chance`.
#
# Each model was asked {glue:text}`n_questions` questions, the small ones are one training seed a
# family ({doc}`06_layerwise_curves` has more), and with at least as many tokens as features
# ({glue:text}`crowded`) novelty is about tokens, as in no model of the paper.

# %% tags=["hide-input"]
UPDATES = {
    "own": ("as they are", "k", "o"),
    "resized": ("resized", plots.OKABE_ITO[2], "s"),
    "rotated": ("rotated", "0.6", "^"),
}
LABELS = {q: plots.axis_label(q) for q in QUANTITIES}
SHOWN = ["rid", "support_innovation", "spectrum_change"]
MARKS = {
    update: {"label": label, "color": color, "marker": mark}
    for update, (label, color, mark) in UPDATES.items()
}

# %% tags=["hide-input"]
fig, axes = plots.panels(len(SHOWN), row_height=0.9 + 0.35 * len(names))
for ax, quantity in zip(axes, SHOWN, strict=True):
    found = gaps[gaps["quantity"] == quantity]
    forest(ax, found, row="model", order=names, series="update", looks=MARKS)
    ax.locator_params(axis="x", nbins=5)
    ax.set_xlabel(f"FFN - attention, {plots.axis_label(quantity).split(' (')[0]}")
plots.legend_below(fig, axes[0], columns=3)
drawn = gaps[gaps["quantity"].isin(SHOWN)]
spans = drawn.groupby(["quantity", "update"])["mean"].agg(["min", "max"])
words = [
    f"{plots.axis_label(q)} {UPDATES[u][0]} {low:.2g} to {high:.2g}"
    for (q, u), (low, high) in spans.iterrows()
]
run.figure(
    fig,
    "gaps",
    data=drawn,
    alt=f"FFN minus attention for each model. Over models: {'; '.join(words)}.",
    caption="FFN minus attention, means over depth with 95% intervals: updates as they are, "
    "resized to one size, and rotated at random at that size.",
)

# %% [markdown]
# ## Three updates in one place
#
# At full rank, support innovation is a product ({prf:ref}`thm-size-novelty`):
#
# $$
# \Delta\mathcal{D} =
# \underbrace{\frac{\|\Delta X\|_F}{\|X'\|_F}}_{\text{size}} \cdot
# \underbrace{\frac{\|(I - P_\mathcal{C})\Delta X\|_F + \|\Delta X(I - P_\mathcal{R})\|_F}
# {2 \|\Delta X\|_F}}_{\text{novelty, between 0 and 1}}.
# $$
#
# Size says how much a module writes. Only novelty says whether it writes into directions that the
# state did not have, which is what *expanding* and *preserving* a subspace mean. A module with
# larger updates has a larger RID whatever their direction. The paper has no control for that. We
# measure two, in the same forward pass, beside each update of the model:
#
# - **resized**: the update multiplied by the number that makes its size {glue:text}`size_shown`,
#   the same for every module, layer and model;
# - **rotated**: the update turned at random in token and feature space, then resized in the same
#   way. It keeps its singular values and points anywhere. Its novelty is that of chance.
#
# The paper's claim, *attention preserves and the FFN expands*, is about the updates as they are;
# {doc}`06_layerwise_curves` and {doc}`07_modulewise` give the verdict. What is asked here
# is a further question: is the FFN's RID above attention's when both have one size, as a mean over
# layers weighed by depth, with a 95% interval of the difference above zero?
#
# As a call, one model's numbers are
#
# ```python
# controls = {"resized": Resized(size), "rotated": Rotated(size, seed=seed)}
# measure(vlm, samples, controls=controls)
# ```
#
# They were measured before, by `python -m lost_in_attention measure --model` and the model's name.
# They are read where they are of these very weights, questions and seed and of this size; the
# folded cell before the answer lists where they come from. Some questions of
# {glue:text}`first_model` were asked again: {glue:text}`agreement`.

# %% [markdown]
# ## Size and novelty, layer by layer
#
# Grey is the novelty of chance: the same updates, rotated. On average over rotations it depends on
# the number of tokens and features and on the rank of the state alone. Bands are 95% bootstrap
# intervals over the images of {glue:text}`n_questions` questions.
#
# Novelty is the mean of token novelty and feature novelty. With fewer tokens than features, as in
# every model of the paper, the first is zero at full rank, and novelty is about features. With at
# least as many tokens as features the second is zero by construction, and novelty is about tokens.
# That is so in: {glue:text}`crowded`. Their panels are marked, and what they show is not what the
# same curve of a model with more features would show.

# %%
glue("size_shown", size, display=False)
glue("n_questions", int(measured.groupby("model")["sample"].nunique().max()), display=False)
glue("first_model", names[0], display=False)
glue("agreement", updates.agreement, display=False)
by_layer = ["model", "update", "module", "layer"]
curves = intervals(measured, ["size", "novelty"], by_layer, seed=seed)


# %% tags=["hide-input"]
def draw_module(ax, rows):
    for (update, module), curve in rows.groupby(["update", "module"]):
        look = dict(plots.MODULES[module])
        if update == "rotated":
            look |= {"color": "0.6", "label": None, "marker": None}
        plots.band(ax, curve["layer"], curve, look)
    plots.whole_numbers(ax)
    ax.set_ylim(0, None)


# %% tags=["hide-input"]
def layers_alt(rows):
    means = rows.groupby(["model", "update", "module"])["mean"].mean()
    parts = [
        f"{m} {plots.MODULES[k]['label']} {UPDATES[u][0]} {v:.2g}" for (m, u, k), v in means.items()
    ]
    return f"Lines by layer, a panel a model. Means over layers: {'; '.join(parts)}."


def draw_layers(quantity, updates, caption):
    rows = curves[(curves["quantity"] == quantity) & curves["update"].isin(updates)]
    fig, axes = plots.panels(len(names), row_height=2.1)
    for ax, name in zip(axes, names, strict=True):
        draw_module(ax, rows[rows["model"] == name])
        ax.set_title(f"{name}, tokens ≥ features" if name in crowded else name)
        ax.set_ylabel(LABELS[quantity])
    axes[-1].set_xlabel("layer (index)")
    plots.legend_below(fig, axes[0], columns=2)
    run.figure(fig, quantity, data=rows, alt=layers_alt(rows), caption=caption)


# %% tags=["hide-input"]
draw_layers("size", ["own"], "How large the updates are, as a share of the state after them.")

# %% tags=["hide-input"]
draw_layers(
    "novelty",
    ["own", "rotated"],
    "How much of the updates is new. Grey: the same updates rotated at random, attention solid "
    "and FFN dashed.",
)

# %% [markdown]
# ## The difference between the modules
#
# FFN minus attention, question by question, as means over depth (neither end of the decoder weighs
# more than 1/28, {doc}`06_layerwise_curves`): for the updates as they are, and with the size held
# fixed. The figure on top draws these differences.


# %% tags=["hide-input"]
def gap_table(gaps, caption):
    shown = gaps[gaps["update"] != "rotated"]
    cells = shown.assign(
        cell=shown.apply(in_words, axis=1),
        update=[UPDATES[u][0] for u in shown["update"]],
    )
    # Equal up to rounding, by construction.
    held = (shown["quantity"] == "size") & (shown["update"] == "resized")
    cells.loc[held, "cell"] = "equal"
    table = cells.pivot(index=["model", "update"], columns="quantity", values="cell")
    table = table.loc[names, QUANTITIES].rename(columns=LABELS).reset_index()
    table["S ≥ H"] = ["yes" if name in crowded else "no" for name in table["model"]]
    run.table(table, f"{caption} (S tokens, H features)")


gap_table(gaps, "FFN minus attention, means over depth with 95% intervals")

# %% [markdown]
# In the rows *resized*, size is equal by construction and novelty is the same as in the rows *as
# they are*: multiplying an update changes neither its direction nor its novelty. So at equal size
# and full rank the sign of the difference in support innovation is that of novelty, whatever the
# size is. Only spectrum change depends on which size we chose.
#
# ## Beside chance
#
# An update that knew nothing of the state would have the novelty of the rotated one. Below one
# means that a module writes more into the directions that are there than chance would; above one,
# less.

# %%
novelty = over_depth(measured, ["novelty"], ["model", "update", "module"])
wide = novelty.pivot(
    index=["model", "module", "sample", "image_source"],
    columns="update",
    values="novelty",
).reset_index()
wide["ratio"] = wide["own"] / wide["rotated"]
ratios = intervals(wide, ["ratio"], ["model", "module"], seed=seed)
shown = interval_table(ratios, "model", "module").loc[names]
run.table(
    shown.rename(columns={"ffn": "FFN"}).reset_index(),
    "Novelty as a multiple of the novelty of chance, with 95% intervals",
)

# %% tags=["remove-cell"]
below = {}
for module, rows in ratios.groupby("module"):
    found = rows.set_index("model")[["low", "high"]].T
    below[module] = {name: opposite(side_of(*found[name], border=1)) for name in names}
    glue(f"{module}_below", how_many(below[module], run.evidence), display=False)
    glue(f"{module}_chance", means_apart(rows, run.evidence), display=False)
both_below = {name: unanimous([each[name] for each in below.values()]) for name in names}
glue("both_below_chance", how_many(both_below, run.evidence), display=False)
glue("n_models", len(names), display=False)

# %% [markdown]
# Attention's novelty is below that of chance in {glue:text}`attention_below`, the FFN's in
# {glue:text}`ffn_below`. Chance is a reference here and no threshold: the paper does not say that
# an update which expands the space has more novelty than one that points anywhere. Where both are
# below it, both modules prefer the directions that are there, and the question is which of them
# does so more.
#
# ## At equal size


# %%
def votes(table, update, quantity="rid"):
    """For every model: is the FFN's RID, or another quantity, above attention's?"""
    rows = table[(table["update"] == update) & (table["quantity"] == quantity)]
    rows = rows.set_index("model").loc[names]
    return {name: side_of(row["low"], row["high"]) for name, row in rows.iterrows()}


own, resized = votes(gaps, "own"), votes(gaps, "resized")
roomy = [name for name in names if name not in crowded]
rows = [
    {
        "updates": label,
        "RID: FFN above attention": tally(answers, run.evidence),
        "the same, fewer tokens than features": tally(
            {name: answers[name] for name in roomy}, run.evidence
        ),
    }
    for label, answers in (("as they are", own), ("resized", resized))
]
run.table(pd.DataFrame(rows), "What each kind of subject says, over depth")

# %% tags=["remove-cell"]
for update, answers in (("own", own), ("resized", resized)):
    glue(f"{update}_higher", how_many(answers, run.evidence), display=False)
    rows = gaps[(gaps["update"] == update) & (gaps["quantity"] == "rid")]
    glue(f"{update}_gap", means_apart(rows, run.evidence), display=False)
novel = votes(gaps, "own", "novelty")
glue("ffn_newer", how_many(novel, run.evidence), display=False)
AHEAD = {True: "the FFN is ahead", False: "attention is ahead", None: "neither is clearly ahead"}


def without_sink(name):
    """Which module is ahead at one size where the rows of a model's sink are left out."""
    tables, facts = read_sinks(folder_name(name))
    parts = gap_parts(tables.updates, tables.carriers).assign(model=name)
    [row] = intervals(parts, ["equal_size"], ["model"], seed=seed).to_dict("records")
    ahead = AHEAD[side_of(row["low"], row["high"])]
    asked = f"{facts['samples']} questions at size {facts['size']}"
    return f"without the sink of {name} {ahead} at one size: {in_words(row)}, {asked}"


told = "; ".join(without_sink(name) for name in names if has_sinks(folder_name(name)))
told = told or "no sink is stored"
glue("without_sink", told[0].upper() + told[1:], display=False)
changed = sum(own[name] != resized[name] for name in names)
glue("changed", changed, display=False)

# %% [markdown]
# Holding the size fixed changes the answer for {glue:text}`changed` of {glue:text}`n_models`
# models.
#
# In the layers that carry a sink, one row makes nearly all of the state's norm, so an update held
# at a share of that norm is blown up on all other rows, and the change of the spectrum with it.
# {glue:text}`without_sink` ({doc}`17_sink`).
#
# ## What hangs on layer 0
#
# Layer 0 is unlike the others ({doc}`06_layerwise_curves`), and one layer can carry a mean. The
# same differences over layers 1 and later:

# %%
later = over_layers(measured[measured["layer"] > 0], QUANTITIES, ["model", "update", "module"])
later_gaps = module_gaps(later, QUANTITIES, ["model", "update"], seed=seed)
gap_table(later_gaps, "FFN minus attention over layers 1 and later, with 95% intervals")
glue("later_own", tally(votes(later_gaps, "own"), run.evidence), display=False)
glue("later_resized", tally(votes(later_gaps, "resized"), run.evidence), display=False)

# %% [markdown]
# Without layer 0, is the FFN's RID above attention's? As they are: {glue:text}`later_own`.
# At equal size: {glue:text}`later_resized`.
#
# ## Exercises
#
# Where a function is asked for, the cell below its solution checks yours. `make exercises` writes
# this chapter without the solutions.
#
# ```{exercise} Another size
# :label: ex-another-size
#
# *Warm-up, 5 minutes.* Run the notebook with `size` at 0.1 and at 0.6. Which column of the first
# table can change its sign, and which cannot?
#
# :::{dropdown} Hint
# Which of the quantities does the formula at the head of this chapter write as a product?
# :::
# ```
#
# ```{solution} ex-another-size
# :class: dropdown
#
# Support innovation is size times novelty, so its sign at equal size is that of novelty.
# Spectrum change is not a product, and RID contains it.
# ```
#
# ```{exercise} The factor that makes a size
# :label: ex-resize-factor
#
# *Medium, 20 minutes.* Write `resize_factor(before, update, size)`: the number $a > 0$ for which
# the update $a \Delta X$ has the given size, $\|a \Delta X\|_F = s \|X + a \Delta X\|_F$, with
# $0 < s < 1$. Why is $s \|X\|_F / \|\Delta X\|_F$ wrong, and in which direction for an update that
# points against the state?
#
# :::{dropdown} Hint
# Square both sides. What stands between $X$ and $\Delta X$ is $\langle X, \Delta X \rangle$, the
# sum of `before * update`.
# :::
# ```
#
# ```{solution} ex-resize-factor
# :class: dropdown
#
# $(1 - s^2) \|\Delta X\|^2 a^2 - 2 s^2 \langle X, \Delta X \rangle a - s^2 \|X\|^2 = 0$ has one
# positive root. The simple factor forgets that the update changes the state it is compared with. An
# update against the state makes it shorter, so the simple factor gives a size above $s$.
# ```

# %% tags=["solution", "hide-input"]
import math


def resize_factor(before, update, size):
    """The factor, a float, that gives `update` this size where it is added to `before`."""
    inner = float((before * update).sum())
    square, state = (float(x.square().sum()) for x in (update, before))
    share = size**2
    root = math.sqrt((share * inner) ** 2 + (1 - share) * share * square * state)
    return (share * inner + root) / ((1 - share) * square)


# %% tags=["exercise-check"]
from lost_in_attention.teaching.size_or_novelty import check_resize_factor

check_resize_factor(resize_factor)

# %% [markdown]
# ```{exercise} Is the novelty different?
# :label: ex-sign-flip-p
#
# *Medium, 25 minutes.* For each image you have one difference, the FFN's novelty minus attention's.
# If the two modules could change places, each difference would as likely have the other sign. Write
# `sign_flip_p(differences)`: the share of all $2^n$ patterns of signs whose mean is at least as far
# from zero as the one that was found. With how many images can it be below 0.05 at all?
#
# :::{dropdown} Hint
# `itertools.product((1, -1), repeat=n)` goes through the patterns. Ties count, and rounding must
# not lose them.
# :::
# ```
#
# ```{solution} ex-sign-flip-p
# :class: dropdown
#
# The pattern that was found and its mirror image always count, so $p \geq 2/2^n$: six images are
# the fewest for $p < 0.05$. This permutes the modules *within* an image. Shuffling all novelties
# between the modules would break the pairs and test against the spread between images.
# ```

# %% tags=["solution", "hide-input"]
from itertools import product


def sign_flip_p(differences):
    """Exact two-sided p-value, a float, of paired differences (a list of at most 15)."""
    found = abs(sum(differences))
    slack = 1e-9 * sum(map(abs, differences))
    patterns = list(product((1, -1), repeat=len(differences)))
    sums = [sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in patterns]
    return sum(abs(total) >= found - slack for total in sums) / len(patterns)


# %% tags=["exercise-check"]
from lost_in_attention.teaching.size_or_novelty import check_sign_flip_p

check_sign_flip_p(sign_flip_p)

# %% [markdown]
# ```{exercise} The novelty of chance
# :label: ex-the-novelty-of-chance
#
# *Medium, 20 minutes.* Let $X$ have rank $S \le H$ and let $\Delta X$ point anywhere. Show that the
# mean square of its feature novelty is $(H - S)/H$. Compare half of the root with the grey lines:
# where do they lie lower or higher, and why?
#
# :::{dropdown} Hint
# Write the update in a basis whose first $S$ vectors span the row space. What is the mean square of
# each coordinate?
# :::
# ```
#
# ```{solution} ex-the-novelty-of-chance
# :class: dropdown
#
# A random unit vector has on average $1/H$ of its energy in each direction, and $H - S$ directions
# lie outside the row space. Feature novelty is a root, so its mean is a little below
# $\sqrt{(H - S)/H}$; novelty is half of it where token novelty is zero. With more
# tokens than features the roles of tokens and features change, and at layer 0, where rows are
# equal, both novelties count.
# ```
#
# ```{exercise} Equal norms per token
# :label: ex-equal-norms-per-token
#
# *Research, 45 minutes.* Size is one number for the whole matrix. Write a control that gives every
# *token's* update the same size, and pass it to `measure`. Is the difference between the modules
# carried by few tokens with large updates?
#
# :::{dropdown} Hint
# `resized` in `lost_in_attention.residual.controls` is the last step of the control.
# :::
#
# Rubric (10 points): which answer would speak for few large tokens, written before the run (2); the
# modules' difference in novelty under both controls, with intervals over images (3); the same with
# the rotated update, as chance (3); whether the control changes the rank of the update, and what
# that means (2).
# ```
#
# ```{solution} ex-equal-norms-per-token
# :class: dropdown
#
# A control is a function of $X$ and $\Delta X$: divide each row of the update by its norm, multiply
# by the norm of the row of $X$, and hand the result to `resized`. Novelty now weighs all tokens
# alike. Compare it with the novelty above.
# ```
