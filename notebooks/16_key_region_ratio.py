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
# # The key-region degree ratio: do wrong answers look elsewhere?
#
# - **Covers** the key-region degree ratio of Appendix E and observation 3 of Section 4.2.
# - **Verdict** on claim C019, less interaction at the object when the answer is wrong:
#   {glue:text}`verdict_c019`. The others are in the table below.
# - **Takes** about a minute and 2 GB at tier `book`.
#
# You will
#
# 1. compute the share of edges that touch the asked object, for right and for wrong answers,
# 2. divide it by what edges without any preference would give for an object of that size,
# 3. test whether it tells right from wrong answers beyond the size and the name of the object.
#
# You need {doc}`15_tracing`.

# %%
import math
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator
from myst_nb import glue

from lost_in_attention.publishing import plots, report, showing
from lost_in_attention.publishing.forest import forest
from lost_in_attention.publishing.paper import claimed
from lost_in_attention.publishing.votes import (
    apart,
    in_words,
    side_of,
    spread,
    tally,
    unanimous,
)
from lost_in_attention.residual.tables import intervals
from lost_in_attention.trace import check_threshold, comparison, uniform_ratio
from lost_in_attention.trace.cases import questions_for
from lost_in_attention.trace.counting import WITHOUT_HUBS, thresholds
from lost_in_attention.trace.measuring import Tracing
from lost_in_attention.trace.stored import agreement, origins, traced_cases

# %% tags=["parameters"]
tier = "book"
models = "pretrained,families"
source = "own"
annotations = "own"
cases_wanted = 100
questions = 1500
threshold = 0.1
resamples = 300
seed = 0
output = "book/generated"

# %%
run = report.start("16_key_region_ratio", globals())
names, wanted = run.models, run.count(cases_wanted, smoke=6)
check_threshold(threshold)

# %%
draws = run.count(resamples, smoke=20)
asked = questions_for(names, source=source, annotations=annotations, seed=seed)
everything = max(len(each.samples) for each in asked.values())
at_most = everything if tier == "paper" else run.count(questions, smoke=100)

# %% tags=["hide-input"]
THRESHOLDS = thresholds(threshold)
ABOUT = ["correct", "image_source", "kind", "key_share"]
COUNTED = ["ratio", "expected", "normalised", "edges"]
LABELS = ["layer", "tau", "among", "kind_edges", "sample", "model"]
parts, notes, facts = [], [], {}
for name, subject in run.each_subject():
    tracing = Tracing(subject, asked[name], threshold)
    found = traced_cases(tracing, wanted=wanted, at_most=at_most)
    facts[name] = found.facts
    notes.append({"model": name} | found.note())
    if len(found.counts):
        parts.append(found.ratios().assign(model=name))
    if name == names[0]:
        glue("traces_equal", agreement(tracing, found), display=False)
measured = pd.DataFrame(columns=[*LABELS, *ABOUT, *COUNTED], dtype=float)
if parts:
    measured = pd.concat(parts, ignore_index=True)
glue("traces_origin", origins(facts), display=False)

# %% tags=["hide-input"]
CASE = ["model", "sample", "among", "kind_edges", "tau"]
per_case = (
    measured.groupby([*CASE, *ABOUT], sort=False)
    .agg(
        ratio=("ratio", "mean"),
        normalised=("normalised", "mean"),
        empty=("edges", lambda edges: (edges == 0).mean()),
    )
    .reset_index()
)
per_case["percent"] = 100 * per_case["ratio"]


def chosen_cases(name, kind_edges="all", among="all tokens", tau=threshold):
    return per_case.query(
        "model == @name and kind_edges == @kind_edges and among == @among and tau == @tau"
    )


def compared(cases, statistic, **labels):
    found = comparison.image_bootstrap(cases, statistic, resamples=draws, seed=seed)
    return labels | found._asdict()


# %% tags=["hide-input"]
BETWEEN, SELF = {"kind_edges": "between"}, {"kind_edges": "self"}
VARIANTS = [
    ("percent", "all edges", comparison.gap, {}),
    ("percent", "between patches", comparison.gap, BETWEEN),
    ("percent", "self-edges", comparison.gap, SELF),
    ("percent", "without hubs", comparison.gap, {"among": WITHOUT_HUBS}),
    ("percent", "matched in size", comparison.matched_gap, {}),
    ("normalised", "all edges", comparison.gap, {}),
    ("normalised", "between patches", comparison.gap, BETWEEN),
]
gaps = pd.DataFrame(
    compared(
        chosen_cases(name, **which),
        partial(statistic, value=unit),
        model=name,
        variant=variant,
        unit=unit,
    )
    for unit, variant, statistic, which in VARIANTS
    for name in names
)


# %% tags=["remove-cell"]
LOOKS = plots.model_looks(names)
BY_VARIANT = {"row": "variant", "series": "model", "looks": LOOKS}


def worded(row):
    return "not known" if math.isnan(row["mean"]) else in_words(row)


def spoken(table, columns):
    return "; ".join(
        f"{', '.join(str(row[c]) for c in columns)}: {worded(row)}" for _, row in table.iterrows()
    )


def gap_words(variant, unit="percent"):
    """Right minus wrong, one kind of subject after the other."""
    rows = gaps[(gaps["variant"] == variant) & (gaps["unit"] == unit)].set_index("model")
    return apart(lambda own: spread(rows.loc[own]), names, run.evidence)


glue("gap_raw", gap_words("all edges"), display=False)
glue("gap_uniform", gap_words("all edges", "normalised"), display=False)
glue("gap_matched", gap_words("matched in size"), display=False)

# %% [markdown]
# ## The answer
#
# Right minus wrong, at most {glue:text}`n_wanted` answers of each, the share of edges that touch
# the asked object is, in percentage points, {glue:text}`gap_raw`; the paper has
# {glue:text}`paper_right`% against {glue:text}`paper_wrong`%. A larger object has more edges by
# its size alone: in multiples of what uniform edges give for a region of that size, right minus
# wrong is {glue:text}`gap_uniform`, and in points between answers matched in size
# {glue:text}`gap_matched`. Is it attention that differs, then, and not size (C020)?
# {glue:text}`says_c020`. Beside size and the object's name, a larger ratio goes with right
# answers in {glue:text}`odds_above` of {glue:text}`n_models` models and with wrong ones in
# {glue:text}`odds_below`. No ratio of these graphs can say that the question sent attention
# elsewhere, as they are fixed before it is read.

# %% tags=["hide-input"]
fig, axes = plots.panels(2, row_height=1.7 + 0.3 * len(names))
units = {
    "percent": "right minus wrong (percentage points)",
    "normalised": "right minus wrong (multiples of uniform)",
}
for ax, (unit, label) in zip(axes, units.items(), strict=True):
    rows = gaps[gaps["unit"] == unit]
    forest(ax, rows, order=rows["variant"].unique(), **BY_VARIANT)
    ax.set_xlabel(label)
plots.legend_below(fig, axes[0], columns=2)
showing.show_figure(
    run,
    fig,
    "gaps",
    data=gaps,
    value="mean",
    alt="Right minus wrong answers with intervals. " + spoken(gaps, ["variant", "unit", "model"]),
    caption="Above: the ratio. Below: the ratio divided by what uniform edges give for a "
    "region of its size. Lines are 95% intervals.",
)

# %% [markdown]
# ## What is compared
#
# $\rho^{(l)}$ is the share of the edges of layer $l$ with at least one end in the key region: the
# tokens whose patch shares some area with a box of the asked object (Appendix E). The paper has
# {glue:text}`paper_wrong`% for 100 wrong answers and {glue:text}`paper_right`% for 100 right ones.
# It does not say how layers without edges enter. Its definition of an edge takes in those from a
# patch to itself, its captions speak of interactions between patches. Here $\rho$ of a case is the
# mean over the layers that have edges, self-edges included, and both choices are varied below.
#
# **Which questions.** An object that is absent has no key region, so only questions with the answer
# "yes" can enter; of POPE's questions that leaves out {glue:text}`n_absent`. POPE asks for each
# object that is there three times, with the same words; we ask once, and {glue:text}`n_present`
# questions are left. They are shuffled, and asked in that order until
# {glue:text}`n_wanted` right and as many wrong answers are found.
#
# **What "wrong" means here.** Among objects that are there, right is "yes" and wrong is "no". So
# right and wrong cannot be told from saying yes and saying no, and a wrong answer is a miss, never
# a hallucination. A difference between the two groups may come from anything that makes an object
# easy to miss, its size first of all.
#
# Before the run we fix what will count as agreement, at $\tau=$ {glue:text}`tau`, with 95%
# intervals over images:
#
# - C019: in every model, $\rho$ of wrong answers is below that of right ones.
# - C020: the same after each $\rho$ is divided by what uniform edges would give for a region of
#   that size, and for right answers matched to the wrong ones in size. Both must hold: only then
#   are right answers the ones with *more interaction*, and not the ones with larger objects.
# - C060 and C061, the two numbers themselves: within a tenth, on published weights only.

# %%
sources = {each.source: each for each in asked.values()}
for each in sources.values():
    run.evidence.asked("pope", each.benchmark)
paper = {claim: claimed(claim) for claim in ("C060", "C061")}
glue("paper_wrong", paper["C060"], display=False)
glue("paper_right", paper["C061"], display=False)
absent = [f"{each.absent} ({world})" for world, each in sources.items()]
present = [f"{len(each.samples)} ({world})" for world, each in sources.items()]
glue("n_absent", ", ".join(absent), display=False)
glue("n_present", ", ".join(present), display=False)
glue("n_wanted", wanted, display=False)
glue("tau", f"{threshold:g}", display=False)
for size in (12, 40):
    glue(f"uniform_{size}", f"{100 * uniform_ratio(576, size):.1f}", display=False)

# %% [markdown]
# Some tokens are attended to by most others, whatever they show. To see whether these *hubs*
# decide the result, one variant leaves out, in each image, the twentieth of the tokens from which
# most edges to other tokens start. A case whose key region consists of hubs drops out there. They
# are visual tokens, unlike the sink of {doc}`17_sink`.
#
# Asking and tracing take long. What `python -m lost_in_attention trace --model` and the model's
# name has stored is used where it is of the same weights, questions and threshold; the other
# models are asked and traced now. {glue:text}`traces_origin` Of the first model,
# {glue:text}`traces_equal`.

# %%
counted = pd.DataFrame(notes)
run.table(counted, "Questions that were asked, and the cases that were traced")
few = counted[counted["wrong"] < wanted]["model"].tolist()
fewest = counted[["right", "wrong"]].sum(axis=1).min()
glue("few", ", ".join(few) or "no model", display=False)

# %% [markdown]
# Fewer wrong answers than wanted were found for: {glue:text}`few`. There all that were found are
# taken.
#
# ## By layer
#
# The dotted lines say what the two groups would have if edges fell uniformly on all pairs of tokens
# that causality allows. With $n$ tokens and $k$ key tokens that is
# $1 - \frac{(n-k)(n-k+1)}{n(n+1)}$, roughly $2k/n$ for small regions. Where the dotted lines
# differ, the groups differ in the *size* of the object; attention has no part in that.

# %% tags=["hide-input"]
plain = measured.query("among == 'all tokens'")
layered = plain.query("kind_edges == 'all' and tau == @threshold")
groups = ["model", "correct", "layer"]
curves = pd.DataFrame(columns=[*groups, "quantity", "mean", "low", "high"], dtype=float)
if len(layered):
    curves = intervals(layered, ["ratio", "expected"], groups, seed=seed)
GROUPS = {
    True: {"label": "right", "color": plots.OKABE_ITO[2], "marker": "o"},
    False: {"label": "wrong", "color": plots.OKABE_ITO[3], "marker": "s", "ls": "--"},
}


def draw_layers(ax, name):
    for correct, look in GROUPS.items():
        rows = curves[(curves["model"] == name) & (curves["correct"] == correct)]
        seen, chance = (rows[rows["quantity"] == quantity] for quantity in ("ratio", "expected"))
        plots.band(ax, seen["layer"], 100 * seen[["mean", "low", "high"]], look)
        uniform = {"color": look["color"], "label": f"{look['label']}, uniform edges"}
        ax.plot(chance["layer"], 100 * chance["mean"], ":", **uniform)
    ax.set(title=name, ylabel="ratio (%)", ylim=(0, None))
    plots.whole_numbers(ax)


# %% tags=["hide-input"]
ends = curves.groupby(["model", "correct", "quantity"])["mean"].agg(["min", "max"])
words = [
    f"{n}, {GROUPS[c]['label']}, {'uniform' if q == 'expected' else 'measured'}: "
    f"{100 * low:.3g} to {100 * high:.3g}%"
    for (n, c, q), (low, high) in ends.iterrows()
]
fig, axes = plots.panels(len(names), row_height=2.3)
for ax, name in zip(axes, names, strict=True):
    draw_layers(ax, name)
axes[-1].set_xlabel("layer (index)")
plots.legend_below(fig, axes[0], columns=2)
showing.show_figure(
    run,
    fig,
    "ratio_by_layer",
    data=curves,
    value="mean",
    alt=f"Key-region degree ratio by layer, ranges over layers. {'; '.join(words)}.",
    caption="The ratio of right and wrong answers with 95% intervals, and what uniform "
    "edges would give.",
)

# %% [markdown]
# ## The difference, and what it is made of
#
# The figure at the top has one number a case: the mean over its layers. The difference is right
# minus wrong, positive where right answers have more edges at the object. Intervals resample
# images, because questions about one image share its graph ({doc}`15_tracing`). *Matched in size*
# compares each wrong answer with the right ones whose region is nearest in size.

# %% tags=["hide-input"]
run.table(
    gaps.assign(difference=gaps.apply(worded, axis=1))
    .pivot(index=["unit", "variant"], columns="model", values="difference")[names]
    .rename_axis(columns=None)
    .reset_index(),
    "Right minus wrong, with 95% intervals",
)

# %% [markdown]
# ## The threshold
#
# With a low threshold nearly every pair has an edge and $\rho$ approaches its uniform value. With a
# high one few edges are left, and more and more layers have none: there $\rho$ is undefined, and a
# mean over layers rests on the others.

# %%
DIFFERENCE = partial(comparison.gap, value="percent")
by_tau = pd.DataFrame(
    compared(cases, DIFFERENCE, model=name, tau=tau, empty=cases["empty"].mean())
    for name in names
    for tau in THRESHOLDS
    for cases in [chosen_cases(name, tau=tau)]
)

# %% tags=["hide-input"]
fig, axes = plots.panels(2, row_height=2.4)
for name in names:
    rows = by_tau[by_tau["model"] == name]
    plots.band(axes[0], rows["tau"], rows, LOOKS[name] | {"label": name})
    axes[1].plot(rows["tau"], 100 * rows["empty"], **LOOKS[name])
axes[0].axhline(0, color="0.6", lw=1, zorder=0)
axes[0].set(ylabel="right minus wrong\n(percentage points)")
axes[1].set(xlabel="threshold (attention weight)", ylabel="layers without\nedges (%)")
axes[1].set_ylim(bottom=0)
plots.legend_below(fig, axes[0], columns=2)
showing.show_figure(
    run,
    fig,
    "threshold",
    data=by_tau,
    value="mean",
    alt=f"Right minus wrong by threshold. {spoken(by_tau, ['model', 'tau'])}.",
    caption="The difference of the ratios, and how many graphs are empty, by threshold.",
)

# %% [markdown]
# ## Does the ratio predict the answer?
#
# A logistic regression gives the odds of a right answer for one standard deviation more of $\rho$:
# by $\rho$ alone, beside the size of the region (logarithm of its share of the tokens), and beside
# size and the object asked for, which is what kind of question there is among POPE's. A weak
# ridge penalty keeps the coefficients of rare objects finite. An odds ratio above 1 means that
# right answers have the larger $\rho$. The last table asks for prediction in the strict sense: fit
# on some images, judge on others, by the area under the ROC curve; 0.5 is guessing.

# %%
BESIDE = {"the ratio alone": [], "beside size": ["log_share"],
          "beside size and object": ["log_share", "kind"]}  # fmt: skip
per_case["log_share"] = np.log(per_case["key_share"].astype(float))
odds = pd.DataFrame(
    compared(chosen_cases(name), partial(comparison.log_odds, value="ratio", beside=beside),
             model=name, variant=variant)
    for variant, beside in BESIDE.items()
    for name in names
)  # fmt: skip
odds[["mean", "low", "high"]] = np.exp(odds[["mean", "low", "high"]])

# %% tags=["hide-input"]
fig, [ax] = plots.panels(1, row_height=2 + 0.3 * len(names))
forest(ax, odds, order=list(BESIDE), border=1, **BY_VARIANT)
ax.set(
    xscale="log",
    xlabel="odds ratio of a right answer\nfor one standard deviation of the ratio",
)
ax.xaxis.set_major_formatter("{x:g}")
ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
ax.xaxis.set_minor_formatter("")
plots.legend_below(fig, ax, columns=2)
showing.show_figure(
    run,
    fig,
    "odds",
    data=odds,
    value="mean",
    alt=f"Odds ratios with intervals. {spoken(odds, ['variant', 'model'])}.",
    caption="What one standard deviation of the ratio does to the odds of a right answer, with 95% "
    "intervals over images.",
)

# %% tags=["hide-input"]
run.table(
    pd.DataFrame(
        {
            "model": name,
            "size and object": comparison.held_out_auc(chosen_cases(name), ["log_share", "kind"]),
            "with the ratio": comparison.held_out_auc(
                chosen_cases(name), ["log_share", "kind", "ratio"]
            ),
        }
        for name in names
    ),
    "Area under the ROC curve on held-out images (nan: fewer than ten wrong answers)",
)
last = odds[odds["variant"] == "beside size and object"]
sides = [side_of(row.low, row.high, 1) for row in last.itertuples()]
glue("odds_above", sides.count(True), display=False)
glue("odds_below", sides.count(False), display=False)
glue("n_models", len(names), display=False)

# %% [markdown]
# Beside size and object, the interval of the odds ratio lies above 1 in {glue:text}`odds_above` of
# {glue:text}`n_models` models and below 1 in {glue:text}`odds_below`. An association would still be
# no cause.
#
# ## The verdicts


# %%
def answers_to(variant, unit):
    rows = gaps[(gaps["variant"] == variant) & (gaps["unit"] == unit)]
    return {row.model: side_of(row.low, row.high) for row in rows.itertuples()}


raw = answers_to("all edges", "percent")
over_uniform = answers_to("all edges", "normalised")
matched = answers_to("matched in size", "percent")
size_free = {name: unanimous([over_uniform[name], matched[name]]) for name in names}
# %% tags=["hide-input"]
run.claim(
    "C019",
    statement="The key-region degree ratio of wrong answers is below that of right ones",
    paper=f"{paper['C060']}% against {paper['C061']}%",
    measured=f"Is it? {tally(raw, run.evidence)}",
    tolerance="all models, interval of the difference above 0",
    answers=raw,
    questions=fewest,
)

# %% tags=["hide-input"]
run.claim(
    "C020",
    statement="Right answers have more interaction at the object, also at equal size",
    paper=f"{paper['C061']}% against {paper['C060']}%, size of the object not considered",
    measured=f"Have they, at equal size? {tally(size_free, run.evidence)}",
    tolerance="all models, over uniform edges and matched in size, both intervals above 0",
    answers=size_free,
    questions=fewest,
    note="the second half of the claim is our reading of misallocation",
)


# %% tags=["hide-input"]
def mean_ratio(own, correct):
    """Mean over the cases of some models, in percent; NaN where there is none."""
    cases = pd.concat([chosen_cases(name) for name in own])
    return float(cases.loc[cases["correct"] == correct, "percent"].mean())


def mean_words(own, correct):
    mean = mean_ratio(own, correct)
    return "no graph with an edge" if math.isnan(mean) else f"{mean:.3g}%"


for claim, correct in (("C060", False), ("C061", True)):
    mean = mean_ratio(names, correct)
    near = None if math.isnan(mean) else abs(mean - paper[claim]) <= 0.1 * paper[claim]
    run.claim(
        claim,
        statement=f"Mean key-region degree ratio of {GROUPS[correct]['label']} answers, percent",
        paper=paper[claim],
        measured=apart(partial(mean_words, correct=correct), names, run.evidence),
        tolerance="within a tenth, on published weights",
        answers={"mean over models": near},
        questions=fewest,
        number=True,
    )
run.claims_table()
glue("verdict_c019", run.claims[0].verdict, display=False)
glue("says_c020", tally(size_free, run.evidence), display=False)

# %% [markdown]
# ## Exercises
#
# Where a function is asked for, the cell below its solution checks yours. `make exercises` writes
# this chapter without the solutions.
#
# ```{exercise} A region twice as large
# :label: ex-a-region-twice-as-large
#
# *Warm-up, 10 minutes.* There are 576 tokens. What is $\rho$ under uniform edges for a region of 12
# tokens, and of 40? Compare the two with the paper's two numbers.
#
# :::{dropdown} Hint
# Use `uniform_share` below, or the formula above the figure by layer.
# :::
# ```
#
# ```{solution} ex-a-region-twice-as-large
# :class: dropdown
#
# `uniform_ratio(576, 12)` gives {glue:text}`uniform_12`% and `uniform_ratio(576, 40)` gives
# {glue:text}`uniform_40`%. A difference like the paper's can come from sizes alone, and the paper
# does not report them.
# ```
#
# ```{exercise} What chance alone gives
# :label: ex-uniform-share
#
# *Warm-up, 15 minutes.* Write `uniform_share(tokens, region)`: the share of edges with an end in a
# region of that many tokens, if edges fall uniformly on all pairs that causality allows, a token
# and itself included. By how much does it differ from the share of the tokens?
#
# :::{dropdown} Hint
# Count the pairs that miss the region: they are the pairs among the other tokens.
# :::
# ```
#
# ```{solution} ex-uniform-share
# :class: dropdown
#
# $n$ tokens have $n(n+1)/2$ pairs, and the $n - k$ others $(n-k)(n-k+1)/2$ among themselves. For
# small regions the share is about $2k/n$, twice that of the tokens, because an edge has two ends.
# ```


# %% tags=["solution", "hide-input"]
def uniform_share(tokens, region):
    """The expected ratio, a float, for `region` of `tokens` tokens."""
    others = tokens - region
    return 1 - others * (others + 1) / (tokens * (tokens + 1))


# %% tags=["exercise-check"]
from lost_in_attention.teaching.key_region_ratio import check_uniform_share

check_uniform_share(uniform_share)

# %% [markdown]
# ```{exercise} The ratio of one graph
# :label: ex-region-ratio
#
# *Warm-up, 15 minutes.* Write `region_ratio(edges, region)`: $\rho$ of one graph, from its edges
# (source, target) and the set of the region's tokens; `nan` for a graph without edges. Why must
# such a layer not count as zero?
#
# :::{dropdown} Hint
# *At least one end* is an *or*. An edge with both ends in the region is one edge.
# :::
# ```
#
# ```{solution} ex-region-ratio
# :class: dropdown
#
# A graph without edges says nothing about where edges go. As a zero it would pull down the mean of
# cases with flat attention, and a difference in flatness between right and wrong answers would look
# like one in allocation.
# ```

# %% tags=["solution", "hide-input"]
import math


def region_ratio(edges, region):
    """The share, a float, of a list of edges (source, target) that touch a set of tokens."""
    if not edges:
        return math.nan
    touching = [1 for source, target in edges if source in region or target in region]
    return len(touching) / len(edges)


# %% tags=["exercise-check"]
from lost_in_attention.teaching.key_region_ratio import check_region_ratio

check_region_ratio(region_ratio)

# %% [markdown]
# ```{exercise} Edges instead of layers
# :label: ex-edges-instead-of-layers
#
# *Medium, 20 minutes.* Pool the edges of all layers of a case before the share is taken, so that
# layers with many edges count for more. Does any verdict change?
#
# :::{dropdown} Hint
# `groupby` over model, case and correctness, `sum` of both counts, then one ratio.
# :::
# ```
#
# ```{solution} ex-edges-instead-of-layers
# :class: dropdown
#
# Sum `key_edges` and `edges` of `measured` over layers and divide. Report both; the paper's wording
# allows either.
# ```
#
# ```{exercise} Rows that know the question
# :label: ex-rows-that-know-the-question
#
# *Research, 60 minutes.* Take the attention of the *last prompt token* to the key region in place
# of the graph (`LayerAttention` with other `tokens`). Divide by the region's share of the tokens.
# Does it tell right from wrong answers, beside size and object?
#
# :::{dropdown} Hint
# For the region's share of the tokens `key_share` of `measured` is there already.
# :::
#
# Rubric (10 points): the hypothesis and the layers it is about, before the test half is touched
# (2); the difference between right and wrong with an interval over images, after division by the
# region's share (3); size and object in the same regression, or matched cases (3); why a miss is
# not a hallucination, and what this design can therefore not say (2).
# ```
#
# ```{solution} ex-rows-that-know-the-question
# :class: dropdown
#
# These rows can depend on the question, so a difference here could mean misallocation. Fit the same
# regression, and choose layers on one half of the images and test on the other.
# ```
