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
# # Audit: what the printed tables say by themselves
#
# - **Covers** Tables 1, 2 and 4 to 8 of the paper, and the sentences that rest on them.
# - **Verdict** none: no model runs here. This page does arithmetic on the {glue:text}`audit_cells`
#   numbers that these tables print. What it finds says how far a table can carry a sentence, not
#   whether the sentence is true of the models.
# - **Takes** a few seconds.
#
# You will
#
# 1. check every average, and learn from two decimals how many questions an accuracy was made of,
# 2. see which differences of Table 2 are larger than chance makes them, and what they share,
# 3. hold the sentences of Section 4.3 and Appendix D beside the rows that they are about.
#
# You need {doc}`12_sap`.

# %%
import numpy as np
import pandas as pd
from myst_nb import glue

from lost_in_attention.publishing import audit, plots, report
from lost_in_attention.publishing.claims import text_claims
from lost_in_attention.publishing.dots import dots_by_model
from lost_in_attention.publishing.forest import forest
from lost_in_attention.publishing.paper import claimed, published, table1

# %% tags=["parameters"]
tier = "book"
largest_size = 1000
draws = 20000
seed = 0
output = "book/generated"

# %%
run = report.start("18_audit", globals(), about_models=False)
MODE_NAMES = {"vis_attn": "encoder", "patch_comp": "complexity"}
table2 = published("table2_sap").replace({"variant": MODE_NAMES})
models = table2["model"].unique().tolist()
stated = audit.stated_sizes()
changes = audit.changes_from_vanilla(stated).replace({"variant": MODE_NAMES})

# %% [markdown]
# ## The answer
#
# In Table 2 replaced attention is at least as good as vanilla in {glue:text}`changes_up` of
# {glue:text}`changes_all` cells and worse by more than chance in {glue:text}`changes_worse`: that
# replacement does not degrade performance the table bears out, within chance. It is better by more
# than chance in {glue:text}`changes_better`, and in {glue:text}`changes_holm` after correction for
# all cells. The three priors, noise among them, change accuracy by {glue:text}`shift_every` points
# together, with a spread of {glue:text}`shift_spread` among them: they share their gain, and why
# patched runs are ahead no arithmetic can say.
#
# The cells hold together: {glue:text}`averages_right` of {glue:text}`averages_all` averages are
# right, and for {glue:text}`sizes_only` of {glue:text}`sizes_all` data sets of VMCBench one number
# of questions, with its multiples, fits every cell.

# %% tags=["hide-input"]
MODES = {
    "encoder": ("o", plots.OKABE_ITO[0]),
    "complexity": ("s", plots.OKABE_ITO[2]),
    "noise": ("^", plots.OKABE_ITO[3]),
}
shares = changes.assign(
    **{name: changes[old] / 100 for name, old in
       (("points", "change"), ("points_low", "low"), ("points_high", "high"))}
)  # fmt: skip
fig, axes = dots_by_model(
    shares, models, "points", series="variant", looks=MODES, across="benchmark",
    order=list(stated.index), ylabel="change against vanilla (points)", row_height=2.3, columns=3,
)  # fmt: skip
ends = changes.groupby("variant")["change"].agg(["min", "max"])
spans = [f"{name} {row['min']:+.2f} to {row['max']:+.2f}" for name, row in ends.iterrows()]
run.figure(
    fig,
    "changes",
    data=changes,
    alt=f"A panel a model, a mark a benchmark and mode. Changes in points: {'; '.join(spans)}.",
    caption="The changes that Table 2 prints, with 95% intervals of two independent samples.",
)

# %% [markdown]
# ## What is counted
#
# Every cell was copied from the paper's text into `data/paper`, one row a cell. Bold, underlines
# and colours are lost in that text, so that which setting is a default is inferred below.

# %%
ablations = audit.ablations()
cells = {
    "Table 1": table1()[["rid", "mixig"]].size,
    "Table 2": len(table2),
    "Tables 4 and 5": int((ablations["part"] == "heads").sum()),
    "Tables 6 and 7": int((ablations["part"] == "layers").sum()),
    "Table 8": len(published("table8_variants")),
}
run.table(pd.DataFrame(cells.items(), columns=["table", "numbers"]), "Numbers by table")
glue("audit_cells", sum(cells.values()), display=False)

# %% [markdown]
# ## The averages
#
# Tables 4 to 7 show 20 data sets of VMCBench in parts, and the average over them. We take the plain
# mean of the 20 and look for the largest distance from what is printed. Rounding to two decimals
# explains up to 0.005.

# %%
keys = ["part", "model", "setting"]
is_average = ablations["dataset"] == "AVG"
by_row = ablations[~is_average].groupby(keys, sort=False)["accuracy"]
averages = pd.DataFrame({"printed": ablations[is_average].set_index(keys)["accuracy"]})
averages = averages.assign(mean=by_row.mean())
distance = (averages["printed"] - averages["mean"]).abs()

# %% tags=["remove-cell"]
right = int((distance <= 0.005 + 1e-9).sum())
glue("averages_right", right, display=False)
glue("averages_all", len(averages), display=False)
glue("averages_far", f"{distance.max():.4f}", display=False)

# %% [markdown]
# Of {glue:text}`averages_all` averages {glue:text}`averages_right` are right; the largest distance
# is {glue:text}`averages_far`. So the score is a mean over data sets, in which each weighs the same
# whatever its size.
#
# ## How many questions?
#
# An accuracy over $n$ questions is $k / n$ for a whole number $k$. Two decimals of a percentage are
# fine enough to tell which $n$ is possible: with 400 questions only 4 of 100 percentages are whole
# counts. For each data set we look for all sizes, up to a limit, that fit every one of its cells.

# %%
YES = {True: "yes", False: "no"}
sizes = audit.smallest_sizes(ablations, most=largest_size)
run.table(
    sizes.assign(only=sizes["only"].map(YES)).rename(
        columns={"values": "different values", "only": "others are multiples"}
    ),
    f"The smallest number of questions that fits every cell, up to {largest_size}",
)
size = sizes.set_index("dataset")["size"]

# %% tags=["remove-cell"]
glue("sizes_only", int(sizes["only"].sum()), display=False)
glue("sizes_all", len(sizes), display=False)
glue("sizes_sum", f"{size.sum():,}", display=False)
glue("sizes_stated", f"{stated['VMCBench']:,}", display=False)
glue("sizes_limit", largest_size, display=False)

# %% [markdown]
# Every data set has such a size. In {glue:text}`sizes_only` of {glue:text}`sizes_all` it is the
# only one up to {glue:text}`sizes_limit`, but for its multiples. So these cells come from counted
# answers. A miscopied one would break that in about 24 of 25 cases. The sizes add up to
# {glue:text}`sizes_sum` questions; Appendix C.1 states {glue:text}`sizes_stated`. A likely reason
# is that VMCBench has {glue:text}`sizes_stated` questions with its development set, and that these
# tables are of the rest. Nothing in the comparison of rows hangs on it, because all rows have one
# size.
#
# Table 2 can be asked the same way. For every benchmark that has one score over all its questions
# we count the cells that are whole counts of the size in Appendix C.1, and set beside it how many
# of such percentages would be by chance. VMCBench is left out: a mean over data sets is no count.
# Sizes of 9,000 questions, or one decimal, can tell nothing.


# %%
def fitting(benchmark, models, n):
    """Cells of a benchmark that are whole counts of n questions; MathVista has one decimal."""
    own = table2[(table2["benchmark"] == benchmark) & table2["model"].isin(models)]
    decimals = 1 if benchmark == "MathVista" else 2
    fits = int(audit.whole_counts(own["accuracy"], n, decimals=decimals).sum())
    chance = audit.share_by_chance(n, decimals=decimals)
    share = fits / len(own)
    return {"benchmark": benchmark, "n": n, "fit": fits, "cells": len(own),
            "share": share, "by chance": chance}  # fmt: skip


counts = [fitting(name, models, n) for name, n in stated.items() if name != "VMCBench"]
counts = pd.DataFrame(counts)

# %%
other_size = 951
parts = {
    "LLaVA": [name for name in models if "LLaVA" in name],
    "Qwen": [name for name in models if "Qwen" in name],
}
hallusion = pd.DataFrame(
    {"models": part} | fitting("HallusionBench", own, n)
    for part, own in parts.items()
    for n in (stated["HallusionBench"], other_size)
).drop(columns=["benchmark", "share"])
run.table(hallusion, f"HallusionBench: whole counts of the stated size, and of {other_size}")

# %% tags=["hide-input"]
order = counts["benchmark"].tolist()
drawn = counts.melt(["benchmark", "n", "fit", "cells"], ["share", "by chance"], "what", "mean")
drawn = drawn.assign(low=drawn["mean"], high=drawn["mean"])
looks = {
    "share": {"marker": "o", "color": plots.OKABE_ITO[2], "label": "printed cells"},
    "by chance": {"marker": "x", "color": "0.4", "label": "by chance"},
}
fig, [ax] = plots.panels(1, row_height=3.4)
forest(ax, drawn, row="benchmark", order=order, series="what", looks=looks)
ax.set(xlabel="share of cells that are whole counts", xlim=(-0.05, 1.05))
ax.set_yticks(range(len(order)), [f"{r.benchmark}\nn = {r.n:,}" for r in counts.itertuples()])
plots.legend_below(fig, ax, columns=2)
said = [f"{r.benchmark} {r.fit} of {r.cells}" for r in counts.itertuples()]
run.figure(
    fig,
    "whole_counts",
    data=drawn,
    alt=f"Cells of Table 2 that are whole counts of the stated size: {'; '.join(said)}.",
    caption="Cells of Table 2 that are a whole number of right answers out of the stated size, and "
    "the share of all percentages that are.",
)

# %% tags=["remove-cell"]
at = counts.set_index("benchmark")
for name in ("RWQA", "MMMU", "3DSRBench", "HallusionBench"):
    fit, asked = at.loc[name, ["fit", "cells"]].astype(int)
    glue(f"fit_{name.lower()}", f"{fit} of {asked}", display=False)
    expected = at.loc[name, "by chance"] * asked
    glue(f"chance_{name.lower()}", f"{expected:.1f}", display=False)
by_part = hallusion.set_index(["models", "n"])
glue("other_size", other_size, display=False)
for part, n in (("LLaVA", stated["HallusionBench"]), ("Qwen", other_size)):
    fit, asked = by_part.loc[(part, n), ["fit", "cells"]].astype(int)
    glue(f"hallusion_{part.lower()}", f"{fit} of {asked}", display=False)

# %% [markdown]
# RealWorldQA mostly fits: {glue:text}`fit_rwqa` cells are whole counts of the stated size, and
# chance would give {glue:text}`chance_rwqa`. Two benchmarks do not: of MMMU {glue:text}`fit_mmmu`
# cells fit (chance {glue:text}`chance_mmmu`), of 3DSRBench {glue:text}`fit_3dsrbench` (chance
# {glue:text}`chance_3dsrbench`). Their scores may be means of groups, as VMCBench's is, or of
# another number of questions; the paper does not say. In HallusionBench the two families differ:
# {glue:text}`hallusion_llava` cells of LLaVA models fit the stated size, and
# {glue:text}`hallusion_qwen` of Qwen models fit {glue:text}`other_size`, the number of its
# questions that have an image. So the families seem to have been asked different sets. Within a
# family, which is where Table 2 compares, they are alike.
#
# ## Table 2: which changes can be told from chance?
#
# The table prints no intervals. We give each change the error of two independent samples of the
# stated size, $\sqrt{p(1-p)/n + p'(1-p')/n}$. This is careful: both runs answer the same questions,
# so that most of the chance is common to them and cancels. How much cancels cannot be seen from
# accuracies. The other end can be: if every answer that changed had changed in one direction, an
# exact McNemar test would give the smallest p-value that such accuracies allow. The figure on top
# has all changes and their intervals.

# %%
up = changes["change"] >= 0
clear = {
    "at least as good as vanilla": up.sum(),
    "better, independent samples": (changes["low"] > 0).sum(),
    "worse, independent samples": (changes["high"] < 0).sum(),
    "differ, after Holm's correction": (changes["p_holm"] < 0.05).sum(),
    "better, if all changes had one direction": (up & (changes["p_least"] < 0.05)).sum(),
    "worse, if all changes had one direction": (~up & (changes["p_least"] < 0.05)).sum(),
}
clear = pd.DataFrame(clear.items(), columns=["cells", "number"])
run.table(clear.assign(of=len(changes)), "Cells of Table 2 against vanilla")

# %% tags=["remove-cell"]
number = clear.set_index("cells")["number"]
glue("changes_all", len(changes), display=False)
glue("changes_up", int(number["at least as good as vanilla"]), display=False)
glue("changes_better", int(number["better, independent samples"]), display=False)
glue("changes_worse", int(number["worse, independent samples"]), display=False)
glue("changes_holm", int(number["differ, after Holm's correction"]), display=False)
glue("least_better", int(number["better, if all changes had one direction"]), display=False)
glue("least_worse", int(number["worse, if all changes had one direction"]), display=False)
glue("changes_low", f"{-changes['change'].min():.2f}", display=False)
glue("changes_open", len(changes) - int(number["better, independent samples"]), display=False)
glue("changes_furthest", f"{-changes['low'].min():.1f}", display=False)
within = int((changes["low"] > -2).sum())
glue("changes_within", within, display=False)
first = changes[changes["p_holm"] < 0.05]
named = first["model"] + " " + first["benchmark"] + " " + first["variant"]
glue("changes_first", "; ".join(named) or "none", display=False)

# %% [markdown]
# That replacement does not degrade performance, as Section 4.3 says, the table bears out, within
# chance; the largest loss is {glue:text}`changes_low` points. What it excludes is another matter: a
# loss of more than two points in {glue:text}`changes_within` cells, and one of more than
# {glue:text}`changes_furthest` points in all.
#
# An *improvement* is clear in {glue:text}`changes_better` cells one by one, in the other
# {glue:text}`changes_open` it is not; after correction for all of them it is clear in
# {glue:text}`changes_first`. The answers themselves could show more: up to
# {glue:text}`least_better` improvements, and {glue:text}`least_worse` of the losses.
#
# ## What all modes share
#
# Three unlike priors, the encoder's attention, the busyness of patches and noise, move the score
# together. For each model and benchmark the next table has the mean change over modes and, in
# brackets, the spread among them, in points.

# %%
shared = audit.shifts(changes)
shown = [f"{row.mean:+.2f} ({row.spread:.2f})" for row in shared.itertuples()]
wide = shared.assign(shown=shown).pivot(index="model", columns="benchmark", values="shown")
run.table(
    wide.loc[models, list(stated.index)].rename_axis(columns=None).reset_index(),
    "Mean change against vanilla over modes, and its spread",
)
rest = shared[shared["benchmark"] != "VMCBench"]


def over_all(rows):
    """The mean shift of several models and benchmarks, and its error, in points."""
    return rows["mean"].mean(), np.sqrt((rows["error"] ** 2).sum()) / len(rows)


# %% tags=["remove-cell"]
for name, rows in (("every", shared), ("rest", rest)):
    mean, error = over_all(rows)
    glue(f"shift_{name}", f"{mean:+.2f} ± {1.96 * error:.2f}", display=False)
glue("shift_up", int((shared["mean"] > 0).sum()), display=False)
glue("shift_all", len(shared), display=False)
glue("shift_spread", f"{shared['spread'].mean():.2f}", display=False)
glue("shift_error", f"{shared['error'].mean():.2f}", display=False)
modes = changes.groupby("variant")["change"].mean()
glue("shift_modes", ", ".join(f"{n} {m:+.2f}" for n, m in modes.items()), display=False)

# %% [markdown]
# The mean change is above zero in {glue:text}`shift_up` of {glue:text}`shift_all` places. Over all
# of them it is {glue:text}`shift_every` points (95%, independent samples), and
# {glue:text}`shift_rest` without VMCBench. So, taken together, the table does show a gain that
# chance alone hardly makes. The
# modes differ from each other by {glue:text}`shift_spread` points on average, a part of the
# {glue:text}`shift_error` that one comparison is uncertain by ({glue:text}`shift_modes` by mode).
#
# What the modes share is not what they write. It can be that leaving out the learned scores helps,
# which is the paper's reading. It can be something else in which all patched runs differ from the
# vanilla run: a prompt, a precision, a way to read replies. In a single place it can be chance in
# the vanilla run, with which every mode is compared. A run of the patched code that replaces
# nothing would tell these apart. The paper reports none; here it is the control `blend0` of
# {doc}`12_sap`.
#
# ## The defaults
#
# Appendix D varies the band of heads and the range of layers, all under noise, on VMCBench. We look
# for the best row of each model, and for the row whose average is Table 2's VMCBench cell under
# noise: that is the setting of Table 2.

# %%
NAMES = {"LLaVA-OV-7B": "LLaVA-OneVision-7B"}
noise = table2.query("benchmark == 'VMCBench' and variant == 'noise'").set_index("model")
average = averages.reset_index().assign(table2=lambda t: t["model"].replace(NAMES))
average["table2"] = average["table2"].map(noise["accuracy"])
average["error"] = [
    audit.average_error(rows["accuracy"], size[rows["dataset"]])
    for _, rows in ablations[~is_average].groupby(keys, sort=False)
]
default = average[average["printed"] == average["table2"]]
best = average.loc[average.groupby(["part", "model"])["printed"].idxmax()]
second = average.drop(best.index).groupby(["part", "model"])["printed"].max()
chosen = default.assign(best=default.index.isin(best.index)).set_index(["part", "model"])
chosen["ahead"] = chosen["printed"] - second
shown = chosen.assign(best=chosen["best"].map(YES), printed=chosen["printed"].map("{:.2f}".format))
run.table(
    shown.reset_index()[["part", "model", "setting", "printed", "best", "ahead", "error"]],
    "Rows whose average is Table 2's cell; ahead of the next best row, in points",
)

# %% tags=["remove-cell"]
glue("default_best", int(chosen["best"].sum()), display=False)
glue("default_all", len(chosen), display=False)
gains = {
    model: audit.gain_of_choosing(rows["error"], draws=draws, seed=seed)
    for model, rows in average.groupby("model")
}
glue(
    "default_gain",
    ", ".join(f"{gain:.1f} for {model}" for model, gain in gains.items()),
    display=False,
)
glue("default_ahead", f"{chosen['ahead'].min():.2f} to {chosen['ahead'].max():.2f}", display=False)
glue("default_error", f"{chosen['error'].mean():.2f}", display=False)
outside = changes[changes["benchmark"] != "VMCBench"]
glue("outside_all", len(outside), display=False)
glue("outside_up", int((outside["change"] >= 0).sum()), display=False)

# %% [markdown]
# In {glue:text}`default_best` of {glue:text}`default_all` ablations the default is the best row; it
# leads the next by {glue:text}`default_ahead` points, with an error of a row of
# {glue:text}`default_error`. The score that chose the setting is one of the scores that Table 2
# reports. If all rows were equally good in truth, the best would stand above the mean by chance, at
# most, in points: {glue:text}`default_gain` (rows taken as independent; they share questions, which
# makes it less). The paper says that settings were chosen by ablations, and shows them.
#
# This touches one column of Table 2. On the other six benchmarks, which as far as the paper says
# took no part in the choice, replaced attention is at least as good in {glue:text}`outside_up` of
# {glue:text}`outside_all` cells.
#
# ## Sentences of Appendix D beside their rows
#
# Averages over data sets have an error of their own,
# $\frac{1}{20} \sqrt{\sum_d p_d (1 - p_d) / n_d}$ with the sizes found above. Margins between two
# rows have that of independent samples.

# %%
LOW, MIDDLE, HIGH = "[0.0, 0.3]", "[0.3, 0.6]", "[0.6, 0.9]"
rows = average.set_index(keys)


def margin(model, tail):
    """How far the middle band is above a tail, in points, with a 95% interval."""
    both = rows.loc[[("heads", model, setting) for setting in (MIDDLE, tail)]]
    half = 1.96 * np.hypot(*both["error"])
    gap = both["printed"].iloc[0] - both["printed"].iloc[1]
    return {"model": model, "tail": tail, "mean": gap, "low": gap - half, "high": gap + half}


ablated = average.loc[average["part"] == "heads", "model"].unique()
margins = pd.DataFrame(margin(model, tail) for model in ablated for tail in (LOW, HIGH))

# %% tags=["hide-input"]
TAILS = {
    LOW: {"marker": "o", "color": plots.OKABE_ITO[2], "label": f"above {LOW}"},
    HIGH: {"marker": "s", "color": plots.OKABE_ITO[3], "label": f"above {HIGH}"},
}
fig, [ax] = plots.panels(1, row_height=3)
forest(ax, margins, row="model", order=list(ablated), series="tail", looks=TAILS)
ax.set(xlabel=f"{MIDDLE} minus tail (points)")
plots.legend_below(fig, ax, columns=2)
told = [f"{r.model} above {r.tail} {r.mean:+.2f}" for r in margins.itertuples()]
run.figure(
    fig,
    "bands",
    data=margins,
    alt=f"Margins of the middle band with 95% intervals: {'; '.join(told)}.",
    caption="How far the middle band of heads is above each tail on VMCBench, Tables 4 and 5.",
)

# %%
vanilla = table2.query("benchmark == 'VMCBench' and variant == 'vanilla'").set_index("model")
ranges = rows.loc["layers"].reset_index()
usual = ranges["model"].replace(NAMES).map(vanilla["accuracy"])
ranges = ranges.assign(change=ranges["printed"] - usual).set_index(["model", "setting"])
layers = ranges.loc["LLaVA-1.5-7B"]
shown = layers.assign(
    printed=layers["printed"].map("{:.2f}".format), change=layers["change"].map("{:+.2f}".format)
)
run.table(
    shown.reset_index()[["setting", "printed", "change", "error"]],
    "LLaVA-1.5-7B, noise in a range of layers: average, change against Table 2's vanilla, error",
)

# %% tags=["remove-cell"]
margins = margins.set_index("tail")
for name, tail in (("low", LOW), ("high", HIGH)):
    glue(f"above_{name}", int((margins.loc[tail, "mean"] > 0).sum()), display=False)
    glue(f"clear_{name}", int((margins.loc[tail, "low"] > 0).sum()), display=False)
glue("band_models", len(ablated), display=False)
glue("band_all", int(claimed("C001")), display=False)
glue("layer_models", average.loc[average["part"] == "layers", "model"].nunique(), display=False)
for name, setting, claim in (("early", "[2, 7]", "C051"), ("late", "[22, 31]", "C052")):
    glue(f"text_{name}", f"{claimed(claim):g}", display=False)
    glue(f"row_{name}", f"{layers.loc[setting, 'change']:+.2f}", display=False)
glue("text_row", "no" if "[1, 7]" not in layers.index else "a", display=False)
losing = ranges[ranges["change"] < -5].reset_index().groupby("model")["setting"].agg(", ".join)
told = "; ".join(f"{settings} of {model}" for model, settings in losing.items())
glue("layers_low", told, display=False)

# %% [markdown]
# - *Middle heads beat both tails* (claim C076). The middle band is above the lower one in
#   {glue:text}`above_low` of {glue:text}`band_models` models, clearly in {glue:text}`clear_low`,
#   and above the upper one in {glue:text}`above_high`, clearly in {glue:text}`clear_high`. The
#   order is as the sentence has it. That the lower band is the sensitive one (C077) stands well;
#   that the middle is better than the upper is within chance.
# - *Ablations across all models* (C075). Tables 4 and 5 have {glue:text}`band_models`, Tables 6
#   and 7 {glue:text}`layer_models` of the {glue:text}`band_all` variants; Table 8 has
#   {glue:text}`variants_all` more, with bands of heads only.
# - *Layers 1 to 7 lose {glue:text}`text_early` percent* (C051). There is {glue:text}`text_row` row
#   [1, 7]; [2, 7] is {glue:text}`row_early` points against Table 2's vanilla, near the sentence in
#   points.
# - *Layers 22 to 31 lose {glue:text}`text_late` percent* (C052). That row is
#   {glue:text}`row_late` points against vanilla, no loss: the point that the sentence makes, that
#   late layers cost little, is in the table stronger than in the text.
# - *Early layers are sensitive, later ones little* (C078). The rows that lose more than five points
#   are {glue:text}`layers_low`: all begin early. The sentence stands for the two models that have
#   rows.
#
# ## Table 8

# %%
variants = audit.variants()
winners = variants.idxmax(axis=1).rename("best").to_frame()
ordered = np.sort(variants, axis=1)
winners["ahead"] = ordered[:, -1] - ordered[:, -2]
run.table(
    variants.round(1).join(winners).reset_index(),
    "Accuracy on VMCBench (%) by band of heads; the best band and its lead in points",
)

# %% tags=["hide-input"]
fig, [ax] = plots.panels(1, row_height=4.6)
colors = [*plots.OKABE_ITO[2:6], "0.2", "0.55"]
for number, (name, row) in enumerate(variants.iterrows()):
    line = ("-", "--")[number // 6]
    look = {"marker": "osD^vP*X"[number], "ls": line, "color": colors[number % 6], "lw": 1}
    ax.plot(range(len(row)), row, label=name, **look)
ax.axhline(25, color="0.6", lw=1, ls=":", zorder=0)
ax.set_xticks(range(variants.shape[1]), variants.columns)
ax.set(xlabel="band of heads replaced by noise", ylabel="accuracy (%)", ylim=(0, 100))
plots.legend_below(fig, ax, columns=2)
run.figure(
    fig,
    "variants",
    data=variants.reset_index(),
    alt="Lines over five bands, one a variant. Best bands: "
    + "; ".join(f"{name} {row['best']}" for name, row in winners.iterrows()) + ".",
    caption="Table 8. The dotted line is a guess among four options.",
)  # fmt: skip

# %% tags=["remove-cell"]
middle = winners[winners["best"] == MIDDLE]
glue("middle_best", len(middle), display=False)
glue("variants_all", len(variants), display=False)
glue("middle_ahead", f"{middle['ahead'].min():.1f} to {middle['ahead'].max():.1f}", display=False)
lowest = winners[winners["best"] == LOW]
glue("low_best", ", ".join(lowest.index), display=False)
glue("low_ahead", f"{lowest['ahead'].min():.1f} and {lowest['ahead'].max():.1f}", display=False)
under = variants < 25
clearly = variants < 25 - 1.96 * audit.standard_error(25, size.sum())
glue("under_clearly", int(clearly.sum().sum()), display=False)
glue("under_cells", int(under.sum().sum()), display=False)
glue("under_all", variants.size, display=False)
glue("under_models", ", ".join(under.index[under.any(axis=1)]), display=False)
always = under.index[under.all(axis=1)]
glue("under_always", ", ".join(always), display=False)

# %% [markdown]
# The middle band is best in {glue:text}`middle_best` of {glue:text}`variants_all` variants, by
# {glue:text}`middle_ahead` points. *Frequently the best*, as Appendix D.2 has it, is a fair
# description. The largest leads belong to the lower band ({glue:text}`low_best`:
# {glue:text}`low_ahead` points), which the same section calls model-dependent.
#
# Of {glue:text}`under_all` cells {glue:text}`under_cells` lie below 25%, what guessing among four
# options gives ({glue:text}`under_models`), {glue:text}`under_clearly` of them by more than chance.
# Guessing does not do that; replies that no choice can be read from would. Where all bands are so
# low ({glue:text}`under_always`), the row says nothing about attention; there is no vanilla row to
# compare with.
#
# ## Table 1
#
# RID lies between 0 and 2. The entropy of token mixing lies within $\log 2$ of $\log S$, so that
# MixIG in nats is within $\pm \log 2$ ({prf:ref}`thm-tme-least`), and in bits within $\pm 1$.

# %%
bound = np.log(2)
MODULE_NAMES = {"noise_delta": "NoiseΔ", "noise_qkv": "NoiseQKV", "ffn": "FFN"}
modules = table1()[["rid", "mixig"]].rename(index=MODULE_NAMES).assign(
    **{"RID in [0, 2]": lambda t: t["rid"].between(0, 2),
       "MixIG within log 2": lambda t: t["mixig"].abs() <= bound,
       "MixIG within 1": lambda t: t["mixig"].abs() <= 1}
)  # fmt: skip
run.table(modules.replace(YES).reset_index(), "Table 1 and the bounds of one update")

# %% tags=["remove-cell"]
within_nats = modules["MixIG within log 2"]
glue("table1_nats", f"{within_nats.sum()} of {len(modules)}", display=False)
glue("table1_beyond", ", ".join(modules.index[~within_nats]), display=False)

# %% [markdown]
# In nats {glue:text}`table1_nats` rows fit (not {glue:text}`table1_beyond`), in bits all do. The
# paper does not name the unit, nor how layers are put together: {doc}`07_modulewise` goes through
# the readings.
#
# ## What stands in two ways
#
# Some numbers and definitions stand in the paper twice, and not alike. They are listed because
# whoever repeats the work has to choose; {doc}`10_readings` measures what hangs on some of them.

# %%
TWICE = {
    "questions that RID and MixIG are tracked on": ["C013", "C027"],
    "kinds of tasks of VMCBench": ["C034", "C050"],
    "what an edge is cut at": ["C018", "C057"],
    "order of the two noise baselines": ["C015", "C069"],
}
texts = text_claims().set_index("id")
twice = [
    {"what": what, "claim": claim, "section": texts.loc[claim, "section"],
     "value": f"{texts.loc[claim, 'value']} {texts.loc[claim, 'unit']}",
     "note": texts.loc[claim, "note"]}
    for what, claims in TWICE.items() for claim in claims
]  # fmt: skip
run.table(pd.DataFrame(twice), "Passages that differ")

# %% [markdown]
# Two more are not numbers. The answer of a reasoning model is said to be taken from its `<answer>`
# tags, and further on in C.2 from what the `<think>` tag encloses. A chain of thought that is read
# as an answer would be one way to an accuracy below chance. And the noise of NoiseQKV replaces
# weight matrices in Section 4.2, which adds that its mean is matched to that of attention's update;
# in Appendix F it replaces the queries, keys and values of one head, with their own mean and
# variance ({doc}`07_modulewise`).

# %% [markdown]
# ## Exercises
#
# Where a function is asked for, the cell below its solution checks yours against the paper's tables
# in `data/paper`. `make exercises` writes this chapter without the solutions.
#
# ```{exercise} How sure is a size?
# :label: ex-how-sure-is-a-size
#
# *Warm-up, 10 minutes.* A data set has 23 different percentages with two decimals. How likely is it
# that a wrong size of about 400 questions fits them all by chance? Use `audit.share_by_chance`.
#
# :::{dropdown} Hint
# Are the percentages independent of each other, if the size is wrong?
# :::
# ```
#
# ```{solution} ex-how-sure-is-a-size
# :class: dropdown
#
# One percentage fits with a chance of about 0.04, so 23 of them with $0.04^{23}$, less than
# $10^{-31}$. Multiples of the true size are the exception: they fit always.
# ```
#
# ```{exercise} Can it be so many of n?
# :label: ex-is-whole-count
#
# *Warm-up, 15 minutes.* Write `is_whole_count(printed, size)`: whether a percentage printed with
# two decimals can be a whole number of right answers out of `size`. Of what share of all
# percentages is that so for 400 questions, and for 9,000?
#
# :::{dropdown} Hint
# Take the nearest whole number of answers, turn it back into a percentage, and compare what would
# be printed. Floating-point numbers are seldom equal.
# :::
# ```
#
# ```{solution} ex-is-whole-count
# :class: dropdown
#
# For 400 questions 401 of 10,001 percentages, four in a hundred: a size that is wrong is soon found
# out. With 9,000 questions two neighbours are 0.011 points apart, so nine in ten percentages fit,
# and the test says nothing.
# ```


# %% tags=["solution", "hide-input"]
def is_whole_count(printed, size):
    """Whether k / size, for a whole number k, is printed as this percentage (True or False)."""
    count = round(printed * size / 100)
    return abs(100 * count / size - printed) <= 0.005 + 1e-9


# %% tags=["exercise-check"]
from lost_in_attention.teaching.audit import check_is_whole_count

check_is_whole_count(is_whole_count)

# %% [markdown]
# ```{exercise} Do the averages add up?
# :label: ex-largest-gap
#
# *Warm-up, 15 minutes.* `lost_in_attention.publishing.paper.published("tables4_5_heads")` has a row
# for each cell of Tables 4 and 5: columns `model`, `head_min`, `head_max`, `category`, `dataset`
# and `accuracy`. The data set AVG is the average that the paper prints. Write `largest_gap(table)`:
# the largest distance, over models and bands, between this average and the plain mean of the data
# sets. What would it be if the paper had averaged within categories first?
#
# :::{dropdown} Hint
# AVG is no data set. Group by model and band, and keep an eye on the sign of a distance.
# :::
# ```
#
# ```{solution} ex-largest-gap
# :class: dropdown
#
# At most 0.005, which is rounding: the score is a plain mean in which every data set weighs the
# same. Means of categories give another number wherever categories differ in size and in level. One
# miscopied cell would show as a twentieth of its error.
# ```


# %% tags=["solution", "hide-input"]
def largest_gap(table):
    """The largest distance in points, a float, of a table like `tables4_5_heads`."""
    keys = ["model", "head_min", "head_max"]
    is_average = table["dataset"] == "AVG"
    printed = table[is_average].set_index(keys)["accuracy"]
    means = table[~is_average].groupby(keys)["accuracy"].mean()
    return float((printed - means).abs().max())


# %% tags=["exercise-check"]
from lost_in_attention.teaching.audit import check_largest_gap

check_largest_gap(largest_gap)

# %% [markdown]
# ```{exercise} The paired test
# :label: ex-the-paired-test
#
# *Medium, 20 minutes.* Of 1,000 questions vanilla has 600 right, the variant 612. Give the p-value
# of an exact McNemar test if 12, 40, 100 and 400 answers changed. From how many on is the error of
# two independent samples the smaller one?
#
# :::{dropdown} Hint
# Fix the number $m$ of answers that changed. How many of them did the variant gain, if it has 12
# more right?
# :::
# ```
#
# ```{solution} ex-the-paired-test
# :class: dropdown
#
# With $m$ changed answers, $(m + 12) / 2$ for the better, `binomtest((m + 12) // 2, m)` gives about
# 0.0005, 0.08, 0.27 and 0.58. Independent samples have the variance $2 p (1 - p) n = 478$ answers;
# the paired one has about $m$, so from about 480 on, almost half of all answers: more than a model
# changes that does not mostly guess.
# ```
#
# ```{exercise} Audit another table
# :label: ex-another-paper
#
# *Research, 180 minutes.* Take a paper that you did not write, with a table of accuracies on
# benchmarks whose sizes are known. Ask of it what this chapter asks: do averages add up, which
# cells are whole counts, which differences are larger than their error, and which sentences go
# beyond the rows?
#
# :::{dropdown} Hint
# Copy the cells into a CSV file, one row a cell, and check the copy with somebody else before you
# compute.
# :::
#
# Rubric (10 points): the questions, and which sentence each is about, written before the table is
# copied (2); errors of all differences, and how many would be clear by chance among so many (3); a
# control: the same arithmetic on a table whose answer you know, such as one that you made up from
# counted answers (2); what the table cannot say, in words that its authors could accept (3).
# ```
#
# ```{solution} ex-another-paper
# :class: dropdown
#
# There is no single right answer. Most of what you find will be rounding, sizes that are not
# stated, and differences within their error; none of that is misconduct, and a report says so. Send
# your findings to the authors before you publish them.
# ```
