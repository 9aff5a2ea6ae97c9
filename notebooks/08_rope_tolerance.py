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
# # The tolerance: RID without rotary embedding
#
# - **Covers** Section 3.3.1 of the paper, its tolerance, and the comparison in Section 4.2,
#   observation 2, and Figure 2.
# - **Verdict** on claim C072: {glue:text}`verdict_c072`. The other is in the table below.
# - **Takes** less than a minute and 2 GB at tier `book`: most numbers were measured before.
#
# You will
#
# 1. switch the rotary embedding off and measure how far the layer inputs move,
# 2. see how much the answer depends on the layer, which the paper does not name,
# 3. compare the tolerance with attention's RID, and ask whether it is a tolerance at all.
#
# You need {doc}`04_rid` and {doc}`06_layerwise_curves`.

# %%
import numpy as np
import pandas as pd
from myst_nb import glue

from lost_in_attention.evaluation.measurements import RotaryAnswers
from lost_in_attention.evaluation.sink_store import has_sinks, read_sinks
from lost_in_attention.models.registry import folder_name
from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.paper import claimed, table1
from lost_in_attention.publishing.votes import (
    apart,
    ends,
    how_many,
    in_words,
    interval_table,
    means_apart,
    side_of,
    spread,
    tally,
    within,
)
from lost_in_attention.residual.depth import over_depth
from lost_in_attention.residual.measurements import Tolerance, Updates, own_updates
from lost_in_attention.residual.sink_parts import phases
from lost_in_attention.residual.tables import crowded_models, intervals, over_layers

# %% tags=["parameters"]
tier = "book"
models = "pretrained,families"
source = "own"
questions = 150
tolerance_questions = 60
live = 2
seed = 0
output = "book/generated"

# %% tags=["hide-cell"]
run = report.start("08_rope_tolerance", globals())
names = run.models
drawn = run.drawn("pope", source, questions, smoke=6)
samples = run.fewer(drawn, tolerance_questions, smoke=6)
tolerances, updates, answered = run.measured(
    (Tolerance(), samples), (Updates(), samples), (RotaryAnswers(), samples), live=live
)
tolerance, replies = tolerances.table, answered.table
updates_agree, updates = updates.agreement, own_updates(updates.table)
crowded = crowded_models(updates)

# %%
asked = int(tolerance.groupby("model")["sample"].nunique().max())
glue("first_model", names[0], display=False)
glue("agreement", tolerances.agreement, display=False)
glue("updates_agreement", updates_agree, display=False)
glue("answers_agreement", answered.agreement, display=False)
glue("n_questions", asked, display=False)
glue("paper_tolerance", claimed("C012"), display=False)
by_layer = ["model", "module", "layer"]
curves = pd.concat([tolerance.assign(module="tolerance"), updates])
curves = intervals(curves, ["rid", "spectrum_change"], by_layer, seed=seed)

# %% [markdown]
# ## The answer
#
# As a mean over depth, attention's RID is between half and twice the tolerance, as the paper's is,
# in {glue:text}`about_tolerance` (as a multiple of it, {glue:text}`attention_times`); without layer
# 0, which the tolerance leaves out, in {glue:text}`about_later` ({glue:text}`later_times`). That
# attention therefore keeps the space of the state is not tested. The FFN's RID, in the paper
# {glue:text}`paper_ffn_times` times the tolerance, lies between the same bounds in
# {glue:text}`about_ffn` ({glue:text}`ffn_times`): there the tolerance does not tell the modules
# apart. The tolerance is the RID by which
# layers' inputs move without rotary embedding, a mean over layers 1 and later
# ({glue:text}`epsilon`); the paper names no layer, and the largest is so many times the smallest of
# one model: {glue:text}`reading_span` ({glue:text}`sink_step`, {doc}`17_sink`). A tolerance should
# leave a model able to answer: accuracy with rotary embedding minus that without it is, in points,
# {glue:text}`falls_by_kind`.
#
# Each model was asked {glue:text}`n_questions` questions, the small ones are one training seed a
# family, and only the paper's own models can test its {glue:text}`paper_tolerance`.

# %% tags=["hide-input"]
LOOKS = {
    "tolerance": {
        "label": "tolerance",
        "color": "0.2",
        "linestyle": ":",
        "marker": "^",
    },
    **plots.MODULES,
}


def draw_layers(ax, rows):
    for module, curve in rows.groupby("module"):
        plots.band(ax, curve["layer"], curve, LOOKS[module])
    ax.set(ylabel=plots.axis_label("rid"), ylim=(0, None))
    plots.whole_numbers(ax)


# %% tags=["hide-input"]
shown = curves[curves["quantity"] == "rid"]
tops = shown[shown["module"] == "tolerance"].groupby("model")["mean"].agg(["max", "idxmax"])
peaks = [
    f"{name} {row['max']:.2g} at layer {shown.loc[row['idxmax'], 'layer']}"
    for name, row in tops.iterrows()
]
fig, axes = plots.panels(len(names), row_height=2.1)
for ax, name in zip(axes, names, strict=True):
    draw_layers(ax, shown[shown["model"] == name])
    ax.set_title(name)
axes[-1].set_xlabel("layer (index)")
plots.legend_below(fig, axes[0], columns=3)
run.figure(
    fig,
    "by_layer",
    data=shown,
    alt=f"Lines by layer, a panel for each model. Largest tolerance: {'; '.join(peaks)}.",
    caption="RID between layer inputs with and without rotary embedding, beside the RID of the "
    "updates of attention and FFN, with 95% intervals over images.",
)

# %% [markdown]
# ## What is measured
#
# RID of a real update is never exactly zero. The paper therefore calls an update
# information-preserving when its RID is about
#
# $$
# \epsilon_\mathrm{RoPE} = \mathrm{RID}\big(X_\mathrm{in}^{\mathrm{RoPE}} \,\big|\,
# X_\mathrm{in}^{\mathrm{no\ RoPE}}\big),
# $$
#
# the RID between a layer's input with rotary embedding and without. It gives
# {glue:text}`paper_tolerance`, and finds attention's RID on that order. It does not say which
# layer's input.
#
# That matters. The rotary embedding acts on queries and keys, inside attention. The input of layer
# 0 does not feel it: the tolerance is zero there by construction. The input of layer $l$ carries
# its absence from $l$ layers. We show all layers.
#
# We fix what each model must show; the rule that makes one verdict of all models stands in
# {doc}`../reading`.
#
# - C072: attention's RID (mean over depth, {doc}`06_layerwise_curves`) is between half and twice
#   $\epsilon_\mathrm{RoPE}$ (mean over layers after layer 0), with a 95% interval of the ratio
#   inside these bounds.
# - C012: {glue:text}`paper_tolerance` is a number of published weights; on them, agreement is a
#   distance of at most a tenth, as a mean over layers after layer 0: the whole interval lies that
#   close.
#
# Three things are measured: the tolerance (`rope_tolerance`), the updates of
# {doc}`06_layerwise_curves`, and the answers of each model with rotary embedding and inside
# `without_rope`. That was done before, by `python -m lost_in_attention measure --model` and the
# model's name; tables are read where they are of these very weights, questions and seed. The folded
# cell before the answer lists them.
#
# Some of the {glue:text}`n_questions` questions were asked {glue:text}`first_model` again.
# Tolerance: {glue:text}`agreement`. Updates: {glue:text}`updates_agreement`. Answers, right or
# wrong: {glue:text}`answers_agreement`.

# %% [markdown]
# ## One number, many readings
#
# The tolerance is one number in the paper. Depending on the layer, it is one of these. What is not
# zero at layer 0 is rounding, or what the {term}`rank rule` cuts of the state.

# %% tags=["hide-input"]
later = tolerance[tolerance["layer"] > 0]
last = tolerance.groupby("model")["layer"].transform("max")
readings = {
    "layer 0": tolerance[tolerance["layer"] == 0],
    "layer 1": tolerance[tolerance["layer"] == 1],
    "last layer": tolerance[tolerance["layer"] == last],
    "mean of layers 1 and later": later,
    "mean of all layers": tolerance,
}
columns = {}
for reading, rows in readings.items():
    found = intervals(over_layers(rows, ["rid"], ["model"]), ["rid"], ["model"], seed=seed)
    columns[reading] = found.set_index("model").apply(in_words, axis=1)
run.table(pd.DataFrame(columns).reset_index(), "The tolerance of every model, by reading")


# %% tags=["remove-cell"]
def sink_said(name):
    """Between which layers the tolerance moves most, and where the model writes its sink."""
    steps = np.log(sizes[name].sort_index()).diff().abs()
    top, written = int(steps.idxmax()), phases(read_sinks(folder_name(name))[0].carriers).written
    moved = f"the largest step of {name} is between layers {top - 1} and {top}"
    return f"{moved}, where it writes its sink" if written == top - 1 else moved


positive = curves[(curves["module"] == "tolerance") & (curves["layer"] > 0)]
positive = positive[positive["quantity"] == "rid"]
sizes = {name: rows.set_index("layer")["mean"] for name, rows in positive.groupby("model")}
spans = pd.Series({name: own.max() / own.min() for name, own in sizes.items()})
glue("reading_span", apart(lambda own: ends(spans[own], ".1f"), names, run.evidence), display=False)
told = "; ".join(sink_said(name) for name in names if has_sinks(folder_name(name)))
glue("sink_step", told or "no sink is stored", display=False)

# %% [markdown]
# The more the tolerance moves between layers, the more a threshold needs its layer named. Within
# one model, largest over smallest: {glue:text}`reading_span` ({glue:text}`sink_step`). Behind the
# layer that writes a sink one token makes nearly all of a state's norm, so what happens to the
# others moves the state little: the tolerance of a decoder with a sink is about that token too
# ({doc}`17_sink`).
#
# ## Beside attention's RID

# %%
LATER = "attention, layers 1 and later"
attention_later = updates[(updates["module"] == "attention") & (updates["layer"] > 0)]
means = pd.concat(
    [
        over_layers(later, ["rid"], ["model"]).assign(module="tolerance"),
        over_depth(updates, ["rid"], ["model", "module"]),
        over_layers(attention_later, ["rid"], ["model"]).assign(module=LATER),
    ]
)
wide = means.pivot(
    index=["model", "sample", "image_source"], columns="module", values="rid"
).reset_index()
ratios = {module: f"{module} ratio" for module in plots.MODULES}
ratios[LATER] = "attention ratio, layers 1 and later"
for module, ratio in ratios.items():
    wide[ratio] = np.log2(wide[module] / wide["tolerance"])
levels = intervals(wide, ["tolerance", *plots.MODULES], ["model"], seed=seed)
doublings = intervals(wide, list(ratios.values()), ["model"], seed=seed)
factors = doublings.assign(**{c: 2 ** doublings[c] for c in ("mean", "low", "high")})
table = pd.concat([levels, factors])
order = ["tolerance", *plots.MODULES, *ratios.values()]
table = interval_table(table, "model", "quantity").loc[names, order]
run.table(
    table.reset_index().rename(columns={"ffn": "FFN", "ffn ratio": "FFN ratio"}),
    "Mean RID over depth, and its ratio to the tolerance (geometric mean over questions)",
)

# %% [markdown]
# Four things make this comparison weak. A mean over depth has attention's RID in layer 0, and the
# tolerance has none there: the last column takes layers 1 and later for both. The tolerance
# collects what happened in all layers before it, while attention's RID is that of one update. RID
# is not symmetric, so the tolerance asks what the input *without* rotary embedding has that the one
# with it lacks, not the reverse. And where tokens are as many as features
# ({glue:text}`crowded`), RID is about another term ({doc}`06_layerwise_curves`); of the other
# models attention's lies between the bounds in {glue:text}`about_roomy`.
#
# ## Is it a tolerance?
#
# A tolerance should be the RID of a change that leaves the information where it was. So we ask the
# models without rotary embedding the same questions.

# %% tags=["hide-input"]
replies["correct"] = replies["correct"].astype(float)
accuracy = intervals(replies, ["correct"], ["model", "rotary"], seed=seed)
shown_accuracy = interval_table(accuracy, "model", "rotary").loc[names, ["on", "off"]]
run.table(
    shown_accuracy.reset_index().rename(columns={"on": "with RoPE", "off": "without RoPE"}),
    "Accuracy on the same questions, with 95% intervals",
)

# %% tags=["remove-cell"]
paired = replies.pivot(
    index=["model", "sample", "image_source"], columns="rotary", values="correct"
)
paired = paired.assign(fall=100 * (paired["on"] - paired["off"])).reset_index()
falls = intervals(paired, ["fall"], ["model"], seed=seed).set_index("model").loc[names]
told = apart(lambda own: spread(falls.loc[own]), names, run.evidence)
glue("falls_by_kind", told, display=False)
told = "; ".join(f"{name} {in_words(row)}" for name, row in falls.iterrows())
glue("accuracy_falls", told, display=False)
unclear = [name for name, row in falls.iterrows() if side_of(row["low"], row["high"]) is None]
told = "; ".join(f"{name} {shown_accuracy.loc[name, 'off']}" for name in unclear)
glue("unclear_falls", told or "no model", display=False)

# %% [markdown]
# Accuracy with rotary embedding minus that without it, question by question and in points, with 95%
# intervals: {glue:text}`accuracy_falls`. A model that cannot answer any more is broken by the
# change, and the RID of breaking it is no tolerance. Where the interval holds zero or ends there,
# the model may be as good without it; its accuracy is then: {glue:text}`unclear_falls`.
#
# ## The verdicts


# %% tags=["hide-input"]
def about_tolerance(ratio):
    """For every model: does its interval lie between half the tolerance and twice?"""
    rows = doublings[doublings["quantity"] == ratio].set_index("model").loc[names]
    # In doublings: a ratio between a half and two lies within one of zero.
    return {name: within(row["low"], row["high"], 0, 1) for name, row in rows.iterrows()}


def in_tolerances(ratio):
    """The models' ratios to the tolerance, for each kind of subject."""
    factor = factors[factors["quantity"] == ratio].set_index("model")["mean"]
    return apart(lambda own: ends(factor[own], ".2f"), names, run.evidence)


answers, of_later, of_ffn = (
    about_tolerance(ratios[module]) for module in ("attention", LATER, "ffn")
)
run.claim(
    "C072",
    statement="Attention's RID is about the tolerance (that it therefore keeps the space is not "
    "tested)",
    paper=f"{table1().loc['attention', 'rid']} against {claimed('C012')}",
    measured=f"attention's RID in tolerances, {in_tolerances(ratios['attention'])}",
    tolerance="ratio between 1/2 and 2, intervals inside",
    answers=answers,
    questions=asked,
    note="tolerance as mean over layers after layer 0; with attention's RID over these too, "
    f"{in_tolerances(ratios[LATER])}. Is it about the tolerance then? "
    f"{tally(of_later, run.evidence)}. Is the FFN's? {tally(of_ffn, run.evidence)}",
)

# %% tags=["hide-input"]
by_sample = over_layers(later, ["rid"], ["model"]).assign(models="all")


def epsilon_of(own):
    """Mean and interval over some models."""
    rows = by_sample[by_sample["model"].isin(own)]
    return intervals(rows, ["rid"], ["models"], seed=seed).iloc[0]


epsilon = epsilon_of(names)
near = within(epsilon["low"], epsilon["high"], claimed("C012"), claimed("C012") / 10)
run.claim(
    "C012",
    statement="The tolerance",
    paper=claimed("C012"),
    measured=apart(lambda own: in_words(epsilon_of(own)), names, run.evidence),
    tolerance="interval within a tenth, on published weights",
    answers={"mean over models": near},
    questions=asked,
    number=True,
    note="mean over the models of a kind and layers after layer 0",
)
run.claims_table()

# %% tags=["remove-cell"]
glue("verdict_c072", run.claims[0].verdict, display=False)
glue("about_tolerance", how_many(answers, run.evidence), display=False)
glue("about_later", how_many(of_later, run.evidence), display=False)
glue("about_ffn", how_many(of_ffn, run.evidence), display=False)
of_roomy = {name: answer for name, answer in answers.items() if name not in crowded}
glue("about_roomy", how_many(of_roomy, run.evidence), display=False)
glue("crowded", ", ".join(crowded) or "none of these models", display=False)
paper_ffn = float(table1().loc["ffn", "rid"]) / float(claimed("C012"))
glue("paper_ffn_times", f"{paper_ffn:.1f}", display=False)
for key, rows, quantity in (
    ("epsilon", levels, "tolerance"),
    ("attention_times", factors, ratios["attention"]),
    ("later_times", factors, ratios[LATER]),
    ("ffn_times", factors, ratios["ffn"]),
):
    glue(key, means_apart(rows[rows["quantity"] == quantity], run.evidence), display=False)

# %% [markdown]
# ## Exercises
#
# Where a function is asked for, the cell below its solution checks yours. `make exercises` writes
# this chapter without the solutions.
#
# ```{exercise} Zero by construction
# :label: ex-zero-by-construction
#
# *Warm-up, 5 minutes.* Why is the tolerance zero at layer 0 but attention's RID at layer 0 changes
# when the rotary embedding is switched off?
#
# :::{dropdown} Hint
# List what lies between the embeddings and the input of layer 0, then what lies between that input
# and $X_\mathrm{attn}$ of layer 0.
# :::
# ```
#
# ```{solution} ex-zero-by-construction
# :class: dropdown
#
# The input of layer 0 holds embeddings and visual tokens. No attention has acted, so no rotation
# has. The first thing that the rotation can change is the update of layer 0's attention.
# ```
#
# ```{exercise} Rotate by position
# :label: ex-rotate
#
# *Medium, 20 minutes.* Write `rotate(x, base)`: the rotary embedding of queries `x`, a row a
# position, counted from 0. Pair number $i$ of the $d/2$ pairs of features turns by the angle
# $t \cdot \mathrm{base}^{-2i/d}$ at position $t$. Pair feature $i$ with feature $i + d/2$, or with
# its neighbour; the check takes both. Why does a model without it still know the order of the
# words?
#
# :::{dropdown} Hint
# A pair $(a, b)$ becomes $(a \cos\theta - b \sin\theta,\; a \sin\theta + b \cos\theta)$. All angles
# together are the outer product of positions and frequencies.
# :::
# ```
#
# ```{solution} ex-rotate
# :class: dropdown
#
# A rotation keeps lengths, and the product of a query at $t$ with a key at $s$ depends on $t - s$
# alone. Without it the causal mask is left: a row at position $t$ averages $t + 1$ tokens, so the
# model can tell early from late, and `without_rope` does not take that away.
# ```

# %% tags=["solution", "hide-input"]
import torch


def rotate(x, base):
    """The rows of x (positions x features, an even number of them) in rotary embedding."""
    positions, features = x.shape
    half = features // 2
    frequencies = base ** (-2 * torch.arange(half, dtype=x.dtype) / features)
    angles = torch.arange(positions, dtype=x.dtype)[:, None] * frequencies
    first, second = x[:, :half], x[:, half:]
    turned = [
        first * angles.cos() - second * angles.sin(),
        first * angles.sin() + second * angles.cos(),
    ]
    return torch.cat(turned, dim=1)


# %% tags=["exercise-check"]
from lost_in_attention.teaching.rope_tolerance import check_rotate

check_rotate(rotate)

# %% [markdown]
# ```{exercise} The tolerance as one number
# :label: ex-tolerance
#
# *Warm-up, 10 minutes.* Write `tolerance(with_rope, without_rope)`: from the layers' inputs
# $X_\mathrm{in}$ in both runs, two lists of states, the mean tolerance over the layers after
# layer 0.
#
# :::{dropdown} Hint
# The order of the two states in the chapter's formula is the order of the arguments of `rid`.
# :::
# ```
#
# ```{solution} ex-tolerance
# :class: dropdown
#
# Layer 0 stays out because its tolerance is zero by construction. Taken in, it would make the
# number smaller by a factor of $(L - 1)/L$: nothing in a deep model, an eighth in one with eight
# layers.
# ```

# %% tags=["solution", "hide-input"]
from lost_in_attention.metrics.rid import rid


def tolerance(with_rope, without_rope):
    """Mean RID over the layers after layer 0, from lists of inputs (tokens x features)."""
    pairs = list(zip(with_rope, without_rope, strict=True))[1:]
    return sum(rid(one, other).total for one, other in pairs) / len(pairs)


# %% tags=["exercise-check"]
from lost_in_attention.teaching.rope_tolerance import check_tolerance

check_tolerance(tolerance)

# %% [markdown]
# ```{exercise} The other direction
# :label: ex-the-other-direction
#
# *Medium, 15 minutes.* RID is not symmetric. Swap the two states in `rope_tolerance` and compare
# the two curves. Which part of RID changes, and which cannot?
#
# :::{dropdown} Hint
# Which of the two parts is an absolute value of a difference?
# :::
# ```
#
# ```{solution} ex-the-other-direction
# :class: dropdown
#
# Spectrum change is an absolute difference and stays. Support innovation changes, because the
# projectors are those of the other state.
# ```
#
# ```{exercise} One layer at a time
# :label: ex-one-layer-at-a-time
#
# *Research, 45 minutes.* Switch the rotary embedding off in one layer only and measure the RID
# between the outputs of that layer with and without. Is *this* tolerance about attention's RID?
#
# :::{dropdown} Hint
# `position_embeddings` is a keyword argument of every decoder layer.
# :::
#
# Rubric (10 points): what you expect of the ratio to attention's RID, before the run (2); the
# tolerance of every layer with an interval over images (3); a control that does not concern
# position, such as the same layer with its queries scaled by 1.01 (3); what this says of the
# paper's number, and what not (2).
# ```
#
# ```{solution} ex-one-layer-at-a-time
# :class: dropdown
#
# Register a forward pre-hook with `with_kwargs=True` on the layer that replaces
# `position_embeddings` by ones and zeros. Nothing is collected from the layers before, so the
# result can be compared with the RID of a single update.
# ```
