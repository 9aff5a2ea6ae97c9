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
# # One run, many readings
#
# - **Covers** Definitions 3.4 to 3.8 as far as they leave room, and what hangs on it: claims C071
#   and C073, C016 and C017.
# - **Verdict** on claim C073 under every reading: {glue:text}`verdict_c073`. The others are in the
#   table below.
# - **Takes** less than a minute and 2 GB at tier `book`: most numbers were measured before.
#
# You will
#
# 1. list what a reader of the paper, and of the authors' released helper functions, can choose when
#    computing RID and MixIG,
# 2. compute both under each choice on the same forward passes,
# 3. see which conclusions stand under every reading, and which belong to one of them.
#
# You need {doc}`04_rid`, {doc}`05_token_mixing` and {doc}`07_modulewise`.

# %%
import pandas as pd
from myst_nb import glue

from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.forest import forest
from lost_in_attention.publishing.paper import claimed, table1_words
from lost_in_attention.publishing.votes import apart, side_of, tally, unanimous
from lost_in_attention.residual.depth import over_depth
from lost_in_attention.residual.measurements import BASELINES, Readings
from lost_in_attention.residual.readings import OF_UPDATE, PAPER, READINGS
from lost_in_attention.residual.tables import crowded_models, intervals, module_gaps, over_layers

# %% tags=["parameters"]
tier = "book"
models = "pretrained,families"
source = "own"
questions = 150
reading_questions = 20
live = 1
seed = 0
output = "book/generated"

# %% tags=["hide-cell"]
run = report.start("10_readings", globals())
names = run.models
drawn = run.drawn("pope", source, questions, smoke=3)
samples = run.fewer(drawn, reading_questions, smoke=3)
[found] = run.measured((Readings(), samples), live=live)

PLAIN = ["all layers alike", "layers 1 and later"]
BOTH = ["rid", "mixig"]
NOISE = list(BASELINES)
paper = found.table[found.table["reading"] == PAPER]
later = paper[paper["layer"] > 0]
measured = pd.concat(
    [found.table, *(t.assign(reading=r) for r, t in zip(PLAIN, (paper, later), strict=True))],
    ignore_index=True,
)
crowded = crowded_models(paper)

# %%
ORDER = [PAPER, *PLAIN, *READINGS[1:]]
groups = ["model", "reading"]
plainly = measured["reading"].isin(PLAIN)
per_sample = pd.concat(
    [
        over_depth(measured[~plainly], BOTH, [*groups, "module"]),
        over_layers(measured[plainly], BOTH, [*groups, "module"]),
    ]
)
own = per_sample[per_sample["module"].isin(plots.MODULES)]
gaps = module_gaps(own, BOTH, groups, seed=seed).dropna(subset="mean")

strength = measured[measured["module"].isin(plots.MODULES)].set_index([*groups, "module"])
strength = strength[BOTH].abs().groupby([*groups, "module"]).mean()
scale = strength.groupby(groups).sum().stack()
scale = scale.rename_axis([*groups, "quantity"]).rename("scale")
shares = gaps.join(scale, on=[*groups, "quantity"])
for column in ("mean", "low", "high"):
    shares[column] /= shares["scale"]

# %% tags=["remove-cell"]
asked = int(paper.groupby("model")["sample"].nunique().max())
without = found.table[found.table["reading"] == "without sinks"]
keys = ["model", "sample", "layer", "module"]
pairs = paper.merge(without, on=keys, suffixes=("", "_without"))
fewer = (pairs["tokens"] > pairs["tokens_without"]).groupby(pairs["model"]).any()
with_sinks = [name for name in names if fewer[name]]
glue("first_model", names[0], display=False)
glue("agreement", found.agreement, display=False)
glue("n_questions", asked, display=False)
glue("crowded", ", ".join(crowded) or "none of these models", display=False)
SINKS_SAID = "None of these models has such a token, so there the row repeats the first."
if with_sinks:
    SINKS_SAID = (
        f"Such tokens were found in {', '.join(with_sinks)}; in a model without any the row "
        "repeats the first."
    )
glue("sinks_said", SINKS_SAID, display=False)

# %% [markdown]
# ## The answer
#
# Table 1 makes four statements about which is ahead. So many readings, of those that can change it,
# bear each out in all models of a kind. C073, the FFN ahead in RID: {glue:text}`agreed_c073_rid`.
# C073, attention ahead in MixIG: {glue:text}`agreed_c073_mixig`. C071, both noise baselines above
# both modules in RID: {glue:text}`agreed_c071_rid`. C071, both below zero in MixIG:
# {glue:text}`agreed_c071_mixig`. In at least one model the reading alone turns a clear yes into a
# clear no for {glue:text}`depends`.
#
# Which reading is the paper's own these numbers cannot say. They are of {glue:text}`n_questions`
# questions a model, and the small models are one training seed a family.

# %% tags=["hide-input"]
NAMES = {"rid": "RID", "mixig": "MixIG"}


def show_forest(quantity):
    rows = shares[shares["quantity"] == quantity]
    fig, [ax] = plots.panels(1, row_height=1.3 + 0.42 * rows["reading"].nunique())
    readings = [reading for reading in ORDER if reading in set(rows["reading"])]
    looks = plots.model_looks(names)
    forest(ax, rows, row="reading", order=readings, series="model", looks=looks)
    ax.set_xlabel(f"{NAMES[quantity]}, FFN - attention\n(as a share of both, -1 to 1)")
    fig.legend(loc="outside lower left", ncols=2, frameon=False)
    spans = rows.groupby("reading")["mean"].agg(["min", "max"]).reindex(ORDER).dropna()
    parts = [f"{key} {low:.2g} to {high:.2g}" for key, (low, high) in spans.iterrows()]
    run.figure(
        fig,
        f"forest_{quantity}",
        data=rows,
        alt=f"{NAMES[quantity]}, FFN minus attention, over models: {'; '.join(parts)}.",
        caption=f"FFN minus attention in {NAMES[quantity]} under every reading that can change it, "
        "one mark a model, with 95% intervals; as a share of both modules' mean absolute values.",
    )


show_forest("rid")

# %% [markdown]
# ## The readings
#
# The first row is the paper's text, as this book reads it everywhere else. Each of the others
# changes one thing. Where two things of a row could differ, the row says so.
#
# - *paper*: Definitions 3.4 to 3.8 and Section 4.2 as they stand; means over depth, in which
#   neither end of the decoder weighs more than 1/28 ({doc}`06_layerwise_curves`).
# - *all layers alike*, *layers 1 and later*: plain means, with layer 0 and without it. The paper
#   does not say what it averages.
# - *FFN from the layer's input*: the FFN is measured from $X_\mathrm{in}$, not $X_\mathrm{attn}$,
#   as the released helper does.
# - *innovation not halved*: RID with twice the support innovation; the helper does not halve.
# - *released novelty*: in the place of RID, the root of the sum of both squared residuals, from
#   $X_\mathrm{in}$ for both modules. The helper's default.
# - *rank: 99% or 90% of energy*: projectors keep the fewest directions with that share of energy,
#   the other usual meaning of a numerical rank.
# - *visual tokens*, *text tokens*: only these rows of the states. The paper does not say.
# - *without sinks*: all rows but those of tokens that carry a massive activation in some layer, one
#   feature a thousand times the median ({term}`sink`). They can outweigh all other rows.
#   {glue:text}`sinks_said`
# - *TME: power 8*, *last row*, *over log S*: weights to the 8th power; the last token's row, not
#   the mean over rows; entropy divided by $\log S$. *TME: released* is all three, the helper's
#   defaults.
# - *TME of the update*: in the place of MixIG, the released entropy of $\Delta X$ itself, by a
#   second helper.
#
# These are the questions. For each model and reading the answer is *yes* or *no* where the 95%
# interval lies on one side, and *open* where it does not:
#
# - C073, RID half: is the FFN's RID above attention's?
# - C073, MixIG half: is attention's MixIG above the FFN's?
# - C071, RID half: is the RID of both noise baselines above that of both modules?
# - C071, MixIG half: is the MixIG of both noise baselines below zero?
# - C016: is layer 0 among the quarter of layers where attention's mean |MixIG| is largest?
# - C017: is one between 30% and 50% of the depth among them, where at least three layers lie there
#   and fewer than half of all ranges of as many layers hold one? (For these two the interval is
#   that of {doc}`06_layerwise_curves`: yes in 97.5% of bootstrap resamples, or no in as many.)
#
# A model's answer to a claim is *yes* or *no* if it is that under every reading. Otherwise it is a
# matter of the reading, and stays open. The rule that makes one verdict of all models stands in
# {doc}`../reading`.
#
# ## One function, all readings
#
# What `measure` can vary are the rank rule and the tokens: `rank_rule=ExplainedEnergy(0.99)`,
# `tokens="visual"`. The rest is computed from the three states of every layer, with the same
# functions of matrices; `residual/readings.py` in the library holds both, on two pages. The
# readings are taken of each model's own updates and, for C071, of attention's under both noise
# baselines ({doc}`07_modulewise`).
#
# That takes dozens of passes a question. It was done before, by
# `python -m lost_in_attention measure --model` and the model's name. A table is read where it is of
# these very weights, questions and seed; the folded cell before the answer lists where the numbers
# come from. Some questions of {glue:text}`first_model` were asked again: {glue:text}`agreement`.
#
# Two readings say only how layers are put together. They take the paper's numbers.

# %% [markdown]
# ## FFN minus attention, reading by reading
#
# Readings have scales of their own, so the figure on top, of RID, and the next one, of MixIG,
# divide each difference by the strength of both modules: the mean absolute value over layers and
# questions, attention's and the FFN's added. The result lies between -1 and 1, though an interval
# may reach further. A reading that cannot change a quantity is left out of its figure.
# Differences are taken question by question, over {glue:text}`n_questions` questions; intervals
# resample images.
#
# At least as many tokens as features, as in no model of the paper, have: {glue:text}`crowded`.
# There the support part of RID, and the *released novelty*, are about tokens alone, because feature
# novelty is zero by construction. Under *visual tokens*, *text tokens* and *without sinks* the
# states may have fewer rows, and this can change.

# %% tags=["hide-input"]
show_forest("mixig")

# %% [markdown]
# ## Which conclusions depend on the reading?


# %%
def answered(table, conclusion, above):
    """Rows model, reading, answer, from intervals that should lie above zero, or below it."""
    sides = [side_of(*pair) for pair in table[["low", "high"]].to_numpy()]
    if not above:
        sides = [None if side is None else not side for side in sides]
    return table[groups].assign(conclusion=conclusion, answer=sides)


def noise_margins():
    """Least RID of the baselines minus the larger of the modules; the baselines' higher MixIG."""
    wide = per_sample.pivot(
        index=["sample", "image_source", *groups], columns="module", values=BOTH
    )
    rid, mixig = (wide[q].dropna() for q in BOTH)
    margin = rid[NOISE].min(axis=1) - rid[list(plots.MODULES)].max(axis=1)
    return {"margin": margin, "mixig": mixig[NOISE].max(axis=1)}


# %%
from lost_in_attention.residual.depth import first_is_strong, holds_for_mean, range_answer


def layer_answers(rows):
    """C016 and C017 for one model and reading."""
    first = holds_for_mean(rows, "mixig", first_is_strong, seed=seed)
    later = range_answer(rows, "mixig", 0.3, 0.5, seed=seed)
    return {"C016": first, "C017": later}


attention = measured.query("module == 'attention'").dropna(subset="mixig")
attention = attention[~attention["reading"].isin([*PLAIN, OF_UPDATE])]
by_layer = pd.DataFrame(
    dict(zip(groups, key, strict=True)) | {"conclusion": conclusion, "answer": answer}
    for key, rows in attention.groupby(groups)
    for conclusion, answer in layer_answers(rows).items()
)

# %%
parts = [by_layer]
for quantity, above in (("rid", True), ("mixig", False)):
    rows = gaps[gaps["quantity"] == quantity]
    parts.append(answered(rows, f"C073, {NAMES[quantity]}", above))
for (quantity, values), above in zip(noise_margins().items(), (True, False), strict=True):
    table = values.rename("least").reset_index()
    found = intervals(table, ["least"], groups, seed=seed)
    # The entropy of an update is no gain: it is never negative.
    if quantity == "mixig":
        found = found[found["reading"] != OF_UPDATE]
    half = "MixIG" if quantity == "mixig" else "RID"
    parts.append(answered(found, f"C071, {half}", above))
answers = pd.concat(parts, ignore_index=True)
CONCLUSIONS = ["C073, RID", "C073, MixIG", "C071, RID", "C071, MixIG", "C016", "C017"]

# %% [markdown]
# First a table for each conclusion. A reading that cannot change the answer is left out.

# %% tags=["hide-input"]
QUESTIONS = {
    "C073, RID": "FFN's RID above attention's?",
    "C073, MixIG": "Attention's MixIG above the FFN's?",
    "C071, RID": "RID of both noise baselines above both modules'?",
    "C071, MixIG": "MixIG of both noise baselines below zero?",
    "C016": "Layer 0 among the quarter of largest |MixIG| of attention?",
    "C017": "One between 30% and 50% of the depth among them, unlike most ranges?",
}
answers["word"] = answers["answer"].map({True: "yes", False: "no"}).fillna("open")
for conclusion in CONCLUSIONS:
    rows = answers[answers["conclusion"] == conclusion]
    wide = rows.pivot(index="reading", columns="model", values="word")[names]
    wide = wide.reindex([reading for reading in ORDER if reading in wide.index])
    caption = f"{conclusion}: {QUESTIONS[conclusion]}"
    if crowded and "RID" in conclusion:
        caption += f" (at least as many tokens as features: {', '.join(crowded)})"
    run.table(wide.reset_index(), caption)

# %% [markdown]
# And all of them together, by kind of subject:

# %% tags=["hide-input"]
ANSWER = {"yes": True, "no": False, "open": None}
said = answers.groupby(["reading", "conclusion"])[["model", "word"]].apply(
    lambda rows: {row.model: ANSWER[row.word] for row in rows.itertuples()}
)
counts = said.map(lambda each: tally(each, run.evidence))
wide = counts.unstack().reindex(ORDER)[CONCLUSIONS].fillna("as the paper")
wide.loc[PLAIN, ["C016", "C017"]] = "asked of the curve"
wide.loc[OF_UPDATE, ["C016", "C017", "C071, MixIG"]] = "no gain"
run.table(wide.reset_index(), "What each kind of subject says")

# %% tags=["hide-input"]
together = said.map(lambda each: unanimous(each.values()))
TURNS = "models that say yes and no"
word_of = {True: "yes in every model", False: "no in some", None: "open"}


def summary(conclusion):
    """How far one conclusion stands; a model turns if one reading says yes and one no."""
    rows = answers[answers["conclusion"] == conclusion]
    verdicts = together.xs(conclusion, level="conclusion").tolist()
    turning = rows.groupby("model")["word"].agg(lambda w: {"yes", "no"} <= set(w))
    return {
        "conclusion": conclusion,
        "readings": len(verdicts),
        **{word: verdicts.count(key) for key, word in word_of.items()},
        TURNS: int(turning.sum()),
    }


# %% tags=["hide-input"]
summaries = pd.DataFrame(map(summary, CONCLUSIONS))
run.table(summaries, "Readings counted, and models that answer differently by reading")
depends = summaries[summaries[TURNS] > 0]["conclusion"]
stands = summaries[summaries[TURNS] == 0]["conclusion"]
glue("depends", "; ".join(depends) or "none", display=False)
glue("stands", "; ".join(stands) or "none", display=False)

# %% [markdown]
# No model turns from yes to no with the reading: {glue:text}`stands`. Where one does, others cannot
# check the conclusion unless the paper says which reading it used.
#
# Intervals here come from few questions, and readings share them. A change from yes to no is a
# change of the quantity; a change to open may only be a wider interval.
#
# ## The verdicts


# %%
def over_readings(claim_id):
    """Model by model: what every reading says of every half of a claim, otherwise open."""
    rows = answers[answers["conclusion"].str.startswith(claim_id)]
    halves = rows.groupby(["model", "conclusion"])["word"].agg(set)
    said = halves.map(lambda words: {"yes": True, "no": False}.get("".join(words)))
    return {name: unanimous(said[name]) for name in names}


STATED = {
    "C073": (
        "Attention has low RID and high MixIG, the FFN the reverse",
        table1_words("attention", "ffn", "against"),
    ),
    "C071": (
        "Both noise baselines: RID above the modules', MixIG negative",
        table1_words("noise_delta", "noise_qkv", "and"),
    ),
    "C016": ("Layer 0 reconfigures strongly", f"layer {claimed('C016'):g} named"),
    "C017": ("Layers around this share of the depth do so too", f"{claimed('C017'):g}%"),
}

# %% tags=["hide-input"]
for claim_id, (statement, paper) in STATED.items():
    halves = [c for c in CONCLUSIONS if c.startswith(claim_id)]
    rows = summaries.set_index("conclusion").loc[halves, ["readings", word_of[True]]]
    said = [f"{half}: all yes under {b} of {a}" for half, (a, b) in rows.iterrows()]
    run.claim(
        claim_id,
        statement=f"{statement}, whatever the reading",
        paper=paper,
        measured=f"{'; '.join(said)} readings, {len(names)} models",
        tolerance="yes under every reading, in both halves",
        answers=over_readings(claim_id),
        questions=asked,
    )
run.claims_table()

# %% tags=["remove-cell"]
glue("verdict_c073", run.claims[0].verdict, display=False)


def readings_agreed(conclusion):
    """Under how many readings all models of a kind say yes, kind by kind."""
    rows = answers[answers["conclusion"] == conclusion]
    table = rows.pivot(index="reading", columns="model", values="word") == "yes"
    return apart(lambda own: f"{table[own].all(axis=1).sum()} of {len(table)}", names, run.evidence)


for conclusion in CONCLUSIONS[:4]:
    key = conclusion.lower().replace(", ", "_")
    glue(f"agreed_{key}", readings_agreed(conclusion), display=False)

# %% [markdown]
# ## Exercises
#
# Where a function is asked for, the cell below its solution checks yours. `make exercises` writes
# this chapter without the solutions.
#
# ```{exercise} No change at all
# :label: ex-no-change-at-all
#
# *Warm-up, 5 minutes.* Dividing TME by $\log S$ never changes the sign of FFN minus attention for
# one question. Why may the mean over questions still change, and when can it not?
#
# :::{dropdown} Hint
# What do two questions with different numbers of tokens do to each other in a mean?
# :::
# ```
#
# ```{solution} ex-no-change-at-all
# :class: dropdown
#
# It divides all values of one question by the same positive number, so each sign stays. If
# questions differ in their number of tokens, they are weighted anew, and a mean of unlike signs can
# tip. With one number of tokens nothing but the scale changes.
# ```
#
# ```{exercise} A rank by energy
# :label: ex-directions-kept
#
# *Warm-up, 15 minutes.* Write `directions_kept(sigma, share)`: the smallest number of directions
# that together hold at least this share of the energy, for singular values in any order. What is
# the rank of the spectrum $(100, 1, 1, \ldots, 1)$ with 400 ones at a share of 0.9, and what is its
# effective rank?
#
# :::{dropdown} Hint
# The energy of a direction is $\sigma_i^2$. At a share of 1 rounding can keep a sum just below the
# whole.
# :::
# ```
#
# ```{solution} ex-directions-kept
# :class: dropdown
#
# The one long direction holds $10000/10400 = 0.96$ of the energy: rank 1. Its effective rank is
# about 199. A reading by energy sees what is long, the entropy of $\sigma$ sees what is many.
# ```


# %% tags=["solution", "hide-input"]
def directions_kept(sigma, share):
    """The number of directions, an int, that a reading by energy keeps of singular values."""
    energy = sigma.sort(descending=True).values.square().cumsum(0)
    return int((energy < (share - 1e-12) * energy[-1]).sum()) + 1


# %% tags=["exercise-check"]
from lost_in_attention.teaching.readings import check_directions_kept

check_directions_kept(directions_kept)

# %% [markdown]
# ```{exercise} The released reading of TME
# :label: ex-released-entropy
#
# *Medium, 20 minutes.* Write `released_entropy(x)`: the entropy under the reading *TME: released*.
# A pair with the cosine $c$ has the weight $((1 + c)/2)^8$, only the last token's row counts, and
# the entropy is divided by $\log S$. Which of the three choices can change the sign of a difference
# between two modules?
#
# :::{dropdown} Hint
# Start from the definition of TME in {doc}`05_token_mixing`. `torch.special.entr` knows that
# $0 \log 0$ is 0.
# :::
# ```
#
# ```{solution} ex-released-entropy
# :class: dropdown
#
# Dividing by $\log S$ cannot: both modules are divided by the same number. The power can, because
# it orders configurations differently, and so can the row, because one token need not do what the
# mean does. The last row is the one that answers, which may be why it was chosen.
# ```

# %% tags=["solution", "hide-input"]
import math

import torch


def released_entropy(x):
    """The released helper's entropy of the state x (tokens x features), a float."""
    x = x / x.norm(dim=1, keepdim=True)
    weights = ((1 + x @ x[-1]) / 2).clamp(min=0) ** 8
    return float(torch.special.entr(weights / weights.sum()).sum()) / math.log(len(x))


# %% tags=["exercise-check"]
from lost_in_attention.teaching.readings import check_released_entropy

check_released_entropy(released_entropy)

# %% [markdown]
# ```{exercise} From the layer's input
# :label: ex-from-the-layers-input
#
# *Medium, 15 minutes.* Show that under the reading *FFN from the layer's input* the difference of
# MixIG, FFN minus attention, is the FFN's own MixIG under the paper's reading. What does that make
# of the claim that attention's MixIG is the higher one?
#
# :::{dropdown} Hint
# Write both gains as differences of the entropies of $X_\mathrm{in}$, $X_\mathrm{attn}$ and
# $X_\mathrm{ffn}$.
# :::
# ```
#
# ```{solution} ex-from-the-layers-input
# :class: dropdown
#
# Gains add up: from $X_\mathrm{in}$ to $X_\mathrm{ffn}$ is attention's gain plus the FFN's. Take
# attention's away, and the FFN's is left. So under that reading the claim says only that the FFN's
# own gain is negative.
# ```
#
# ```{exercise} Where the cut lies
# :label: ex-where-the-cut-lies
#
# *Research, 40 minutes.* Vary the share of `ExplainedEnergy` from 0.5 to 0.9999. Where does FFN
# minus attention in RID change its sign, if it does? Explain it by what a cut adds to both modules:
# the part of $X$ itself that lies outside the kept directions.
#
# :::{dropdown} Hint
# `measure(..., rank_rule=ExplainedEnergy(share))` takes one share. A zero update is a control that
# returns `0 * update`.
# :::
#
# Rubric (10 points): where you expect the sign to change, before the run (2); the curve over at
# least eight shares with intervals over images (3); the zero update beside both modules (3); which
# conclusion of this chapter depends on the share, and which does not (2).
# ```
#
# ```{solution} ex-where-the-cut-lies
# :class: dropdown
#
# With a cut, $X'$ is compared with a part of $X$ only, so even a zero update has an innovation:
# what was cut. Both modules get it, and it is the larger the lower the share. What separates them
# is then a small difference of two large numbers. Draw RID of a zero update beside the two curves.
# ```
