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
# # Tracing: who attends to whom, layer by layer
#
# - **Covers** Appendix E of the paper and Figures 3b and 5 to 10; observation 3 of Section 4.2.
# - **Verdict** on claims C062 to C067, the layers named in six cases: {glue:text}`verdict_c062`.
# - **Takes** about a minute and 2 GB at tier `book`.
#
# You will
#
# 1. draw the interaction graphs of a right and a wrong answer, over the image and layer by layer,
# 2. count how many edges join two patches and how many lead back to where they start,
# 3. see what such a graph cannot show: the question.
#
# You need {doc}`01_residual_stream`. The next chapter, {doc}`16_key_region_ratio`, counts over many
# cases.

# %%
from dataclasses import replace

import numpy as np
import pandas as pd
from myst_nb import glue

from lost_in_attention.evaluation.measured import Subject
from lost_in_attention.evaluation.questions import evaluate
from lost_in_attention.models import load
from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.claims import text_claims
from lost_in_attention.publishing.showing import say, show_figure, show_table
from lost_in_attention.publishing.trace_explorer import show_graph
from lost_in_attention.publishing.trace_figures import (
    case_of,
    draw_graphs,
    explorable,
    layers_shown,
)
from lost_in_attention.publishing.votes import apart, in_words, spread
from lost_in_attention.residual.tables import intervals
from lost_in_attention.statistics import mean_intervals
from lost_in_attention.trace import asked_object, check_threshold, key_regions, trace
from lost_in_attention.trace.cases import first_cases, questions_for
from lost_in_attention.trace.counting import lowest
from lost_in_attention.trace.measuring import Tracing
from lost_in_attention.trace.stored import origins, traced_answers, traced_edges

# %% tags=["parameters"]
tier = "book"
models = "pretrained,families"
source = "own"
annotations = "own"
threshold = 0.1
questions = 40
seed = 0
output = "book/generated"

# %%
run = report.start("15_tracing", globals())
names, counted = run.models, run.count(questions, smoke=6)
check_threshold(threshold)

# %%
at_most = run.count(1500, smoke=200)
asked = questions_for(names, source=source, annotations=annotations, seed=seed)

# %% tags=["hide-input"]
rows, facts = [], {}
for name, subject in run.each_subject():
    edges, facts[name] = traced_edges(Tracing(subject, asked[name], threshold), counted)
    rows.append(edges.assign(model=name))
counts = pd.concat(rows, ignore_index=True)
counts["edges_per_token"] = counts["edges"] / counts["tokens"]

# %% tags=["hide-input"]
curves = intervals(counts, ["edges_per_token"], ["model", "kind", "layer"], seed=seed)
kinds = counts.pivot_table(
    index=["model", "sample", "image_source"],
    columns="kind",
    values="edges_per_token",
    aggfunc="sum",
)
kinds = kinds.assign(edges=kinds.sum(axis=1)).query("edges > 0").reset_index()
kinds["own"] = 100 * kinds["self"] / kinds["edges"]
own_share = mean_intervals(kinds, ["own"], ["model"], "image_source", weight="edges", seed=seed)
own_share = own_share.set_index("model").reindex(names)

# %% tags=["remove-cell"]
glue("n_counted", counted, display=False)
glue("edges_origin", origins(facts), display=False)
self_share = apart(lambda own: spread(own_share.loc[own], border=None), names, run.evidence)
glue("self_share", self_share, display=False)

# %% [markdown]
# ## The answer
#
# Of all edges of at least {glue:text}`threshold` between visual tokens, so many percent lead from a
# token to itself: {glue:text}`self_share` ({glue:text}`n_counted` questions a model). The paper's
# definition takes them in, its captions speak of interactions between patches. Two questions about
# one image were put to {glue:text}`drawn_model`. {glue:text}`asked_twice` Causality makes it so
# wherever the image stands before the question, so that such a graph cannot show where a model
# looked for its answer. The layers that the paper names in six cases (C062 to C067) stay undecided
# on any weights, as it names neither the images nor the model.


# %% tags=["hide-input"]
LOOKS = {
    "between": {"color": plots.OKABE_ITO[2], "marker": "o", "label": "between two patches"},
    "self": {"color": plots.OKABE_ITO[3], "marker": "s", "ls": "--", "label": "self-edges"},
}


def draw_counts(ax, name):
    for kind, look in LOOKS.items():
        curve = curves[(curves["model"] == name) & (curves["kind"] == kind)]
        plots.band(ax, curve["layer"], curve, look)
    ax.set(title=name, ylabel="edges a token", ylim=(0, None))
    plots.whole_numbers(ax)


# %% tags=["hide-input"]
spans = curves.groupby(["model", "kind"])["mean"].agg(["min", "max"])
words = [f"{n}, {k}: {low:.2g} to {high:.2g}" for (n, k), (low, high) in spans.iterrows()]
fig, axes = plots.panels(len(names), row_height=2.3)
for ax, name in zip(axes, names, strict=True):
    draw_counts(ax, name)
axes[-1].set_xlabel("layer (index)")
plots.legend_below(fig, axes[0], columns=2)
run.figure(
    fig,
    "edges_by_layer",
    data=curves,
    alt=f"Edges for each visual token by layer, over layers. {'; '.join(words)}.",
    caption="Edges between patches and self-edges, with 95% intervals over images.",
)

# %% [markdown]
# ## The graph
#
# The visual tokens are the vertices of a graph, one graph a layer. There is an edge from patch $j$
# to patch $i$ if patch $i$ attends to patch $j$ with a weight of at least $\tau$
# (Appendix E). The weight is the mean over heads, and $\tau =$ {glue:text}`threshold`. Section 4.2
# calls the number that is compared a query-key score, Appendix E an attention weight; a weight is
# what can be compared with 0.1 in any model, so we use that.
#
# Three things follow from causal attention, before any model runs:
#
# - An edge leads from an earlier patch to a later one, or from a patch to itself.
# - A row of weights has the sum 1 over *all* tokens, so at most $1/\tau$ edges lead to a patch.
# - Early patches have few others to attend to. The first has only itself and the words before the
#   image.
#
# By the paper's definition an edge may lead from a patch to itself; its text and captions speak of
# interactions between patches. We draw such edges as rings and count them apart.
#
# ## Two cases
#
# The cases are questions on objects that are in the image; others have no region to outline. POPE
# asks each of them three times, we ask once, from {glue:text}`sources`. The rule for choosing was
# set before anything was drawn: the questions are shuffled with seed {glue:text}`seed`, and the
# first right and the first wrong answer are taken. On these questions a right answer is "yes" and a
# wrong one "no". The model is the first of the list, {glue:text}`drawn_model`.

# %%
vlm = load(names[0], device=run.device, dtype=run.dtype)
tracing = Tracing(Subject.of(vlm), asked[names[0]], threshold)
answers, kept = traced_answers(tracing, wanted=1, at_most=at_most)
chosen = first_cases(answers, 1)
questions_asked = tracing.questions.samples
samples = {("right" if row.correct else "wrong"): questions_asked[i]
           for i, row in chosen.iterrows()}  # fmt: skip
replies_now = evaluate(vlm, list(samples.values()), benchmark="pope")["reply"]
same = int((replies_now.to_numpy() == chosen["reply"].to_numpy()).sum())
regions = key_regions(vlm, list(samples.values()), tracing.questions.objects).regions
samples = {kind: s for kind, s in samples.items() if s.id in regions}
cases = {kind: case_of(vlm, s, regions[s.id]) for kind, s in samples.items()}
LOWEST, depth = lowest(threshold), len(vlm.layers)
if cases:
    traced = trace(vlm, list(samples.values()), threshold=LOWEST)
    at_tau = traced.at(threshold).edges
missing = " and ".join(k for k in ("right", "wrong") if k not in cases)

# %% tags=["remove-cell"]
glue("threshold", f"{threshold:g}", display=False)
glue("seed", seed, display=False)
glue("drawn_model", names[0], display=False)
glue("n_asked", len(answers), display=False)
found_words = (
    f"no {missing} answer whose object is seen was found" if missing else "both were found"
)
glue("cases_found", found_words, display=False)
words = f"Answers are stored ones; asked again now, {same} of {len(chosen)} replies are the same."
glue("answers_origin", words if kept else "Answers were just given.", display=False)
sources = dict.fromkeys(questions.source for questions in asked.values())
glue("sources", ", ".join(sources), display=False)


# %% tags=["hide-input"]
def of_case(table, kind):
    """The edges of one case, with their counts by layer in words."""
    edges = table[table["sample"] == samples[kind].id]
    titles = []
    for layer in range(depth):
        part = edges[edges["layer"] == layer]
        own = int((part["source"] == part["target"]).sum())
        titles.append(f"layer {layer}: {len(part) - own} + {own}")
    return edges, titles


def inside(table, kind):
    """The layers with an edge between two different patches of the key region."""
    edges, _ = of_case(table, kind)
    region = cases[kind].region
    both = region[edges["source"]] & region[edges["target"]]
    return sorted(edges[both & (edges["source"] != edges["target"])]["layer"].unique())


def listed(layers):
    return ", ".join(str(layer) for layer in layers) or "none"


# %% tags=["hide-input"]
def show_case(kind):
    edges, titles = of_case(at_tau, kind)
    layers = layers_shown(depth)
    graphs = [(titles[layer], edges[edges["layer"] == layer]) for layer in layers]
    left_out = f" Shown are {len(layers)} of {depth} layers, evenly over depth; the data have all."
    show_figure(
        run,
        draw_graphs(cases[kind], graphs),
        f"case_{kind}",
        data=edges,
        value="weight",
        alt=f"The image of a {kind} answer about {asked_object(samples[kind].question)}, once a "
        "layer, with edges. Between patches, and from a patch to itself: "
        f"{'; '.join(title for title, _ in graphs)}. Key region: "
        f"{int(cases[kind].region.sum())} of {len(cases[kind].region)} tokens. Layers with an "
        f"edge inside it: {listed(inside(at_tau, kind))}.",
        caption=f"The first {kind} answer, to: {samples[kind].question} Titles count edges "
        "between patches and self-edges. Compare Figures 5 to 10."
        + (left_out if len(layers) < depth else ""),
    )


for kind in cases:
    show_case(kind)

# %% [markdown]
# Of {glue:text}`n_asked` questions that were asked, {glue:text}`cases_found`.
# {glue:text}`answers_origin` The graphs were traced now. Lines are wider where
# the weight is larger; edges of tokens that stand for no patch, such as the newlines of some
# families, are in the data but not drawn. The next table says in which layers an edge joins two
# patches of the key region, which is what the captions of the paper's cases name.

# %% tags=["hide-input"]
rows = [
    {
        "answer": kind,
        "asked object": asked_object(samples[kind].question),
        "key tokens": int(cases[kind].region.sum()),
        "layers with an edge inside the key region": listed(inside(at_tau, kind)),
        "edges between patches": int((edges["source"] != edges["target"]).sum()),
        "self-edges": int((edges["source"] == edges["target"]).sum()),
    }
    for kind in cases
    for edges, _ in [of_case(at_tau, kind)]
]
show_table(run, pd.DataFrame(rows), f"The two cases at threshold {threshold:g}")

# %% [markdown]
# ## Move through layers, thresholds and patches
#
# The layer is the first slider, the threshold the second. The third leaves the edges of one patch;
# pointing at a patch, or touching it, does the same. Put it back to "all" to see the whole graph.

# %% tags=["hide-input"]
THRESHOLDS = sorted({LOWEST, 0.05, 0.2, 0.3, threshold})
kind = next(iter(cases), None)


def explore(kind):
    """Shows the case; returns the layer with most edges between patches, and its edges."""
    edges, titles = of_case(at_tau, kind)
    between = edges[edges["source"] != edges["target"]]
    busiest = int(np.bincount(between["layer"], minlength=depth).argmax())
    chosen = edges[edges["layer"] == busiest]
    show_graph(
        explorable(cases[kind], of_case(traced.edges, kind)[0], depth, THRESHOLDS),
        "case_graph",
        f"The image of the first {kind} answer with the edges of one layer and the outline of the "
        f"key region. At threshold {threshold:g}, {titles[busiest]}, between patches and "
        "self-edges.",
        draw_graphs(cases[kind], [(titles[busiest], chosen)]),
        caption=f"The first {kind} answer, starting at the layer with most edges between patches. "
        "Without scripts: that layer alone.",
        layer=busiest,
        threshold=threshold,
    )
    return busiest, chosen


# %% tags=["hide-input"]
if cases:
    busiest, layer_edges = explore(kind)
else:
    say("There is no case to explore.")

# %% [markdown]
# ## Three graphs of one layer
#
# The mean over heads hides single heads. A weight of 0.1 in the mean can be 0.1 in every head or
# 0.9 in one of nine, and a head's weight of 0.5 may vanish in the mean. Attention rollout
# (Abnar and Zuidema) goes the other way: it follows attention through the layers below, half of
# each step being the residual branch. Below is the layer with most edges between patches, with the
# head that has most of them there. Rollout's weights are products of many layers and smaller, so
# for it we drop the threshold and keep as many of its largest weights as the mean has edges.


# %%
def three_graphs(one):
    by_head = trace(vlm, [one], threshold=threshold, weights="heads").edges
    by_head = by_head[by_head["layer"] == busiest]
    apart = by_head[by_head["source"] != by_head["target"]]
    head = int(apart["head"].mode().min()) if len(apart) else 0
    rolled = trace(vlm, [one], threshold=1e-3, weights="rollout").edges
    rolled = rolled[rolled["layer"] == busiest].nlargest(len(layer_edges), "weight")
    return {
        "mean of heads": layer_edges,
        f"head {head}": by_head[by_head["head"] == head],
        "rollout": rolled,
    }


# %% tags=["hide-input"]
if cases:
    graphs = three_graphs(samples[kind])
    ends = [
        f"{name}: {int((t['source'] != t['target']).sum())} between patches, "
        f"{int((t['source'] == t['target']).sum())} self-edges"
        for name, t in graphs.items()
    ]
    show_figure(
        run,
        draw_graphs(cases[kind], list(graphs.items())),
        "three_graphs",
        data=pd.concat([table.assign(graph=name) for name, table in graphs.items()]),
        value="weight",
        alt=f"Layer {busiest} of the first {kind} answer in three ways. {'; '.join(ends)}.",
        caption=f"Layer {busiest}: the paper's graph, that of one head, and rollout.",
    )
else:
    say("There is no case to draw in three ways.")

# %% [markdown]
# ## What the graph cannot show
#
# In the prompts of all these models the image stands before the question, and attention is causal.
# So a visual token never attends to the question, in no layer, and its state cannot depend on it.
# The graph over visual tokens is the same whatever is asked. That is no property of trained
# weights; it holds for every decoder that is prompted like this. We ask the model the drawn
# question and then something else about the same image.


# %%
def asked_twice(one):
    """In words: what changes in the graph where something else is asked."""
    other = replace(one, id="other", prompt="Describe what you see in one short sentence.")
    keys = ["layer", "source", "target"]
    weights = [
        trace(vlm, [sample], threshold=LOWEST).edges.set_index(keys)["weight"]
        for sample in (one, other)
    ]
    joined = pd.concat(weights, axis=1, keys=["drawn", "other"])
    # An edge that only one has lies at the threshold, so that rounding may decide.
    both = joined.dropna()
    difference = float((both["drawn"] - both["other"]).abs().max()) if len(both) else 0
    edges = f"{len(both)} edges of at least {LOWEST:g} are in both graphs, with"
    if len(both) == len(joined) and difference == 0:
        return f"All {edges} equal weights."
    rest = len(joined) - len(both)
    return f"{edges} weights that differ by at most {difference:.1g}; {rest} are in one only."


# %%
found = asked_twice(samples[kind]) if cases else "No case was found to ask about."
glue("asked_twice", found, display=False)

# %% [markdown]
# {glue:text}`asked_twice`
#
# What differs at all is rounding. So a share of edges at the key region that differs between right
# and wrong answers is a fact about the *image* and the object in it, such as its size and its
# place. It cannot be a sign that the model looked elsewhere because of the question. The paper
# reads it as misallocated attention; to say that, one must look at rows of the question's tokens or
# of the answer.
#
# Nor can the graph show what goes elsewhere. In the layers that carry the pretrained decoder's
# sink, about half of what a visual token gives does not go to visual tokens ({doc}`17_sink`, S13),
# so that fewer weights reach a fixed threshold there.
#
# ## How many edges, in every model
#
# The figure at the top counts the graphs of each model at the same threshold, of the first
# {glue:text}`n_counted` questions in the shuffled order. {glue:text}`edges_origin`

# %% tags=["hide-input"]
between = counts[counts["kind"] == "between"].set_index("model")["edges_per_token"]
summary = {
    "self-edges (% of all)": own_share.apply(in_words, axis=1),
    "graphs without an edge between patches": (between == 0).groupby("model").mean(),
}
summary = pd.DataFrame(summary).loc[names].rename_axis("model")
run.table(summary.reset_index(), "Self-edges and empty graphs, over layers")

# %% [markdown]
# ## The verdicts
#
# The captions of Figures 5 to 10 name the layers in which patches of the key region interact. The
# first says that *only* the named layer does; the other five say that the named layers do, and
# leave the others open. An edge between two patches of the region is what we take "interact" to
# mean.
#
# They are cases of one published model on images that the paper does not identify, and which of its
# models it is does not stand in the text either. So no run can repeat them, on whatever weights,
# and all six stay undecided. How many layers of our cases have such an edge stands beside them.

# %% tags=["hide-input"]
ours = " and ".join(f"{len(inside(at_tau, k))} of a {k} answer" for k in cases)
cases_of_paper = text_claims().query("quantity == 'case_layers_with_key_interaction'")
for case in cases_of_paper.itertuples():
    thing = case.note.rpartition(" is ")[2]
    layers = case.value.replace(";", ", ").replace("-", " to ")
    layers = f"layers {layers}" if "," in layers or "to" in layers else f"layer {layers} only"
    run.claim(
        case.id,
        statement=f"Patches of the key region ({thing}) interact in {layers}",
        paper=layers,
        measured=f"of {depth} layers {ours}" if cases else "no case found",
        tolerance="an edge inside the region in these layers, same image and model",
        verdict="undecided",
        note="the paper names neither the image nor the model",
    )
run.claims_table()
glue("verdict_c062", run.claims[0].verdict, display=False)

# %% [markdown]
# ## Exercises
#
# Where a function is asked for, the cell below its solution checks yours. `make exercises` writes
# this chapter without the solutions.
#
# ```{exercise} Most edges to one patch
# :label: ex-most-edges-to-one-patch
#
# *Warm-up, 5 minutes.* With $\tau = 0.1$, how many edges can lead to one patch, and how many can
# start there? Find a patch with many that start there in the interactive figure.
#
# :::{dropdown} Hint
# What is the sum of a row of weights, and what of a column?
# :::
# ```
#
# ```{solution} ex-most-edges-to-one-patch
# :class: dropdown
#
# At most ten lead to it, because its weights have the sum 1. As many can start there as there are
# later patches and the patch itself. Patches from which very many edges start are hubs.
# ```
#
# ```{exercise} From weights to edges
# :label: ex-attention-edges
#
# *Warm-up, 15 minutes.* Write `attention_edges(weights, threshold)`: the edges of one layer's graph
# as this chapter defines it, pairs (source, target) of patch numbers, from the weights of all
# heads. Row $i$ of a head holds what patch $i$ attends to. Edges from a patch to itself belong to
# the graph.
#
# :::{dropdown} Hint
# First one matrix for all heads. Then mind the direction: information flows from the patch that is
# attended to.
# :::
# ```
#
# ```{solution} ex-attention-edges
# :class: dropdown
#
# The mean over heads comes before the threshold: an edge of one head alone need not be an edge of
# the mean. `nonzero` gives (row, column), which is (target, source). A weight that is the threshold
# itself counts.
# ```


# %% tags=["solution", "hide-input"]
def attention_edges(weights, threshold):
    """Pairs (source, target), a list, from weights of shape heads x patches x patches."""
    pairs = (weights.mean(dim=0) >= threshold).nonzero().tolist()
    return [(source, target) for target, source in pairs]


# %% tags=["exercise-check"]
from lost_in_attention.teaching.tracing import check_attention_edges

check_attention_edges(attention_edges)

# %% [markdown]
# ```{exercise} How far a patch reaches
# :label: ex-reached
#
# *Medium, 20 minutes.* Write `reached(layers, start)`: the patches whose state behind the last
# layer may hold something of the patch `start`, where `layers` has each layer's edges (source,
# target) in order. The residual stream keeps what a patch had. Within a layer all edges act at
# once. What does a small reach under a threshold of 0.1 *not* show?
#
# :::{dropdown} Hint
# Keep the set of patches that are reached so far. From which state does a layer's attention read?
# :::
# ```
#
# ```{solution} ex-reached
# :class: dropdown
#
# One step a layer: the edges of a layer read the states before it, so two edges in a row need two
# layers. A small reach does not show that information stays: many weights below 0.1 can add up to
# most of a row, and text tokens carry it too.
# ```


# %% tags=["solution", "hide-input"]
def reached(layers, start):
    """Patch numbers, a set, from a list of lists of edges and the number of one patch."""
    found = {start}
    for edges in layers:
        found = found | {target for source, target in edges if source in found}
    return found


# %% tags=["exercise-check"]
from lost_in_attention.teaching.tracing import check_reached

check_reached(reached)

# %% [markdown]
# ```{exercise} Mean and single heads
# :label: ex-mean-and-single-heads
#
# *Medium, 20 minutes.* How many edges of single heads, at the same threshold, have no counterpart
# in the graph of the mean? Make the count for every layer with `trace(..., weights="heads")`.
#
# :::{dropdown} Hint
# `pandas.merge(..., how="left", indicator=True)` says which rows have no partner.
# :::
# ```
#
# ```{solution} ex-mean-and-single-heads
# :class: dropdown
#
# Merge the two tables on layer, source and target and count what is left only. An edge of the mean
# always has a counterpart in at least one head; the reverse fails wherever heads disagree.
# ```
#
# ```{exercise} The question first
# :label: ex-the-question-first
#
# *Research, 40 minutes.* Put `<image 1>` after the question in the prompt. Does the graph depend on
# the question now? Does accuracy stay?
#
# :::{dropdown} Hint
# `vlm.prepare` takes the prompt as text; compare the graphs of two questions on one image.
# :::
#
# Rubric (10 points): what would count as dependence on the question, before the run (2); a measure
# of how alike two graphs are, for two questions on one image, with an interval over images (3); the
# same in the usual order, where causality forbids any difference (3); accuracy in the new order,
# and what follows if it falls (2).
# ```
#
# ```{solution} ex-the-question-first
# :class: dropdown
#
# Visual tokens then attend to the question, and the graphs differ between questions. The models
# were not trained on this order, so look at accuracy before you read anything into the graphs.
# ```
