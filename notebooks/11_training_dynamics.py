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
# # While it learns: attention and FFN over one training run
#
# - **Covers** what Section 5 of the paper leaves to future work: the same measurements over
#   training.
# - **Verdict** none: no claim of the paper is tested here.
# - **Takes** about a minute and 1 GB at tier `book`.
#
# You will
#
# 1. follow RID, its factors and MixIG of both modules from random weights to the trained model,
# 2. see when the two modules part, and whether the model can answer questions by then,
# 3. see what one training run can show, and what it cannot.
#
# You need {doc}`06_layerwise_curves` and {doc}`09_size_or_novelty`.

# %%
import json
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from myst_nb import glue

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.evaluation.questions import evaluate
from lost_in_attention.models import load
from lost_in_attention.models.shipped import saved_steps, saved_weights
from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.paper import table1
from lost_in_attention.publishing.votes import in_words, side_of
from lost_in_attention.residual.depth import over_depth
from lost_in_attention.residual.measure import measure
from lost_in_attention.residual.tables import intervals, module_gaps, over_layers
from lost_in_attention.runs.paths import data_folder

# %% tags=["parameters"]
tier = "book"
model = "small-qwen2.5-vl"
source = "digits"
questions = 24
asked = 200
seed = 0
output = "book/generated"

# %%
run = report.start("11_training_dynamics", globals())
saved = saved_steps(model)
drawn = list(load_benchmark("pope", source).draw(run.count(asked, smoke=8), seed=seed))
if tier == "smoke":
    saved = {step: saved[step] for step in (min(saved), max(saved))}
asked_samples = [replace(s, prompt=s.question) for s in drawn]
measured_samples = drawn[: run.count(questions, smoke=4)]

# %%
QUANTITIES = ["rid", "size", "novelty", "mixig"]
vlm = load(model, device=run.device)
tables, replies = [], []
for step, weights in saved.items():
    with saved_weights(vlm, weights) as early:
        tables.append(measure(early, measured_samples).assign(step=step))
        found = evaluate(early, asked_samples, benchmark="pope")
    replies.append(found.assign(step=step))
measured, replies = (pd.concat(t, ignore_index=True) for t in (tables, replies))
measured["novelty"] = measured[["token_novelty", "feature_novelty"]].mean(axis=1)
replies["accuracy"] = replies["correct"].astype(float)

per_sample = over_layers(measured, QUANTITIES, ["step", "module"])
levels = intervals(per_sample, QUANTITIES, ["step", "module"], seed=seed)
LABELS = {q: plots.axis_label(q) for q in QUANTITIES} | {
    "novelty": "novelty (0 to 1)",
    "size": "size (ratio)",
}

# %% tags=["remove-cell"]
folder = data_folder() / "models" / model
config = json.loads((folder / "training.json").read_text())["config"]
PHASES = ["alignment", "decoder", "words", "joint"]
lengths = {phase: config[f"{phase}_steps"] for phase in PHASES}
starts = dict(zip(PHASES, np.cumsum([0, *lengths.values()]).tolist(), strict=False))
phases = ", ".join(f"{phase} ({steps} steps)" for phase, steps in lengths.items())
glue("model", model, display=False)
glue("n_saved", len(saved), display=False)
glue("phases", phases, display=False)
glue("n_measured", len(measured_samples), display=False)
glue("n_asked", len(asked_samples), display=False)
glue("n_layers", int(measured["layer"].max()) + 1, display=False)

# %% [markdown]
# ## The answer
#
# In one training run of one small model, {glue:text}`model`, {glue:text}`parting`. To part is to
# differ from then on, on the side where they end; competence is an accuracy above one half for good
# on {glue:text}`n_asked` existence questions (decoder step: {glue:text}`competent`). From random
# weights to the end FFN minus attention goes from {glue:text}`rid_first` to {glue:text}`rid_last`
# in RID and from {glue:text}`mixig_first` to {glue:text}`mixig_last` in MixIG, over
# {glue:text}`n_measured` questions. These are plain means over {glue:text}`n_layers` layers;
# weighed over depth, as in {doc}`07_modulewise`, {glue:text}`weighed` at the end.
#
# Up to decoder step 0 the decoder's layers keep their random weights, so they have not learned what
# differs by then. One run shows an order of events and no cause; no pretrained decoder was followed
# over its training.

# %% tags=["hide-input"]
NEAR = 10


def across(step):
    """Decoder steps; the state before the alignment lies left of zero."""
    return step - starts["decoder"] if step >= starts["decoder"] else -NEAR


def step_axis(axes):
    for ax in axes:
        ax.set_xscale("symlog", linthresh=NEAR, linscale=0.6)
        ax.axvline(across(starts["joint"]), color="0.7", lw=1, ls=":", zorder=0)
        ax.minorticks_off()
    last = max(map(across, saved))
    ticks = [10**n for n in range(1, 7) if 10**n <= last]
    axes[-1].set_xticks([-NEAR, 0, *ticks], ["random", "0", *map(str, ticks)])
    axes[-1].set_xlim(-1.6 * NEAR, 1.3 * last)
    axes[-1].set_xlabel("decoder step (log scale; dotted: joint phase)")


# %% tags=["hide-input"]
fig, axes = plt.subplots(4, 1, figsize=(plots.WIDTH, 8), layout="constrained", sharex=True)
for ax, quantity in zip(axes, QUANTITIES, strict=True):
    rows = levels[levels["quantity"] == quantity]
    for module, look in plots.MODULES.items():
        curve = rows[rows["module"] == module]
        plots.band(ax, curve["step"].map(across), curve, look)
    ax.set_ylabel(LABELS[quantity])
axes[-1].axhline(0, color="0.7", lw=1, zorder=0)
step_axis(axes)
plots.legend_below(fig, axes[0], columns=2)

ends = levels.set_index(["quantity", "module", "step"])["mean"]
words = [
    f"{LABELS[q]}, {look['label']}: {ends[q, m].iloc[0]:.2g} to {ends[q, m].iloc[-1]:.2g}"
    for q in QUANTITIES
    for m, look in plots.MODULES.items()
]
run.figure(
    fig,
    "modules",
    data=levels,
    alt=f"Four panels by decoder step, from first to last: {'; '.join(words)}.",
    caption="RID, size, novelty and MixIG of attention and FFN over training, means over layers "
    "with 95% intervals.",
)

# %% [markdown]
# ## One training run
#
# The repository keeps the weights of {glue:text}`model` at {glue:text}`n_saved` steps of its
# training. It has four phases: {glue:text}`phases`. In the first, *alignment*, the vision tower
# and the word embeddings learn to name what is seen, and the decoder's layers keep their random
# weights. In the second the decoder learns to talk about scenes, and the tower is frozen. In the
# third, *words*, it goes on and learns to answer options by their words. In the last, *joint*,
# everything learns. The figures count steps from the decoder's first one, on a logarithmic scale.
# To its left stands the very first state, where tower and embeddings are random too: between it
# and step 0 the layers are the same, and only their input differs.
#
# Before the run we fix what *parting* and *competence* shall mean:
#
# - A quantity has **parted** at a saved step if the 95% interval of FFN minus attention lies on the
#   side of zero where it ends, at this and at all later saved steps.
# - The model is **competent** from the first saved step on from which the 95% interval of its
#   accuracy on existence questions lies above one half for good, and **halfway** from the first
#   from which its accuracy stays above the middle between one half and its last value.
# - A quantity parted *before* competence if its step is an earlier one, *with* it if it is the
#   same, *after* it if it is a later one. Between saved steps nothing is known.

# %% [markdown]
# ## Loss and competence
#
# Accuracy is that of {glue:text}`n_asked` held-out existence questions, asked at every saved step.
# They are put without the benchmark's instruction, because a middle stage of the decoder's phase
# teaches plain questions only. About half of such questions are answered *yes*, so one half is what
# a guess gives. A model that does not yet speak gives replies that cannot be parsed; these count as
# wrong, and accuracy may start below one half for that reason. The loss is the one that training
# recorded, smoothed over five records.

# %%
by_step = intervals(replies, ["accuracy"], ["step"], seed=seed).set_index("step")
unparsed = replies["parsed"].isna().groupby(replies["step"]).mean()
loss = pd.read_csv(folder / "training_curve.csv")
loss["global_step"] = loss["step"] + loss["phase"].map(starts)
loss = loss[loss["phase"] != "alignment"]
loss = loss.assign(smooth=loss.groupby("phase")["loss"].transform(lambda x: x.rolling(5, 1).mean()))

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 1, figsize=(plots.WIDTH, 4.4), layout="constrained", sharex=True)
axes[0].plot(loss["global_step"].map(across), loss["smooth"], color="0.3", lw=1.3)
axes[0].set_ylabel("training loss (nats)")
plots.band(
    axes[1], by_step.index.map(across), by_step, {"color": plots.OKABE_ITO[2], "marker": "o"}
)
axes[1].axhline(0.5, color="0.7", lw=1, zorder=0)
axes[1].set(ylabel="accuracy (share)", ylim=(0, 1.02))
step_axis(axes)
first, last = by_step["mean"].iloc[0], by_step["mean"].iloc[-1]
run.figure(
    fig,
    "competence",
    data=by_step.assign(unparsed=unparsed).reset_index(),
    alt=f"Loss and accuracy by decoder step. Accuracy goes from {first:.2f} to {last:.2f}; "
    f"smoothed loss ends at {loss['smooth'].iloc[-1]:.2g}.",
    caption="Training loss of the decoder, words and joint phases, and accuracy on existence "
    "questions at the saved steps with 95% intervals.",
)

# %% [markdown]
# ## The two modules
#
# The figure on top has means over layers, then over {glue:text}`n_measured` of the questions. Its
# first points are worth a look: random weights have a RID and a MixIG too. What separates the
# modules there is the architecture and the scale of its initial weights, not anything learned.
#
# ## Layer by layer

# %% tags=["hide-input"]
by_layer = intervals(measured, ["rid", "mixig"], ["step", "module", "layer"], seed=seed)
colors = sns.color_palette("viridis_r", len(saved))


def draw_layers(ax, rows):
    for (step, curve), color in zip(rows.groupby("step"), colors, strict=True):
        label = "random" if across(step) < 0 else str(across(step))
        ax.plot(curve["layer"], curve["mean"], color=color, lw=1.4, label=label)
    plots.whole_numbers(ax)


# %% tags=["hide-input"]
def draw_by_layer():
    fig, grid = plt.subplots(
        2, 2, figsize=(6.4, 5.2), layout="constrained", sharex=True, sharey="row"
    )
    for axes, quantity in zip(grid, ["rid", "mixig"], strict=True):
        rows = by_layer[by_layer["quantity"] == quantity]
        for ax, (name, look) in zip(axes, plots.MODULES.items(), strict=True):
            draw_layers(ax, rows[rows["module"] == name])
            ax.set_title(look["label"] if quantity == "rid" else "")
            ax.set_xlabel("layer (index)" if quantity == "mixig" else "")
        axes[0].set_ylabel(plots.axis_label(quantity))
    handles, labels = grid[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, ncols=5, loc="outside lower center", frameon=False,
               title="decoder step")  # fmt: skip
    return fig


# %% tags=["hide-input"]
tops = by_layer.loc[by_layer.groupby(["quantity", "module", "step"])["mean"].idxmax()]
moved = tops.groupby(["quantity", "module"])["layer"].agg(["first", "last"])
words = [
    f"{plots.axis_label(q)}, {plots.MODULES[m]['label']}: layer {a}, then layer {b}"
    for (q, m), (a, b) in moved.iterrows()
]
run.figure(
    draw_by_layer(),
    "by_layer",
    data=by_layer,
    alt="Curves over layers, one a saved step. The layer of the highest value at the first and "
    f"at the last step: {'; '.join(words)}.",
    caption="RID and MixIG by layer at every saved step; later steps are darker.",
)

# %% [markdown]
# ## When do they part?

# %%
gaps = module_gaps(per_sample, QUANTITIES, ["step"], seed=seed)


def since(holds):
    """The first step from which on something holds to the end, or None."""
    steps = []
    for step, held in sorted(holds.items(), reverse=True):
        if not held:
            break
        steps.append(step)
    return steps[-1] if steps else None


def parted(quantity):
    """The side on which FFN minus attention ends (None: open), and since which step."""
    rows = gaps[gaps["quantity"] == quantity].set_index("step")
    sides = {step: side_of(row["low"], row["high"]) for step, row in rows.iterrows()}
    end = sides[max(sides)]
    if end is None:
        return None, None
    return end, since({step: side is end for step, side in sides.items()})


# %%
above = by_step["low"] > 0.5
middle = (0.5 + by_step["mean"].iloc[-1]) / 2
competent = since(above.to_dict())
halfway = since((by_step["mean"] > middle).to_dict()) if competent is not None else None


def shown_step(step):
    return "never" if step is None else "random" if across(step) < 0 else str(across(step))


def order(step, other):
    """Whether `step` comes before, with or after `other`."""
    if step is None or other is None:
        return "cannot be said"
    return "with" if step == other else "before" if step < other else "after"


# %% tags=["hide-input"]
SIDES = {True: "FFN higher", False: "attention higher", None: "open"}
found = {quantity: parted(quantity) for quantity in QUANTITIES}
cells = gaps.assign(cell=gaps.apply(in_words, axis=1)).set_index(["quantity", "step"])["cell"]
timing = pd.DataFrame(
    {
        "quantity": LABELS[quantity],
        "at the first step": cells[quantity, min(saved)],
        "at the last step": cells[quantity, max(saved)],
        "side at the end": SIDES[end],
        "parted since (decoder step)": shown_step(step),
        "competence": order(step, competent),
        "halfway": order(step, halfway),
    }
    for quantity, (end, step) in found.items()
)
run.table(timing, "FFN minus attention at both ends, and when the modules parted")
competence = {"above one half": competent, "halfway": halfway}
rows = [{"the model is": k, "since (decoder step)": shown_step(v)} for k, v in competence.items()]
run.table(pd.DataFrame(rows), "Competence on existence questions")

# %% tags=["remove-cell"]
TOLD = {"rid": "RID", "mixig": "MixIG"}
AHEAD = {True: "the FFN", False: "attention"}
printed = table1()[list(TOLD)]
paper_sides = (printed.loc["ffn"] > printed.loc["attention"]).to_dict()
sentences = []
for quantity, name in TOLD.items():
    end, step = found[quantity]
    if end is None:
        said = "do not differ clearly at the end"
    elif across(step) < 0:
        said = "differ at random weights already, on the side where they end"
    elif competent is None:
        said = f"part at decoder step {across(step)}, and no competence was seen"
    else:
        said = f"part {order(step, competent)} competence, at decoder step {across(step)}"
    if end is not None:
        beside = "as in" if end is paper_sides[quantity] else "against"
        said += f", with {AHEAD[end]} ahead, {beside} Table 1"
    sentences.append(f"in {name} attention and FFN {said}")
    for which, at in (("first", min(saved)), ("last", max(saved))):
        glue(f"{quantity}_{which}", cells[quantity, at], display=False)
glue("parting", "; ".join(sentences), display=False)
glue("competent", shown_step(competent), display=False)

trained = over_depth(measured[measured["step"] == max(saved)], list(TOLD), ["step", "module"])
trained = module_gaps(trained, list(TOLD), ["step"], seed=seed).set_index("quantity")
words = []
for quantity, name in TOLD.items():
    row = trained.loc[quantity]
    end = side_of(row["low"], row["high"])
    ahead = "neither is clearly" if end is None else f"{AHEAD[end]} is"
    words.append(f"{ahead} ahead in {name} ({in_words(row)})")
glue("weighed", " and ".join(words), display=False)

# %% [markdown]
# ## What one run can show
#
# It shows an order of events at the saved steps of one training. It shows whether a difference
# between the modules is there before anything is learned, since in that case learning did not make
# it. It cannot show that one event causes the other, because everything changes at once. It cannot
# show that another seed, recipe, size or language gives the same order. Intervals hold for these
# questions and this run. Existence questions are one skill of several, and the recipe teaches them
# from a certain step on: competence comes no earlier than that, whatever the modules do.
#
# | the question | what the run gives |
# | --- | --- |
# | do the modules part during training? | the table above, per quantity |
# | is the parting learned? | compare the first step, at random weights |
# | does parting come before competence? | an order in this run, as fine as the saved steps |
# | does parting make competence? | nothing: that needs an intervention on training |
#
# ## Exercises
#
# Where a function is asked for, the cell below its solution checks yours. `make exercises` writes
# this chapter without the solutions.
#
# ```{exercise} Size at the start
# :label: ex-size-at-the-start
#
# *Warm-up, 5 minutes.* At random weights, is the size of attention's update or the FFN's the
# larger? Name one setting of the architecture that decides this before any training.
#
# :::{dropdown} Hint
# What is the length of a mean of many independent vectors, compared with the length of one?
# :::
# ```
#
# ```{solution} ex-size-at-the-start
# :class: dropdown
#
# Read `levels` at the first step. The output matrices' initial standard deviation, the FFN's width
# and the averaging in attention decide it: a mean over many unlike values is small.
# ```
#
# ```{exercise} Since when for good?
# :label: ex-parting-step
#
# *Warm-up, 15 minutes.* Write `parting_step(steps, lows, highs)`: the saved step since which a
# quantity has *parted* as this chapter defines it, from the ends of the interval of FFN minus
# attention at every step, and infinity if it has not at the end. Why does the definition look
# backwards from the last step?
#
# :::{dropdown} Hint
# The last interval says on which side to be. Go back from there as long as the intervals agree.
# :::
# ```
#
# ```{solution} ex-parting-step
# :class: dropdown
#
# An interval of 95% lies on the wrong side now and then, and there are many steps. The first
# interval that excludes zero would therefore tend to come too early. That the side is the final one
# matters: a quantity that changes sides parts twice, and the second time counts.
# ```

# %% tags=["solution", "hide-input"]
import math


def parting_step(steps, lows, highs):
    """The step of good parting, or infinity, from three lists in the order of the steps."""

    def side(low, high):
        return 1 if low > 0 else -1 if high < 0 else 0

    sides = [side(low, high) for low, high in zip(lows, highs, strict=True)]
    found = math.inf
    for step, each in reversed(list(zip(steps, sides, strict=True))):
        if each == 0 or each != sides[-1]:
            break
        found = step
    return found


# %% tags=["exercise-check"]
from lost_in_attention.teaching.training_dynamics import check_parting_step

check_parting_step(parting_step)

# %% [markdown]
# ```{exercise} Resample what is independent
# :label: ex-bootstrap-interval
#
# *Medium, 25 minutes.* Write `bootstrap_interval(values, images, seed)`: the ends of a 95%
# percentile interval of the mean over questions, from at least 1,000 resamples of *whole images*. A
# resample holds as many images as there are, and all questions of each. How much too narrow is the
# interval if questions are resampled, with five questions an image that always agree?
#
# :::{dropdown} Hint
# Keep for each image the sum of its values and their number; a resample adds up both.
# `numpy.random.default_rng(seed)` draws.
# :::
# ```
#
# ```{solution} ex-bootstrap-interval
# :class: dropdown
#
# The mean of a resample is the sum of all its values over their number, because images may hold
# different numbers of questions. With five questions that agree, resampling questions pretends to
# have five times the observations: too narrow by $\sqrt{5}$.
# ```

# %% tags=["solution", "hide-input"]
import numpy as np


def bootstrap_interval(values, images, seed):
    """Low and high of the mean of `values`, an array; `images` has each one's image."""
    codes = np.unique(images, return_inverse=True)[1]
    sums, counts = np.bincount(codes, weights=values), np.bincount(codes)
    random = np.random.default_rng(seed)
    drawn = random.integers(len(sums), size=(2000, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


# %% tags=["exercise-check"]
from lost_in_attention.teaching.training_dynamics import check_bootstrap_interval

check_bootstrap_interval(bootstrap_interval)

# %% [markdown]
# ```{exercise} Another competence
# :label: ex-another-competence
#
# *Medium, 20 minutes.* Replace `"pope"` by `"mmmu"` and one half by that set's chance. Do the
# answers in the last two columns of the table change?
#
# :::{dropdown} Hint
# Find the two places in this chapter where the benchmark is named, and the one where chance is.
# :::
# ```
#
# ```{solution} ex-another-competence
# :class: dropdown
#
# Competence in another skill may come at another step, while parting stays where it is. So *before*
# and *after* are statements about a pair: a quantity and a skill.
# ```
#
# ```{exercise} A second run
# :label: ex-a-second-run
#
# *Research, 120 minutes.* Train the same recipe with another seed
# (`python -m lost_in_attention train --help`). Its weights during training lie in the folder of the
# run, under `checkpoints`; put them into `data/models/checkpoints` under the new model's name. What
# is the same in both runs, and are two runs enough to say so?
#
# :::{dropdown} Hint
# Train in the background, with the recipe that the model's card names. Read `since` before you
# compare the runs: it gives steps that were saved, nothing between them.
# :::
#
# Rubric (10 points): which orders you expect to see again, written before the second run (2); both
# runs' steps side by side, each with its intervals (3); a comparison of loss curves, so that an
# earlier parting is not just faster training (3); how probable your agreement would be by chance
# (2).
# ```
#
# ```{solution} ex-a-second-run
# :class: dropdown
#
# Set `model` to the new name. Two runs show whether an order *can* differ, not how often it does.
# If the order agrees in $n$ independent runs, one that holds in half of all runs would do so with
# probability $2^{1-n}$.
# ```
