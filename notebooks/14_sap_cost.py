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
# # What replaced attention costs to compute
#
# - **Covers** Appendix C.3 of the paper, the sentence that priors need substantially less
#   computation.
# - **Verdict** none: the paper measures no time.
# - **Takes** two minutes and 2 GB at tier `book`.
#
# You will
#
# 1. see why a prior that no query changes turns a head's view of the image into a running mean,
# 2. time four ways to compute a layer, side by side,
# 3. set the cost of some variants beside what they do to accuracy.
#
# You need {doc}`12_sap`.

# %%
from contextlib import nullcontext
from functools import partial

import pandas as pd
import torch
from myst_nb import glue
from torch.nn.functional import scaled_dot_product_attention

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.evaluation import (
    against_vanilla,
    family_of,
    own_source,
    presets,
    read_results,
)
from lost_in_attention.evaluation.decoding import GREEDY, replies_to
from lost_in_attention.models import each_model
from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.votes import apart, side_of, spread
from lost_in_attention.runs.timing import LEAST_ROUNDS, timed_ratios
from lost_in_attention.sap import encoded, shared_attention_prior
from lost_in_attention.sap.attention_rows import TextKeys, merged_rows, visual_part

# %% tags=["parameters"]
tier = "book"
models = "pretrained,families"
source = "own"
questions = 2
rounds = 9
answer_rounds = 6
seed = 0
output = "book/generated"

# %%
run = report.start("14_sap_cost", globals())
names, asked = run.models, run.count(questions, smoke=1)
repeated = run.count(rounds, smoke=LEAST_ROUNDS)
answered = run.count(answer_rounds, smoke=LEAST_ROUNDS)

# %% tags=["hide-input"]
HEADS, KV_HEADS, FEATURES = 28, 4, 128
lengths = (64, 128) if tier == "smoke" else (512, 1024, 2048)
SCALING = FEATURES**-0.5
glue("cost_pairs", repeated, display=False)
glue("cost_device", {"cpu": "CPU", "cuda": "GPU"}[run.device], display=False)


def random_layer(tokens):
    """Queries, keys, values, a prior, and which keys are visual: all but the two ends."""
    random = torch.Generator().manual_seed(seed)
    states = [
        torch.randn(1, count, tokens, FEATURES, generator=random).to(run.device, run.dtype)
        for count in (HEADS, KV_HEADS, KV_HEADS)
    ]
    visual = torch.zeros(1, tokens, dtype=torch.bool, device=run.device)
    visual[:, tokens // 20 : -(tokens // 20)] = True
    return *states, torch.rand(1, tokens, generator=random).to(run.device), visual


# %% tags=["hide-input"]
def eager(query, key, value, prior, visual, overwrite=False):
    groups = HEADS // KV_HEADS
    key, value = (states.repeat_interleave(groups, 1) for states in (key, value))
    scores = query @ key.transpose(2, 3) * SCALING
    if overwrite:
        scores = torch.where(visual[:, None, None], prior[:, None, None].to(run.dtype), scores)
    later = torch.ones(scores.shape[2:], dtype=torch.bool, device=run.device).triu(1)
    return scores.masked_fill_(later, torch.finfo(run.dtype).min).softmax(-1) @ value


def fused(query, key, value, prior, visual):
    return scaled_dot_product_attention(
        query, key, value, is_causal=True, scale=SCALING, enable_gqa=True
    )


# %% tags=["hide-input"]
def merged(query, key, value, prior, visual):
    text = TextKeys.of(~visual)
    groups = torch.arange(HEADS, device=run.device)[None] // (HEADS // KV_HEADS)
    return merged_rows(
        query, text.take(key), text.take(value), text,
        visual_part(value, prior, visual, by_row=True),
        kv_heads=groups, first=0, scaling=SCALING,
    )  # fmt: skip


METHODS = {
    "overwritten": partial(eager, overwrite=True),
    "eager": eager,
    "fused": fused,
    "merged": merged,
}


# %% tags=["hide-input"]
COMPARED = (
    ("overwritten", "fused"),
    ("overwritten", "eager"),
    ("eager", "fused"),
    ("merged", "fused"),
    ("overwritten", "merged"),
)
FASTER = {True: "slower", False: "faster", None: "undecided"}


def as_row(ratio):
    """A ratio of times for a table, and what it says of the first of the two."""
    says = FASTER[side_of(ratio.low, ratio.high, border=1)]
    return {"time": ratio.median, "low": ratio.low, "high": ratio.high, "is": says}


@torch.inference_mode()
def timed_layer(tokens):
    """How the methods compare at one length, and how far merged is from overwritten."""
    layer = random_layer(tokens)
    outputs = {name: method(*layer) for name, method in METHODS.items()}
    difference = (outputs["merged"] - outputs["overwritten"]).abs().max().item()
    calls = {name: partial(method, *layer) for name, method in METHODS.items()}
    ratios = timed_ratios(calls, COMPARED, rounds=repeated)
    return [
        {"tokens": tokens, "method": one, "against": other}
        | as_row(ratio)
        | {"difference": difference}
        for (one, other), ratio in zip(COMPARED, ratios, strict=True)
    ]


# %% tags=["remove-cell"]
layer_times = pd.DataFrame([row for tokens in lengths for row in timed_layer(tokens)])
last = layer_times[layer_times["tokens"] == lengths[-1]]
last = last.set_index(["method", "against"])
SHOWN = dict(zip(("overwritten", "overwriting", "eager", "ours", "gain"), COMPARED, strict=True))
for name, compared in SHOWN.items():
    row = last.loc[compared]
    glue(
        f"cost_{name}",
        f"{row['time']:.2g} [{row['low']:.2g}, {row['high']:.2g}]",
        display=False,
    )
    glue(f"cost_{name}_is", row["is"], display=False)
glue("cost_tokens", lengths[-1], display=False)

# %% [markdown]
# ## The answer
#
# One layer of realistic shape was timed in {glue:text}`cost_pairs` rounds on a
# {glue:text}`cost_device`: {glue:text}`cost_tokens` tokens, nine keys of ten visual, all heads
# replaced. To overwrite scores as the released code does takes {glue:text}`cost_overwritten`
# times as long as PyTorch's fused attention, which never writes scores down
# ({glue:text}`cost_overwritten_is`), and {glue:text}`cost_overwriting` times as long as the same
# code without the overwriting ({glue:text}`cost_overwriting_is`); never to compute them takes
# {glue:text}`cost_ours` times as long as fused attention ({glue:text}`cost_ours_is`). Whole
# answers to short prompts, where a preset replaces a few heads, take as many times as long as
# vanilla's: {glue:text}`cost_whole`; {glue:text}`cost_faster` of {glue:text}`cost_cells`
# combinations of model, preset and prior are faster (one batch of {glue:text}`cost_questions`,
# {glue:text}`cost_rounds` rounds). Of a whole long prompt through layers as wide as the paper's
# little is saved, as attention is a small part of it (measured outside this page,
# `speed/README.md`).

# %% tags=["hide-input"]
LINES = {
    "overwritten": ("s--", plots.OKABE_ITO[3]),
    "eager": ("^:", plots.OKABE_ITO[1]),
    "merged": ("o-", plots.OKABE_ITO[0]),
}
to_fused = layer_times[layer_times["against"] == "fused"]
fig, [ax] = plots.panels(1, row_height=3.4)
for name, (line, color) in LINES.items():
    own = to_fused[to_fused["method"] == name]
    bars = [own["time"] - own["low"], own["high"] - own["time"]]
    ax.errorbar(own["tokens"], own["time"], bars, fmt=line, color=color, label=name)
ax.axhline(1, color="0.6", lw=1, zorder=0)
ax.set(xlabel="tokens in the prompt", ylabel="time (ratio to fused)", yscale="log")
ax.set_xticks(lengths, lengths)
ticks = {1 / 4: "1/4", 1 / 2: "1/2", 1: "1", 2: "2", 4: "4", 8: "8", 16: "16"}
ax.set_yticks(list(ticks), list(ticks.values()))
ax.minorticks_off()
fig.legend(ncols=3, frameon=False, loc="outside lower center")
run.figure(
    fig,
    "layer",
    data=layer_times,
    alt=f"Time against fused attention at {lengths[-1]} tokens: "
    f"overwritten {last.loc[('overwritten', 'fused'), 'time']:.2f}, "
    f"eager {last.loc[('eager', 'fused'), 'time']:.2f}, "
    f"merged {last.loc[('merged', 'fused'), 'time']:.2f}.",
    caption="Time of one layer over the whole prompt, relative to fused attention: median over "
    "rounds with its 95% interval.",
)

# %% [markdown]
# ## A running mean
#
# Let row $i$ of a head see text keys $T_i$ with scores $s_{ij}$ and visual keys $V_i$ whose scores
# are a prior $p_j$. Its output is
#
# $$
# y_i = \frac{\sum_{j \in T_i} e^{s_{ij}} v_j + \sum_{j \in V_i} e^{p_j} v_j}
# {\sum_{j \in T_i} e^{s_{ij}} + \sum_{j \in V_i} e^{p_j}} .
# $$
#
# The two visual sums do not hold the query. They are prefix sums over keys, computed once for all
# rows in one pass: linear in the number of visual tokens. Only text keys need products with
# queries. After the prompt the visual sums never change, so that for every further token they are
# one vector and one number. With $S$ keys of which $T$ are text, a head's products fall from $S^2$
# to $S\,T$.
#
# That holds for priors with one row. The paper's noise, drawn anew for each row, has no such sums:
# it is written out in full. And the released code computes all scores first and overwrites some.
#
# ## One layer of realistic shape
#
# 28 heads of 128 features that share four key-value heads, nine tenths of the keys visual, one
# prompt, all heads replaced. `overwritten` computes all scores, overwrites those of visual keys and
# takes the softmax; `eager` is the same code with nothing overwritten, and `fused` PyTorch's fused
# attention, which keeps no scores, with nothing replaced either. `merged` is this library's. Their
# code is folded at the top of the page, above the figure of their times.
#
# Methods are compared in {glue:text}`cost_pairs` rounds. In a round they run one right after the
# other and take turns in going first, so that other work on the machine falls on all, and only
# the ratios of their times are kept. Tables have the median ratio with a 95% interval between two
# of the ratios, which needs no assumption on how they scatter. Where it holds 1, the question
# which of the two is faster stays undecided. All ratios depend on the machine.

# %% tags=["hide-input"]
run.table(
    layer_times,
    "One layer, whole prompt: ratio of times; difference: largest of merged from overwritten",
)

# %% [markdown]
# At {glue:text}`cost_tokens` tokens, as ratios of times:
#
# | compared | ratio | the first is |
# | --- | --- | --- |
# | overwritten with fused | {glue:text}`cost_overwritten` | {glue:text}`cost_overwritten_is` |
# | overwritten with eager | {glue:text}`cost_overwriting` | {glue:text}`cost_overwriting_is` |
# | eager with fused | {glue:text}`cost_eager` | {glue:text}`cost_eager_is` |
# | merged with fused | {glue:text}`cost_ours` | {glue:text}`cost_ours_is` |
# | overwritten with merged | {glue:text}`cost_gain` | {glue:text}`cost_gain_is` |
#
# The first ratio is about the second times the third: what overwriting costs, and what it costs to
# write scores down at all. Overwriting computes every product that fused attention computes, so it
# cannot save any, whatever the clock says. If a prior is to be cheaper, the scores that it replaces
# must not be computed.
#
# ## Whole answers
#
# In a model attention is one part, and a preset replaces a few heads of some layers. Below, four
# variants and vanilla answer one batch of {glue:text}`cost_questions`; images are encoded once, so
# that the time is the decoder's. The four are one of each sort: all rows with a prior that no query
# changes, all rows with noise, the last row alone, and all heads of all layers. The prompts here
# are short, and the intervention's own bookkeeping weighs more in small models than in large ones.
# All five take turns in {glue:text}`cost_rounds` rounds: with so few, an interval reaches from the
# smallest ratio to the largest.


# %%
TIMED = (("paper", "encoder"), ("paper", "noise"), ("released", "encoder"),
         ("everywhere", "uniform"))  # fmt: skip


def answer_times(name, vlm):
    """The time of some variants on one batch of a model, relative to vanilla."""
    run.saw(vlm)
    samples = list(load_benchmark("pope", own_source(name, source)).draw(asked, seed=seed))
    inputs = encoded(vlm, vlm.prepare([s.images for s in samples], [s.prompt for s in samples]))

    def answer(plan=None):
        with shared_attention_prior(vlm, plan) if plan else nullcontext(vlm) as changed:
            replies_to(changed, inputs, GREEDY, seed=seed)

    variants = presets(family_of(vlm), depth=len(vlm.layers))
    timed = {v.description: v for v in variants if (v.preset, v.name) in TIMED}
    calls = {"vanilla": answer} | {each: partial(answer, v.plan) for each, v in timed.items()}
    ratios = timed_ratios(calls, [(each, "vanilla") for each in timed], rounds=answered)
    return [
        {"model": name, "preset": v.preset, "variant": v.name} | as_row(ratio)
        for v, ratio in zip(timed.values(), ratios, strict=True)
    ]


glue("cost_questions", "1 question" if asked == 1 else f"{asked} questions", display=False)
glue("cost_rounds", answered, display=False)


# %%
each = each_model(names[: run.count(len(names), smoke=1)], device=run.device, dtype=run.dtype)
costs = pd.DataFrame([row for name, vlm in each for row in answer_times(name, vlm)])
costs["shown"] = [f"{r.time:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in costs.itertuples()]
wide = costs.pivot(index=["preset", "variant"], columns="model", values="shown")
run.table(
    wide[costs["model"].unique()].rename_axis(columns=None).reset_index(),
    "Time to answer a batch, ratio to vanilla with 95% intervals (measured now)",
)

# %% [markdown]
# ## Accuracy against cost
#
# Changes in accuracy are those of {doc}`12_sap`, from stored answers: the mean over all questions
# of a model. {glue:text}`cost_stored` The upper left of a panel is no loss in less time.

# %% tags=["hide-input"]
stored, origins = read_results(names)
shown = [name for name in names if name in origins]
words = f"Stored answers are there for: {', '.join(shown)}." if shown else ""
none = "No answers are stored, so there is no figure."
glue("cost_stored", words or none, display=False)
both = costs[:0]
if shown:
    cell = ["model", "preset", "variant"]
    changes = against_vanilla(stored, by=cell, seed=seed)
    both = costs.drop(columns="shown").merge(
        changes[[*cell, "change", "change_low", "change_high"]], on=cell
    )
PLACES = {
    "paper": ("o", plots.OKABE_ITO[0]),
    "released": ("s", plots.OKABE_ITO[2]),
    "everywhere": ("^", plots.OKABE_ITO[1]),
}
drawn = both["model"].drop_duplicates().tolist()


# %% tags=["hide-input"]
def draw_tradeoff():
    fig, axes = plots.panels(len(drawn), row_height=2 + 1.4 / len(drawn))
    for ax, name in zip(axes, drawn, strict=True):
        for preset, (marker, color) in PLACES.items():
            own = both[(both["model"] == name) & (both["preset"] == preset)]
            bars = [own["time"] - own["low"], own["high"] - own["time"]]
            ax.errorbar(own["time"], 100 * own["change"], xerr=bars, fmt=marker,
                        color=color, ms=6, lw=1, label=preset)  # fmt: skip
        ax.axvline(1, color="0.7", lw=1, zorder=0)
        ax.axhline(0, color="0.7", lw=1, zorder=0)
        ax.set_title(name, loc="left")
    fig.supylabel("change (points)", fontsize=11)
    axes[-1].set_xlabel("time (ratio to vanilla)")
    fig.legend(*axes[0].get_legend_handles_labels(), ncols=4, frameon=False,
               loc="outside lower center", columnspacing=1, handletextpad=0.2)  # fmt: skip
    return fig


# %% tags=["hide-input"]
times = both.groupby("preset")["time"].agg(["min", "max"])
spans = [f"{p} {r['min']:.2f} to {r['max']:.2f}" for p, r in times.iterrows()]
if drawn:
    run.figure(
        draw_tradeoff(),
        "tradeoff",
        data=both,
        alt=f"A panel a model, a mark a variant. Time against vanilla: {'; '.join(spans)}.",
        caption="Change in accuracy against the time to answer, one mark a prior, with 95% "
        "intervals of the time.",
    )

# %% tags=["remove-cell"]
in_presets = costs[costs["preset"].isin(["paper", "released"])]
in_presets = in_presets[in_presets["variant"] != "blend0"]
glue("cost_faster", int((in_presets["is"] == FASTER[False]).sum()), display=False)
glue("cost_cells", len(in_presets), display=False)
by_model = in_presets.rename(columns={"time": "mean"}).set_index("model")
whole = apart(lambda own: spread(by_model.loc[own], border=1), by_model.index, run.evidence)
glue("cost_whole", whole, display=False)

# %% [markdown]
# Of a large model the layer's figure at the top says something, for the share of heads and layers
# that are replaced.
#
# ## Exercises
#
# Where a function is asked for, the cell below its solution checks yours. `make exercises` writes
# this chapter without the solutions.
#
# ```{exercise} Where the products go
# :label: ex-where-the-products-go
#
# *Warm-up, 5 minutes.* A prompt has 2,000 tokens, 1,800 of them visual. By which factor do the
# query-key products of a replaced head fall? By which factor those of a layer, if three of ten
# heads are replaced?
#
# :::{dropdown} Hint
# A replaced head still needs the products with text keys.
# :::
# ```
#
# ```{solution} ex-where-the-products-go
# :class: dropdown
#
# From 2,000 keys a row to 200: a factor of ten. The layer keeps 0.7 + 0.3/10 = 0.73 of its
# products.
# ```
#
# ```{exercise} Count the operations
# :label: ex-score-flops
#
# *Warm-up, 10 minutes.* Write `score_flops(tokens, text, heads, replaced, features)`: the
# floating-point operations of the query-key products of one layer, where `replaced` of its `heads`
# take a prior for visual keys. Count whole squares, without the causal half, and two operations for
# each feature: a product and a sum. Of what share of a layer's operations is this a part at all?
#
# :::{dropdown} Hint
# All queries stay. What falls is the number of keys that a replaced head multiplies with.
# :::
# ```
#
# ```{solution} ex-score-flops
# :class: dropdown
#
# A head that is left alone has $S^2$ products, a replaced one $S \cdot T$. Against the rest of a
# layer, products with values and the weights of projections and FFN, this is little while $S$ is
# small beside the width: the weights cost about $24 S H^2$ operations, all scores $2 S^2 H$.
# ```


# %% tags=["solution", "hide-input"]
def score_flops(tokens, text, heads, replaced, features):
    """Floating-point operations of one layer's scores, a whole number."""
    products = (heads - replaced) * tokens**2 + replaced * tokens * text
    return 2 * features * products


# %% tags=["exercise-check"]
from lost_in_attention.teaching.sap_cost import check_score_flops

check_score_flops(score_flops)

# %% [markdown]
# ```{exercise} A running mean
# :label: ex-running-average
#
# *Medium, 20 minutes.* Write `running_average(prior, values)`: for each row $i$ the mean of the
# values up to $i$, weighed by $e^{p_j}$, where all keys are visual. No tensor may have more entries
# than `values`: that is the whole gain. The check adds 800 to the prior.
#
# :::{dropdown} Hint
# Numerator and denominator are both sums from the first key to the last visible one. A number that
# is taken from all of $p$ cancels.
# :::
# ```
#
# ```{solution} ex-running-average
# :class: dropdown
#
# `cumsum` gives all prefix sums in one pass. Take the largest prior away first, so that no
# exponential overflows. This is what the book's library merges with the text keys' part of each
# row.
# ```


# %% tags=["solution", "hide-input"]
def running_average(prior, values):
    """The rows, tokens x features, from a prior (tokens) and values (tokens x features)."""
    weights = (prior - prior.max()).exp()[:, None]
    return (weights * values).cumsum(0) / weights.cumsum(0)


# %% tags=["exercise-check"]
from lost_in_attention.teaching.sap_cost import check_running_average

check_running_average(running_average)

# %% [markdown]
# ```{exercise} A prior for each row
# :label: ex-a-prior-for-each-row
#
# *Medium, 20 minutes.* Give `eager`, where it overwrites, a prior of shape tokens by tokens. Why
# can `merged` not take it? What would a prior have to look like to allow prefix sums all the same?
#
# :::{dropdown} Hint
# When can $e^{p_{ij}}$ be taken apart into something of $i$ and something of $j$?
# :::
# ```
#
# ```{solution} ex-a-prior-for-each-row
# :class: dropdown
#
# The sums then differ from row to row. A prior $p_{ij} = a_i + b_j$ works: $e^{a_i}$ comes out of
# both sums. So does a sum of a few such products, as in linear attention.
# ```
#
# ```{exercise} Keys that nobody reads
# :label: ex-keys-that-nobody-reads
#
# *Research, 40 minutes.* Where every head of a layer is replaced, the keys of visual tokens are
# never read. Which part of the cache can go, and what does that save in a model of 28 layers and
# 2,000 visual tokens?
#
# :::{dropdown} Hint
# Ask of each tensor in the cache which later query still reads it. `timed_ratios` in
# `lost_in_attention.runs.timing` times two ways in turn.
# :::
#
# Rubric (10 points): what can go, and how many bytes that is, worked out before any run (3); memory
# or time of the next tokens with and without, in rounds, with an interval (3); a check that the
# answers are the same, and vanilla timed against itself (2); for which presets the saving does not
# hold (2).
# ```
#
# ```{solution} ex-keys-that-nobody-reads
# :class: dropdown
#
# After the prompt, both keys and values of visual tokens: one vector and one number for each
# key-value head remain. In the layer above that is 2 x 4 x 128 numbers a token. The presets replace
# a band of heads, so that a key-value head must stay as long as one of its heads is left alone.
# ```
