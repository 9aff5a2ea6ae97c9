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
# # The sink: one token that RID is divided by
#
# - **Covers** what Definitions 3.4 to 3.8 of the paper have in common: they are relative to the
#   whole state. Section 4.2 and Table 1 rest on them.
# - **Verdict** none: the paper makes no claim about such tokens. What was predicted for pictures,
#   and what came of it, stands at the end.
# - **Takes** half a minute and 2 GB at tier `book`. Most numbers are stored ones; some are measured
#   again while the page is made.
#
# You will
#
# 1. see where a pretrained decoder writes a massive activation, carries it and takes it away,
# 2. split the difference between FFN and attention in RID, exactly, into what this token makes of
#    it, what size makes and what novelty makes,
# 3. see how much of each head's attention goes to the token, and whether what text shows holds on
#    pictures.
#
# You need {doc}`06_layerwise_curves` and {doc}`09_size_or_novelty`.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from myst_nb import glue

from lost_in_attention.evaluation.sink_store import has_sinks, read_replaced, read_sinks
from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.forest import forest
from lost_in_attention.publishing.predictions import compared, predictions
from lost_in_attention.publishing.showing import say
from lost_in_attention.publishing.votes import in_words, interval_table, opposite, side_of
from lost_in_attention.residual.sink_parts import KEPT_PARTS, PARTS, gap_parts, phases, shares
from lost_in_attention.residual.sink_quantities import carrying_layers, sink_quantities
from lost_in_attention.residual.tables import intervals
from lost_in_attention.sap.sink_shares import sink_change

# %% tags=["parameters"]
tier = "book"
models = "families"
decoder = "smollm2"
on_pictures = "smollm2-pictures"
questions = 4
again = 2
seed = 0
output = "book/generated"

# %%
run = report.start("17_sink", globals())
tables, facts = read_sinks(decoder)
parts = gap_parts(tables.updates, tables.carriers)
numbers = sink_quantities(tables, seed=seed)
times = phases(tables.carriers)

# %% tags=["remove-cell"]
PART_NAMES = {
    "gap": "all tokens",
    "sink written": f"sink: layer {times.written} writes it",
    "sink removed": f"sink: layers {times.removed} and later",
    "sink carried": f"sink: layers {times.written + 1} to {times.removed - 1}",
    "sink before": f"sink: layers before {times.written}",
    "kept": "without the sink",
    "size": "size",
    "novelty": "novelty",
    "spectrum": "spectrum change",
    "cut": "cut by the rank rule",
    "equal_size": "without the sink, at equal size",
}
means = intervals(parts.assign(text=decoder), list(PART_NAMES), ["text"], seed=seed)
means = means.set_index("quantity")
of_gap = shares(parts, PARTS, seed=seed).set_index("quantity")
of_kept = shares(parts, KEPT_PARTS, "kept", seed=seed).set_index("quantity")


def percent(row):
    """A share with its interval, in percent."""
    return f"{row['mean']:.0%} [{row['low']:.0%}, {row['high']:.0%}]"


for name in ("gap", "kept", "equal_size"):
    glue(name, in_words(means.loc[name]), display=False)
glue("share_written", percent(of_gap.loc["sink written"]), display=False)
glue("share_removed", percent(of_gap.loc["sink removed"]), display=False)
glue("share_carried", percent(of_gap.loc["sink carried"]), display=False)
glue("share_size", percent(of_kept.loc["size"]), display=False)
glue("share_novelty", percent(of_kept.loc["novelty"]), display=False)
glue("written", times.written, display=False)
glue("removed", times.removed, display=False)
glue("n_samples", facts["samples"], display=False)
glue("n_layers", int(tables.updates["layer"].max()) + 1, display=False)
glue("size_held", facts["size"], display=False)

# %% [markdown]
# ## The answer
#
# In SmolLM2-135M-Instruct {cite:p}`allal2025smollm` FFN minus attention in RID is
# {glue:text}`gap`, a mean over {glue:text}`n_layers` layers and {glue:text}`n_samples` passages
# of text. Of that, {glue:text}`share_written` is one update of one token: the FFN of layer
# {glue:text}`written` writes a massive activation {cite:p}`sun2024massive`, on the first token in
# {glue:text}`share_first` of the passages. Without it FFN minus attention is {glue:text}`kept`,
# of which size makes {glue:text}`share_size` and novelty {glue:text}`share_novelty`; at equal size
# as well, it is {glue:text}`equal_size`.
#
# From these numbers, and where text has none from how attention is made
# ({glue:text}`without_text`), {glue:text}`n_predicted` predictions were made of the same decoder on
# pictures, before any was measured: {glue:text}`predicted`. The count says little by itself: S01
# and S03 are about a token that is the same in all {glue:text}`n_on_pictures` questions, S11 is a
# control, S10 allowed {glue:text}`range_s10` for what is {glue:text}`value_s10`, and
# {glue:text}`carried_said`.


# %% tags=["hide-input"]
def draw_parts(ax):
    """Each bar takes its part away from what the bars above it have left."""
    steps = [name for name in PART_NAMES if name not in ("cut", "equal_size")]
    left = 0.0
    for row, name in enumerate(steps):
        part = means.loc[name]
        if name in ("gap", "kept"):
            start, end, left = 0, part["mean"], part["mean"]
            ends, color = (part["low"], part["high"]), "0.45"
        else:
            start, end = left, left - part["mean"]
            ends, left = (start - part["high"], start - part["low"]), end
            color = plots.OKABE_ITO[4] if name.startswith("sink") else plots.OKABE_ITO[2]
        ax.barh(row, end - start, left=start, color=color, height=0.62)
        ax.plot(ends, (row, row), color="black", lw=1.4)
        ax.text(
            max(start, end, *ends) + 0.002, row, f"{part['mean']:+.3f}", va="center", fontsize=9
        )
    ax.set_yticks(range(len(steps)), [PART_NAMES[name] for name in steps])
    ax.invert_yaxis()
    ax.set_xlim(-0.006, 1.3 * means.loc["gap", "mean"])
    ax.set_xlabel("FFN minus attention in RID")


fig, (axis,) = plots.panels(1, row_height=3.6)
draw_parts(axis)
shown = means.loc[list(PART_NAMES)].reset_index()
told = "; ".join(f"{PART_NAMES[row['quantity']]}: {row['mean']:.3f}" for _, row in shown.iterrows())
run.figure(
    fig,
    "parts",
    data=shown,
    alt=f"Bars that take a difference apart. {told}.",
    caption="What the difference between FFN and attention in RID is made of. Grey: the difference "
    "with all tokens and without the sink. Each coloured bar takes one part away: what the sink "
    "makes of it in four stretches of layers, then size, novelty and the spectrum. Lines are 95% "
    "intervals over passages.",
)

# %% [markdown]
# ## What was measured
#
# The decoder is SmolLM2-135M-Instruct by itself, with weights of four bits that were unpacked; the
# decoder of the published SmolVLM-256M {cite:p}`marafioti2025smolvlm` has the same architecture. It
# reads {glue:text}`n_samples` passages of a novel (`data/texts`), {glue:text}`n_tokens` tokens
# each, drawn from all of it. Every passage is a unit of the intervals. With {glue:text}`n_layers`
# layers the weights of layers of {doc}`06_layerwise_curves` are equal, so means over depth and
# plain means are one and the same. The table is made by
#
# > {glue:text}`command`
#
# {glue:text}`live_said`

# %% tags=["remove-cell"]
from lost_in_attention.evaluation.sink_store import measured_again

lengths = tables.carriers["tokens"]
try:
    live_said = measured_again(tables, facts, run.count(again, smoke=1))
except OSError as error:
    live_said = (
        "Nothing was measured again while this page was made, as the decoder could not be obtained "
        f"({str(error).partition(';')[0]}); all numbers of it are stored ones."
    )
glue("live_said", live_said, display=False)
glue("n_tokens", f"{lengths.min()} to {lengths.max()}", display=False)
glue("command", facts["command"], display=False)

# %% [markdown]
# ## Written, carried, taken away
#
# A token carries a *massive activation* if one of its features is beyond 100 and beyond 1,000 times
# the median of all absolute activations of the state {cite:p}`sun2024massive`. Heads that have
# nothing to look for attend to such a token, the *attention sink* {cite:p}`xiao2024efficient`. When
# and why sinks emerge in training is studied by {cite:t}`gu2025when`.

# %%
STATES = ["layer", "module"]
reach = ["largest", "second", "median", "norm", "median_norm"]
carried = intervals(tables.carriers, reach, STATES, seed=seed)
carried["state"] = carried["layer"] + carried["module"].map(
    {"input": -0.5, "attention": 0, "ffn": 0.5}
)
carried = carried.sort_values(["quantity", "state"])

# %% tags=["hide-input"]
LINES = {
    "largest": ("largest", plots.OKABE_ITO[4], "-"),
    "second": ("on another token", plots.OKABE_ITO[5], "--"),
    "median": ("median", "0.35", ":"),
    "norm": ("token of the largest", plots.OKABE_ITO[4], "-"),
    "median_norm": ("median token", "0.35", ":"),
}


def draw_lines(ax, names, label):
    for name in names:
        words, color, style = LINES[name]
        rows = carried[carried["quantity"] == name]
        plots.band(ax, rows["state"], rows, {"color": color, "linestyle": style, "label": words})
    ax.set_yscale("log")
    ax.set_ylabel(label)
    ax.axvspan(times.written + 0.5, times.removed + 0.5, color="0.93", lw=0, zorder=0)
    ax.legend(frameon=False, fontsize=9, loc="upper left")


fig, (top, bottom) = plots.panels(2, row_height=2.7)
draw_lines(top, ["largest", "second", "median"], "|activation|")
draw_lines(bottom, ["norm", "median_norm"], "norm of a token")
top.set_ylim(top=3e5)
bottom.set_ylim(top=3e5)
bottom.set_xlabel("layer (index; FFN half a layer later)")
at = carried.set_index(["quantity", "layer", "module"])["mean"]
high, low = at["largest", times.written, "ffn"], at["median", times.written, "ffn"]
run.figure(
    fig,
    "massive",
    data=carried,
    alt=f"Lines on a log axis by layer. Behind the FFN of layer {times.written} the largest "
    f"activation is {high:.0f} and the median {low:.2f}; the largest on another token is "
    f"{at['second', times.written, 'ffn']:.0f}.",
    caption="The largest absolute activation of a state, the largest on any other token, and the "
    "median; below, the norms of their tokens. Grey: where most passages have a massive "
    "activation.",
)

# %% tags=["remove-cell"]
behind = tables.carriers[
    (tables.carriers["layer"] == times.written) & (tables.carriers["module"] == "ffn")
]
early = tables.carriers[(tables.carriers["layer"] == 8) & (tables.carriers["module"] == "ffn")]
elsewhere = early[early["position"] > 0]
own = tables.updates[tables.updates["update"] == "own"]
ranks = own[own["module"] == "ffn"].groupby(["rows", "layer"])["effective_rank"].mean()
written_row = own[
    (own["layer"] == times.written) & (own["module"] == "ffn") & (own["rows"] == "all")
]
before = own[
    (own["layer"] == times.written) & (own["module"] == "attention") & (own["rows"] == "all")
]
glue("share_first", f"{(behind['position'] == 0).mean():.1%}", display=False)
glue("features", ", ".join(map(str, sorted(behind["feature"].unique()))), display=False)
glue("first_words", behind["token"].nunique(), display=False)
glue("largest_there", f"{high:,.0f}", display=False)
glue("times_median", f"{high / low:,.0f}", display=False)
glue(
    "norm_ratio",
    f"{at['norm', times.written, 'ffn'] / at['median_norm', times.written, 'ffn']:.0f}",
    display=False,
)
glue(
    "left_at_end",
    f"{at['norm', times.removed, 'ffn'] / at['median_norm', times.removed, 'ffn']:.1f}",
    display=False,
)
glue("rid_there", f"{written_row['rid'].mean():.2f}", display=False)
glue("rank_before", f"{before['effective_rank'].mean():.0f}", display=False)
glue("rank_after", f"{written_row['effective_rank'].mean():.1f}", display=False)
glue("early_largest", f"{early['largest'].mean():.0f}", display=False)
glue("early_elsewhere", f"{len(elsewhere) / len(early):.0%}", display=False)
glue(
    "early_words",
    ", ".join(map(repr, elsewhere["token"].value_counts().index[:2])),
    display=False,
)
glue("early_large", f"{early['large'].mean():.1f}", display=False)

# %% [markdown]
# Behind the FFN of layer {glue:text}`written` the largest activation is {glue:text}`largest_there`,
# {glue:text}`times_median` times the median. In {glue:text}`share_first` of the passages it is on
# the first token, which is one of {glue:text}`first_words` different ones; always in feature
# {glue:text}`features`. Its token is {glue:text}`norm_ratio` times as long as the median token. So
# one row is nearly all of $\|X\|_F$, and the effective rank falls from {glue:text}`rank_before` to
# {glue:text}`rank_after`: RID of that one update is {glue:text}`rid_there`. Later layers leave the
# row as it is, until the FFN of layer {glue:text}`removed` takes most of it away; a row
# {glue:text}`left_at_end` times as long as the median is left.
#
# The first layers have a smaller edition of the same. Behind layer 8, {glue:text}`early_large`
# tokens of a passage have an activation of 100 times the median (the largest:
# {glue:text}`early_largest`). In {glue:text}`early_elsewhere` of the passages the largest of them
# is *not* on the first token but further on, most often on: {glue:text}`early_words`. By
# layer {glue:text}`written` they are gone.
#
# ## RID with the sink and without
#
# `measure(..., tokens="without sinks")` leaves out the rows of a state that belong to such tokens.
# The model still runs on all of them. The control leaves out as many *other* tokens, drawn at
# random: it should change next to nothing.

# %%
own = tables.updates[tables.updates["update"] == "own"]
quantities = ["rid", "spectrum_change", "support_innovation", "size", "feature_novelty", "mixig",
              "effective_rank"]  # fmt: skip
curves = intervals(own, quantities, ["rows", "layer", "module"], seed=seed)

# %% tags=["hide-input"]
fig, axes = plots.panels(2, row_height=2.7)
for axis, rows in zip(axes, ("all", "without sinks"), strict=True):
    plots.layer_curves(curves[curves["rows"] == rows], "rid", axis)
    axis.set_yscale("log")
    axis.set_ylim(0.003, 1.5)
    axis.set_title("all tokens" if rows == "all" else "without the sink")
axes[0].set_xlabel("")
rid = curves[curves["quantity"] == "rid"]
run.figure(
    fig,
    "rid",
    data=rid,
    alt=" ".join(
        f"{name}: {report.alt_layer_curves(curves[curves['rows'] == name], 'rid')}"
        for name in ("all", "without sinks")
    ),
    caption="RID of attention and FFN by layer, on a log axis; above with all tokens, below "
    "without the sink. Bands are 95% intervals over passages.",
)

# %% tags=["hide-input"]
LOOKS = {
    "all": {"color": plots.OKABE_ITO[4], "linestyle": "-", "label": "all tokens"},
    "without sinks": {"color": plots.OKABE_ITO[2], "linestyle": "--", "label": "without sink"},
    "without others": {"color": "black", "linestyle": ":", "label": "without another"},
}
fig, axes = plots.panels(2, row_height=2.6)
drawn = [
    ("effective_rank", "ffn", "effective rank"),
    ("mixig", "attention", "MixIG of attention (nats)"),
]
for axis, (quantity, module, label) in zip(axes, drawn, strict=True):
    for rows, look in LOOKS.items():
        picked = (
            (curves["quantity"] == quantity)
            & (curves["module"] == module)
            & (curves["rows"] == rows)
        )
        plots.band(axis, curves[picked]["layer"], curves[picked].sort_values("layer"), look)
    axis.set_ylabel(label)
    plots.whole_numbers(axis)
axes[1].set_xlabel("layer (index)")
plots.legend_below(fig, axes[0], columns=3)
data = curves[curves["quantity"].isin(["effective_rank", "mixig"])]
run.figure(
    fig,
    "rank_mixig",
    data=data,
    alt=f"Lines by layer. With all tokens the effective rank falls to "
    f"{ranks['all'].min():.1f} and without the sink it stays above "
    f"{ranks['without sinks'].min():.0f}; without a random token it is as with all. "
    f"MixIG of attention is nearly the same on all three choices.",
    caption="Effective rank behind the FFN, and MixIG of attention, on three choices of rows. "
    "Leaving out another token, drawn at random, changes next to nothing: the dotted line lies on "
    "the first.",
)

# %% tags=["hide-input"]
per_sample = own.groupby(["sample", "image_source", "rows", "module"], sort=False)[
    quantities
].mean()
levels = intervals(per_sample.reset_index(), quantities, ["rows", "module"], seed=seed)
shown = interval_table(levels, "quantity", ["rows", "module"])
order = [(rows, module) for rows in LOOKS for module in plots.MODULES]
shown = shown.loc[quantities, order]
shown.columns = [
    f"{LOOKS[rows]['label']}, {plots.MODULES[m]['label']}" for rows, m in shown.columns
]
run.table(
    shown.rename(index=plots.axis_label).reset_index(),
    "Means over layers with 95% intervals; effective rank is that of the state behind the update",
)
control = numbers.set_index("quantity").loc["control_gap"]
glue("control", in_words(control), display=False)
mixig_gap = in_words(numbers.set_index("quantity").loc["mixig_gap"])
glue("mixig_gap", mixig_gap, display=False)

# %% [markdown]
# Without a random token the difference between the modules changes by {glue:text}`control`.
# MixIG is not the sink's doing: token mixing entropy takes the directions of the rows, not their
# lengths, so one long row counts like any other. Attention minus FFN it is {glue:text}`mixig_gap`,
# with all tokens.
#
# ## An exact account
#
# Let $G$ be the difference between FFN and attention in RID, a mean over layers, and $G'$ the same
# without the sink's rows. $G - G'$ is what the sink makes of it, layer by layer. In $G'$ support
# innovation is size times novelty ({doc}`09_size_or_novelty`), and a difference of products is,
# exactly,
#
# $$
# s_f n_f - s_a n_a = \underbrace{(s_f - s_a)\,\frac{n_f + n_a}{2}}_{\text{size}} +
# \underbrace{(n_f - n_a)\,\frac{s_f + s_a}{2}}_{\text{novelty}}.
# $$
#
# Neither factor goes first. What is left is the difference in spectrum change, and what the rank
# rule cut, which is nothing here. The parts of every passage add up to its $G$.

# %% tags=["hide-input"]
rows = [
    {
        "part": PART_NAMES[name],
        "FFN minus attention": in_words(means.loc[name]),
        "share of the whole": percent(of_gap.loc[name]) if name in of_gap.index else "",
        "share without the sink": percent(of_kept.loc[name]) if name in of_kept.index else "",
    }
    for name in PART_NAMES
]
run.table(
    pd.DataFrame(rows), "The parts of the difference in RID, with 95% intervals over passages"
)

# %% [markdown]
# - **One layer and one token** make {glue:text}`share_written` of the difference, and taking the
#   row away again makes {glue:text}`share_removed`. In the layers between, the sink hides both
#   modules: nothing that they write on other tokens counts beside its length. There it makes the
#   difference *smaller* ({glue:text}`share_carried`).
# - **Size** makes {glue:text}`share_size` of what is left without the sink: the FFN's updates are
#   larger.
# - **Novelty** makes {glue:text}`share_novelty`. The share of an update that points out of the old
#   row space, which is what *expanding* a subspace means, is not larger for the FFN.
# - At equal size, {glue:text}`size_held`, and without the sink, the difference is
#   {glue:text}`equal_size`. With the sink it has the other sign ({doc}`09_size_or_novelty`): an
#   update held at a share of the whole state's norm is blown up on the rows beside the sink.
#
# ## Who attends to it

# %%
from lost_in_attention.residual.head_groups import between_groups, chance_of_groups

heads = tables.attention.groupby(["layer", "head"])["sinks"].mean().unstack("head")
groups = tables.attention.drop_duplicates("head").sort_values("head")["group"].to_numpy()
carrying = carrying_layers(times, len(heads))
by_layer = tables.attention.groupby(["sample", "image_source", "layer"], sort=False)
by_layer = intervals(
    by_layer[["sinks", "large"]].mean().reset_index(), ["sinks", "large"], ["layer"], seed=seed
)
# A query at place t that attends to all alike gives the first token 1 / (t + 1).
uniform = np.mean(
    [(1 / np.arange(2, n + 1)).mean() for n in tables.carriers.groupby("sample")["tokens"].first()]
)

# %% tags=["hide-input"]
fig, (top, bottom) = plt.subplots(
    2, 1, figsize=(plots.WIDTH, 7.2), layout="constrained", height_ratios=[1, 2.2]
)
names = {
    "sinks": LOOKS["all"] | {"label": "the sink"},
    "large": LOOKS["without sinks"] | {"label": "tokens with large activations"},
}
for name, look in names.items():
    rows = by_layer[by_layer["quantity"] == name]
    plots.band(top, rows["layer"], rows, look)
top.axhline(uniform, color="0.5", linestyle=":", label="all tokens alike")
top.set(ylabel="share of attention", ylim=(0, 1.3), yticks=[0, 0.25, 0.5, 0.75, 1])
top.legend(frameon=False, fontsize=9, loc="upper left")
plots.whole_numbers(top)
image = bottom.imshow(heads.to_numpy().T, vmin=0, vmax=1, cmap="viridis", aspect="auto")
for edge in np.flatnonzero(np.diff(groups)) + 0.5:
    bottom.axhline(edge, color="white", lw=2.5)
bottom.set(xlabel="layer (index)", ylabel="head", yticks=range(len(groups)))
fig.colorbar(
    image, ax=bottom, label="share of attention on the sink", location="bottom", shrink=0.8
)
strongest = heads.stack().idxmax()
run.figure(
    fig,
    "attention",
    data=heads.stack().rename("share").reset_index(),
    alt=f"Above, the share of attention on the sink by layer, a mean over heads: lowest "
    f"{heads.mean(axis=1).min():.2f} at layer {heads.mean(axis=1).idxmin()}, highest "
    f"{heads.mean(axis=1).max():.2f} at layer {heads.mean(axis=1).idxmax()}. Below, a map of "
    f"layers and heads; strongest {heads.max(axis=None):.2f} in head {strongest[1]} of layer "
    f"{strongest[0]}.",
    caption="The share of attention that goes to the sink, a mean over the queries behind it. "
    "Above: mean over heads, beside all tokens with an activation of 100 times the median in some "
    "layer (the share of queries behind all of these). Below: head by head; white lines part the "
    "groups that share keys and values.",
)

# %% tags=["remove-cell"]
shares_by_head = heads.loc[list(carrying)].to_numpy()
found = numbers.set_index("quantity")
glue("attention_carried", in_words(found.loc["sink_attention"]), display=False)
glue("carried_layers", f"{carrying.start} to {carrying.stop - 1}", display=False)
glue("attention_early", f"{heads.loc[3:9].to_numpy().mean():.2f}", display=False)
glue("attention_written", f"{heads.loc[times.written].mean():.3f}", display=False)
large_early = by_layer[(by_layer["quantity"] == "large") & by_layer["layer"].between(3, 9)][
    "mean"
].mean()
glue("large_early", f"{large_early:.2f}", display=False)
glue("uniform", f"{uniform:.3f}", display=False)
glue("half_heads", f"{(shares_by_head > 0.5).mean():.0%}", display=False)
glue("between", f"{between_groups(shares_by_head, groups).mean():.2f}", display=False)
glue("chance", f"{(len(set(groups)) - 1) / (len(groups) - 1):.2f}", display=False)
glue("group_p", f"{chance_of_groups(shares_by_head, groups, seed=seed):.2g}", display=False)

# %% [markdown]
# In layers {glue:text}`carried_layers`, which find the sink when they begin, it draws
# {glue:text}`attention_carried` of the attention, where {glue:text}`uniform` would be its share
# among tokens that are all alike. {glue:text}`half_heads` of these heads give it more than half. In
# layers 3 to 9 the first token draws {glue:text}`attention_early`, and all tokens with large
# activations together {glue:text}`large_early` (of the queries behind all of them). In layer
# {glue:text}`written`, which *writes* the sink, hardly any attention goes there:
# {glue:text}`attention_written`. Attention follows the activation, layer by layer.
#
# The heads of one group share their keys, so a key that says "attend here" says it to all three. Of
# the variance between heads, {glue:text}`between` lies between groups; {glue:text}`chance` would be
# chance (share of shuffles as large: {glue:text}`group_p`). So what a head gives to the sink is
# partly its group's, the rest its own query's.
#
# ## Beside it: random weights, and the small models
#
# The same shape with random weights has learned nothing. It reads some of the same passages.

# %% tags=["hide-input"]
beside = {decoder: tables}
beside |= {
    name: read_sinks(name)[0]
    for name in (f"{decoder}-random-{number}" for number in range(3))
    if has_sinks(name)
}


def beside_row(name, own):
    """A model in a line: levels without sinks, the gap and its parts."""
    made = gap_parts(own.updates, own.carriers).assign(model=name)
    told = intervals(made, ["gap", "kept", "size", "novelty", "equal_size"], ["model"], seed=seed)
    told = told.set_index("quantity")
    ratio = (own.carriers["largest"] / own.carriers["median"]).groupby(own.carriers["sample"]).max()
    return {
        "weights": "published" if name == decoder else name.rsplit("-", 2)[1] + " " + name[-1],
        "passages": own.carriers["sample"].nunique(),
        "largest over median": f"{ratio.mean():,.0f}",
        "attention on the first token": f"{own.attention['first'].mean():.3f}",
        "FFN minus attention in RID": in_words(told.loc["gap"]),
        "without sinks": in_words(told.loc["kept"]),
        "of it size": in_words(told.loc["size"]),
        "of it novelty": in_words(told.loc["novelty"]),
        "at equal size": in_words(told.loc["equal_size"]),
    }


random_rows = pd.DataFrame([beside_row(name, own) for name, own in beside.items()])
run.table(random_rows, "The decoder beside decoders of its shape with random weights")

# %% [markdown]
# The small models of this book, on questions about pictures, measured now by the same call:

# %%
from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.residual.sink_effect import measure_sinks

samples = load_benchmark("pope").draw(run.count(questions, smoke=2), seed=seed)
small = {name: measure_sinks(vlm, samples, batch_size=4) for name, vlm in run.each_model()}

# %% tags=["hide-input"]
rows = [
    {
        "model": name,
        "largest activation": own.carriers["largest"].max(),
        "largest over median": (own.carriers["largest"] / own.carriers["median"]).max(),
        "tokens with a massive activation": int(own.carriers["massive"].max()),
        "attention on the first token": own.attention["first"].mean(),
        "attention on the picture": own.attention["visual"].mean(),
    }
    for name, own in small.items()
]
small_rows = pd.DataFrame(rows)
run.table(small_rows, "The largest of all states and questions, in the small models")
glue("small_ratio", f"{small_rows['largest over median'].max():.0f}", display=False)
glue("small_massive", int(small_rows["tokens with a massive activation"].max()), display=False)

# %% [markdown]
# None of them has a massive activation (most in a state: {glue:text}`small_massive`): their largest
# one is {glue:text}`small_ratio` times the median. So what other chapters measure on the small
# models is not about sinks, and cannot show what sinks do to a measure.
#
# ## On pictures
#
# The same decoder with a tower that makes it see, and adapters that taught it to answer
# ({doc}`00_models_and_data`): its weights are the published ones plus a small change. It is asked
# whether something is in a picture. The prompt opens a chat, so the first token is another one than
# in a novel, and the same one in every question. Attention is causal, so that its states are the
# same too: what is said of the sink itself is one case, and intervals over images hold for
# what stands beside it.

# %%
made = predictions("sinks-on-pictures")
seen = {"pictures": read_sinks(on_pictures)[0]} if has_sinks(on_pictures) else {}
pictures = sink_quantities(seen["pictures"], seed=seed) if seen else None
if (replaced := read_replaced(on_pictures)) is not None:
    pictures = pd.concat([pictures, sink_change(replaced, seed=seed)])
if not seen:
    say(f"Nothing is stored of {on_pictures} yet, so every prediction is open.")

# %% tags=["hide-input"]
STEPS = {
    "gap": "all tokens",
    "sink written": "sink: written",
    "sink removed": "sink: removed",
    "sink carried": "sink: carried",
    "sink before": "sink: before",
    "kept": "without sinks",
    "size": "size",
    "novelty": "novelty",
    "spectrum": "spectrum change",
    "equal_size": "without sinks, equal size",
}
both = {"text": tables} | seen
drawn = pd.concat(
    intervals(
        gap_parts(own.updates, own.carriers).assign(read=read), list(STEPS), ["read"], seed=seed
    )
    for read, own in both.items()
)
drawn = drawn.assign(step=drawn["quantity"].map(STEPS))
LOOKS = {
    "text": {"marker": "s", "color": "0.45"},
    "pictures": {"marker": "o", "color": plots.OKABE_ITO[4]},
}
fig, [ax] = plots.panels(1, row_height=4)
looks = {read: LOOKS[read] for read in both}
forest(ax, drawn, row="step", order=list(STEPS.values()), series="read", looks=looks)
ax.set_xlabel("FFN minus attention in RID")
plots.legend_below(fig, ax, columns=2)
told = [f"{r.read}, {r.step} {r.mean:+.3f}" for r in drawn.itertuples()]
run.figure(
    fig,
    "text_and_pictures",
    data=drawn,
    alt=f"The difference between FFN and attention in RID and its parts: {'; '.join(told)}.",
    caption="What the difference is made of, a mean over layers, on text and on pictures, with 95% "
    "intervals. Parts of the sink and what is left without it add up to the first line.",
)

# %% [markdown]
# The predictions below were written down before anything had been measured on pictures. One counts
# as right if the whole 95% interval lies in its range, as wrong if none of it does, else it stays
# open. The column *on text* holds the same numbers of the passages above, so that the reader sees
# what they rest on; of S02 it says nothing, as a passage has no visual tokens. The adapters were
# trained further after a first comparison, which had come out alike; the numbers here are of the
# weights that the book holds ({doc}`../changelog`). That sinks attract attention in models that see
# too, and that some visual tokens can be such sinks, is known of larger ones {cite:p}`kang2025see`.
# {glue:text}`came_true`

# %% tags=["hide-input"]
on_text = numbers.set_index("quantity")
listed = pd.DataFrame(
    {
        "id": each.id,
        "prediction": each.statement,
        "right from": each.least,
        "to": each.most,
        "on text": in_words(on_text.loc[each.quantity]) if each.quantity in on_text.index else "",
        "on pictures": answer,
    }
    for each, answer in zip(made, compared(made, pictures), strict=True)
)
run.table(listed, "Predictions for pictures, made before any was measured")
glue("without_text", ", ".join(listed["id"][listed["on text"] == ""]), display=False)
right = listed["on pictures"].str.startswith("right").sum()
predicted = f"{right} of {len(made)} came out right"
glue("came_true", f"{predicted}." if seen else "That is not measured yet.", display=False)
unseen = {"carried_on_pictures": "not measured", "sink_on_pictures": "not measured"}
if seen:
    on = gap_parts(seen["pictures"].updates, seen["pictures"].carriers)
    on = shares(on.assign(sink=on["gap"] - on["kept"]), ["sink carried", "sink"], seed=seed)
    unseen = dict(zip(unseen, map(percent, on.to_dict("records")), strict=True))
whole = shares(parts.assign(sink=parts["gap"] - parts["kept"]), ["sink"], seed=seed)
glue("sink_on_text", percent(whole.iloc[0]), display=False)
for name, value in unseen.items():
    glue(name, value, display=False)

# %% tags=["remove-cell"]
[widest] = [each for each in made if each.id == "S10"]
glue("n_predicted", len(made), display=False)
glue("predicted", predicted if seen else "none is measured yet", display=False)
glue("range_s10", f"{widest.least:g} to {widest.most:g}", display=False)
value_s10, carried_said, asked = "not measured", "nothing is known of their parts", 0
if seen:
    value_s10 = in_words(pictures.set_index("quantity").loc[widest.quantity])
    asked = seen["pictures"].carriers["sample"].nunique()
    signs = [side_of(*row[["low", "high"]]) for row in (of_gap.loc["sink carried"], on.iloc[0])]
    carried_said = "the part of the layers that carry the sink has the sign that it has on text"
    if opposite(signs[0]) is signs[1] is not None:
        carried_said = "the part of the layers that carry the sink changed its sign, unpredicted"
glue("value_s10", value_s10, display=False)
glue("carried_said", carried_said, display=False)
glue("n_on_pictures", asked, display=False)

# %% [markdown]
# S01 and S03 are about that one case. S10 says that a difference is small, not that there is none:
# its interval is above zero, and {doc}`06_layerwise_curves` counts it for attention. The range was
# too wide to test more. One part has another sign than on text, and no prediction was made of it:
# in the layers that carry the sink it makes {glue:text}`carried_on_pictures` of the difference, on
# text {glue:text}`share_carried`. The token makes {glue:text}`sink_on_pictures` of the difference
# over all layers, on text {glue:text}`sink_on_text`.
#
# Why S12: the scores in a softmax have no zero of their own. A prior between 0 and 1 that is put in
# the place of the visual ones says not only how the picture's share is spread, but also how large
# it is beside the sink's. What replacing visual scores *cannot* change is the order among text
# tokens, and the sink's share among them. Why S13: a graph over visual tokens ({doc}`15_tracing`)
# sees what a row of attention gives to visual tokens, and a row that gives half to the sink has
# half left.
#
# `python -m lost_in_attention sinks --model NAME --source hub` measures any model on questions
# about pictures and keeps its tables; the name goes into the parameter `on_pictures`.
#
# ## What follows
#
# A quantity that is divided by the whole state says of a decoder with a sink, in most layers, how
# little there is beside it. So one should report RID with sinks and without, and the size of
# updates beside it. In the paper's Table 1 the modules differ as they do here with all tokens;
# whether for the same reasons, these measurements cannot tell, as they are of one small decoder.
#
# ## Exercises
#
# Where a function is asked for, the cell below its solution checks yours. `make exercises` writes
# this chapter without the solutions.
#
# ```{exercise} One long row
# :label: ex-one-long-row
#
# *Warm-up, 10 minutes.* Let $X$ have orthogonal rows, one of length $L$ and $S - 1$ of length 1. To
# what does $\mathrm{eRank}(X)$ tend as $L$ grows? How long must the row be until half of the rank
# is gone, for $S = 120$? Compare with the figure.
#
# :::{dropdown} Hint
# The singular values of a matrix with orthogonal rows are the lengths of the rows.
# :::
# ```
#
# ```{solution} ex-one-long-row
# :class: dropdown
#
# The singular values are $L$ and ones, so $p_1 = L / (L + S - 1)$, and
# $\log \mathrm{eRank} = h(p_1) + (1 - p_1)\log(S - 1)$ with the entropy $h$ of a coin. The rank
# tends to one. For half the rank set this to $\log(S / 2)$: $p_1 \approx 0.264$, so $L$ is
# about 43. The sink is longer than that, but the other rows are not orthogonal, so both ranks are
# lower.
# ```
#
# ```{exercise} Take the sink away
# :label: ex-rank-without-sinks
#
# *Warm-up, 15 minutes.* Write `rank_without_sinks(x, times)`: the effective rank of a state without
# the tokens that hold an activation of at least `times` the state's median, both in absolute value.
# Is the longest row always one of them?
#
# :::{dropdown} Hint
# An activation is one entry of the matrix. `effective_rank` in `lost_in_attention.metrics.rid` does
# the rest.
# :::
# ```
#
# ```{solution} ex-rank-without-sinks
# :class: dropdown
#
# No. A row can be long without any entry that stands out, and then it stays: a massive activation
# is about one feature. Of a row with both, removing the *token* is the chapter's control; setting
# the feature to zero would leave what the token says otherwise.
# ```

# %% tags=["solution", "hide-input"]
from lost_in_attention.metrics.rid import effective_rank


def rank_without_sinks(x, times):
    """Effective rank, a float, of the rows of x (tokens x features) that are no sinks."""
    sizes = x.abs()
    return effective_rank(x[sizes.amax(dim=1) < times * sizes.median()])


# %% tags=["exercise-check"]
from lost_in_attention.teaching.sink import check_rank_without_sinks

check_rank_without_sinks(rank_without_sinks)

# %% [markdown]
# ```{exercise} What one layer makes
# :label: ex-layer-share
#
# *Medium, 15 minutes.* Write `layer_share(gaps, layer)`: the share of the mean difference between
# FFN and attention in RID that one layer makes, from `gaps`, passages by layers. Can it be above
# one? Why not take the mean of each passage's own share?
#
# :::{dropdown} Hint
# The chapter's difference is a mean over layers and passages. A layer's part of it is a sum over
# passages.
# :::
# ```
#
# ```{solution} ex-layer-share
# :class: dropdown
#
# It is above one where other layers make the difference smaller. A passage whose layers nearly
# cancel has a total near zero, and its own share is then a huge number of either sign: a mean of
# ratios can be anything. The ratio of means weighs such a passage little.
# ```


# %% tags=["solution", "hide-input"]
def layer_share(gaps, layer):
    """The share, a float, of one layer (its number) in the mean over passages and layers."""
    return float(gaps[:, layer].sum() / gaps.sum())


# %% tags=["exercise-check"]
from lost_in_attention.teaching.sink import check_layer_share

check_layer_share(layer_share)

# %% [markdown]
# ```{exercise} Who is hidden
# :label: ex-who-is-hidden
#
# *Medium, 20 minutes.* In layers that carry the sink, by which factor is the RID of attention
# smaller with it than without? Derive the factor from norms alone and check it with
# `tables.carriers` and `curves`.
#
# :::{dropdown} Hint
# Compare the denominators $\|X'\|_F$ of the two, then the numerators.
# :::
# ```
#
# ```{solution} ex-who-is-hidden
# :class: dropdown
#
# Support innovation is $\|\Delta X (I - P_\mathcal{R})\|_F / (2 \|X'\|_F)$. The sink's row adds
# little to the numerator and nearly everything to the denominator, so the factor is about
# $\sqrt{1 + L^2 / ((S - 1)\, m^2)}$ with the length $m$ of other rows and $L$ of the sink's. Read
# both from `norm` and `median_norm`.
# ```
#
# ```{exercise} A measure that does not mind
# :label: ex-a-measure-that-does-not-mind
#
# *Research, 60 minutes.* Give every row of a state the length 1 before RID is computed (a metric of
# your own, or states that you change). Is the FFN's RID above attention's then, with the sink? What
# does such a measure no longer see?
#
# :::{dropdown} Hint
# A metric is a function of an `Update`, whose two states are decomposed already; to change the
# rows, change the states before `measure`.
# :::
#
# Rubric (10 points): a definition, and what you expect of the sign, before the run (2); the
# difference with an interval, on the same passages (3); the control without a random token (3); one
# case that the new measure misjudges (2).
# ```
#
# ```{solution} ex-a-measure-that-does-not-mind
# :class: dropdown
#
# It weighs tokens alike, so one long row counts once. It is blind to what only changes lengths: a
# module that doubles a row does nothing in it. Report the gap beside this chapter's two, and say
# which question each answers.
# ```
#
# ```{exercise} No sink to attend to
# :label: ex-no-sink-to-attend-to
#
# *Research, 120 minutes.* Put zero in the place of the first token's massive activation, in the
# feature and behind the FFN that this chapter names (a forward hook), and measure again. Where does
# the attention go, does another token take over, and does the text become less likely?
#
# :::{dropdown} Hint
# A hook on the layer's `mlp` may return a changed output; change one entry and nothing else.
# :::
#
# Rubric (10 points): what you expect in each of the three questions, before the run (2); the hook,
# tested on a model without a sink, where it must change nothing (2); shares of attention by layer
# and the log likelihood of the passages with and without, with intervals (3); another feature and
# another token as control (2); what one decoder cannot say (1).
# ```
#
# ```{solution} ex-no-sink-to-attend-to
# :class: dropdown
#
# Compare `attention_shares` of the first token before and after, layer by layer, and the mean log
# likelihood. Sun et al. report that taking such activations away breaks a model, while putting
# their mean there does not: test both. If nothing takes over, attention must spread, and the
# updates of attention grow; does its RID without the sink's row?
# ```
