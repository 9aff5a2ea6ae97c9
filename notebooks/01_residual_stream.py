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
# # The residual stream: what a layer writes
#
# - **Covers** Section 3.1.2 of the paper, its equation of the residual stream and its notation.
# - **Verdict** the equation holds bit for bit, as it must: it describes how the models are built.
# - **Takes** about 10 seconds and 1 GB at tier `book`.
#
# You will
#
# 1. see the tokens that a vision-language model works on, and the matrix $X$ that holds them,
# 2. catch every state of that matrix during one forward pass,
# 3. read from the states when the model makes up its mind.
#
# You need to know what a matrix product and a softmax are.

# %% tags=["hide-input"]
from itertools import pairwise

import matplotlib.pyplot as plt
import pandas as pd
import torch
from myst_nb import glue

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.digits.coco import annotated_boxes
from lost_in_attention.models import load
from lost_in_attention.publishing import plots, report
from lost_in_attention.residual.stream import record

# %% tags=["parameters"]
tier = "book"
model = "small-qwen2.5-vl"
source = "digits"
row = 0
seed = 0
output = "book/generated"

# %%
run = report.start("01_residual_stream", globals())
vlm = load(model)
sample = load_benchmark("pope", source)[row]
inputs = vlm.prepare([sample.image], [sample.prompt])
states, names = [], []


def keep(state):
    names.append((state.layer, state.module))
    states.append(state.hidden[0].clone())


record(vlm, inputs, keep)

# %% tags=["hide-input"]
sizes = pd.DataFrame(
    {
        "layer": [layer for layer, _ in names[1:]],
        "module": [module for _, module in names[1:]],
        "size": [
            float((after - before).norm() / after.norm()) for before, after in pairwise(states)
        ],
    }
)

# %% tags=["remove-cell"]
for module, own in sizes.groupby("module"):
    glue(f"{module}_least", f"{own['size'].min():.2f}", display=False)
    glue(f"{module}_most", f"{own['size'].max():.2f}", display=False)
    glue(f"{module}_most_at", int(own.loc[own["size"].idxmax(), "layer"]), display=False)
glue("subject", run.models[0], display=False)

# %% [markdown]
# ## The answer
#
# The paper's equation of the {term}`residual stream` says that a {term}`state` plus what a module
# returned is the next state: over {glue:text}`updates` {term}`updates <update>` the sum
# {glue:text}`equation_said`. Beside the state after them, attention's updates have between
# {glue:text}`attention_least` and {glue:text}`attention_most` of its size, the most in layer
# {glue:text}`attention_most_at`, and the FFN's between {glue:text}`ffn_least` and
# {glue:text}`ffn_most`, the most in layer {glue:text}`ffn_most_at`. This is one question to one
# model, {glue:text}`subject`: it shows what states are and cannot say how modules differ. That is
# measured in {doc}`06_layerwise_curves`, on more models and questions.

# %% tags=["hide-input"]
curves = sizes.rename(columns={"size": "mean"}).assign(quantity="size")
curves = curves.assign(low=curves["mean"], high=curves["mean"])
fig, (ax,) = plots.panels(1, row_height=2.8)
plots.layer_curves(curves, "size", ax)
run.figure(
    fig,
    "update_size",
    data=sizes,
    alt=report.alt_layer_curves(curves, "size"),
    caption="Size of each update relative to the state after it, one question.",
)

# %% [markdown]
# ## A picture and a question
#
# The model is small: it was trained for this book on scenes of handwritten digits, and the scene
# below is made of digits that it has never seen. Its class and its processor are those of
# Qwen2.5-VL, so everything here runs unchanged on the published model.

# %% tags=["hide-input"]
boxes = annotated_boxes(sample.image_source) if source == "digits" else []
shown = ", ".join(name for name, _ in boxes)
fig, ax = plt.subplots(figsize=(3.5, 3.5), layout="constrained")
plots.scene(sample.image, ax, boxes=boxes)
run.figure(
    fig,
    "scene",
    data=pd.DataFrame(boxes or [("none", None)], columns=["name", "box"]),
    alt=f"{sample.image_source}, with boxes around: {shown or 'nothing'}.",
    caption="The picture. The model does not get to see the boxes.",
)
print(sample.prompt)

# %% [markdown]
# The processor cuts the picture into patches, and the vision tower turns each block of patches into
# one **visual token**. Question and chat template become text tokens. Together they are one
# sequence of $S$ tokens.

# %% tags=["nbval-check-output"]
visual = vlm.visual_mask(inputs)[0]
print(f"S = {len(visual)} tokens, {int(visual.sum())} of them visual")

# %% [markdown]
# ## The equation
#
# Each token is a vector of $H$ numbers, so the sequence is a matrix
# $X \in \mathbb{R}^{S \times H}$: rows are tokens, columns are features. A decoder layer $l$ does
# not replace this matrix. It reads it twice and adds to it twice:
#
# $$
# X_\mathrm{attn}^{l} = X_\mathrm{in}^{l} + \Delta X_\mathrm{attn}^{l},
# \qquad
# X_\mathrm{in}^{l+1} = X_\mathrm{attn}^{l} + \Delta X_\mathrm{ffn}^{l}.
# $$
#
# Attention writes the first update, the feed-forward network (FFN) the second. The running sum is
# the {term}`residual stream`. With $L$ layers it passes through $2L + 1$ {term}`states <state>`,
# and `record` shows each of them to a function of ours while the model runs: in the code above the
# answer, to `keep`.

# %% tags=["nbval-check-output"]
layers = len(vlm.layers)
shape = tuple(states[0].shape)
print(f"L = {layers} layers, {len(states)} states of shape {shape}")

# %% [markdown]
# Does the equation hold? We ask the modules themselves what they returned, add it up, and compare
# with the states. Floating-point addition rounds, but it rounds the same way every time, so the two
# must be equal to the last bit.

# %% tags=["nbval-check-output"]
written = []
modules = [m for layer in vlm.layers for m in (layer.self_attn, layer.mlp)]
hooks = [
    module.register_forward_hook(
        lambda module, args, out: written.append(out[0] if isinstance(out, tuple) else out)
    )
    for module in modules
]
record(vlm, inputs, lambda state: None)
for hook in hooks:
    hook.remove()
gaps = [
    float((before + update[0] - after).abs().max())
    for before, update, after in zip(states, written, states[1:], strict=False)
]
print(f"{len(gaps)} updates, largest difference {max(gaps)}")

# %% tags=["remove-cell"]
said = f"differs from it by {max(gaps):.1g} at most" if max(gaps) else "equals it to the last bit"
glue("equation_said", said, display=False)
glue("updates", len(gaps), display=False)

# %% [markdown]
# All that the paper measures, it measures on pairs of neighbours in this list: a state $X$ before
# an update and the state $X' = X + \Delta X$ after it.
#
# ## How much does each module write?
#
# The plainest question about an update is its size. The Frobenius norm of a matrix is the root of
# the sum of its squared entries (Definition 3.2 of the paper). The figure under the answer divides
# the norm of each update by that of the state after it, because that ratio will come back: it is a
# factor of the paper's support innovation.
#
# ## When does the model know?
#
# After the last layer the model normalises the state of the last token and compares it with the
# embedding of every word. Nothing keeps us from doing the same to earlier states. This reading is
# known as the logit lens. It shows what each state would answer if the layers after it wrote
# nothing.


# %%
def single_tokens(word):
    """The word, capital or not, after a space or not, where that is one token."""
    forms = [space + form for space in ("", " ") for form in (word, word.title())]
    encoded = vlm.processor.tokenizer(forms, add_special_tokens=False).input_ids
    return sorted({ids[0] for ids in encoded if len(ids) == 1})


with torch.inference_mode():
    last = torch.stack([state[-1] for state in states])
    chances = vlm.model.lm_head(vlm.decoder.norm(last)).float().softmax(-1)
lens = pd.DataFrame({w: chances[:, single_tokens(w)].sum(1).tolist() for w in ("yes", "no")})
lens.insert(0, "state", ["input", *(f"{layer} {module}" for layer, module in names[1:])])

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=2.8)
for word, colour in zip(("yes", "no"), plots.OKABE_ITO[2:4], strict=True):
    ax.plot(lens[word], color=colour, marker="o")
    ax.annotate(
        word,
        (len(lens) - 1, lens[word].iloc[-1]),
        xytext=(6, 0),
        textcoords="offset points",
        color=colour,
        va="center",
        annotation_clip=False,
    )
ax.set(
    xlabel="state (0 is the input, then two a layer)",
    ylabel="probability of the word",
)
run.figure(
    fig,
    "logit_lens",
    data=lens,
    alt=f"Probability of yes and no read from each of {len(lens)} states. In the end "
    f"{lens['yes'].iloc[-1]:.2f} for yes, {lens['no'].iloc[-1]:.2f} for no.",
    caption="What each state of the last token would answer (logit lens).",
)

# %% tags=["remove-cell"]
glue("answer", sample.answer, display=False)
glue("final_yes", f"{lens['yes'].iloc[-1]:.3f}", display=False)
glue("final_no", f"{lens['no'].iloc[-1]:.3f}", display=False)

# %% [markdown]
# The right answer is {glue:text}`answer`. The last state gives {glue:text}`final_yes` to "yes" and
# {glue:text}`final_no` to "no".
#
# ## Exercises
#
# Where a function is asked for, the cell below its solution checks yours. `make exercises` writes
# this chapter without the solutions.
#
# ```{exercise} One state more
# :label: ex-one-state-more
#
# *Warm-up, 5 minutes.* `names` lists what wrote each state. Why are there $2L + 1$ states and not
# $3L$, although every layer has an input, a state after attention and a state after the FFN?
#
# :::{dropdown} Hint
# Write the names of one layer's three states, then those of the next. Which two are one matrix?
# :::
# ```
#
# ```{solution} ex-one-state-more
# :class: dropdown
#
# What the FFN of layer $l$ leaves behind is the input of layer $l + 1$: two names for one matrix.
# Only the input of layer 0 has no layer before it.
# ```
#
# ```{exercise} The size of every update
# :label: ex-update-sizes
#
# *Warm-up, 10 minutes.* Write `update_sizes(states)`: for the $2L + 1$ states of a model, in order,
# the $2L$ sizes $\|X' - X\|_F / \|X'\|_F$. Which value does an update take that turns $X$ into
# $-X$, and which one that takes everything away?
#
# :::{dropdown} Hint
# `itertools.pairwise(states)` gives the pairs of neighbours; `x.norm()` of a matrix is its
# Frobenius norm.
# :::
# ```
#
# ```{solution} ex-update-sizes
# :class: dropdown
#
# Turning $X$ into $-X$ has the size 2. Where $X'$ is zero there is no size: a ratio to the state
# *after* the update has no upper bound. The paper divides by $X'$ as well, so a module that
# shortens the state looks larger than one that lengthens it.
# ```

# %% tags=["solution", "hide-input"]
from itertools import pairwise


def update_sizes(states):
    """The sizes, a list of floats, of the updates between neighbours in a list of states."""
    pairs = pairwise(states)
    return [float((after - before).norm() / after.norm()) for before, after in pairs]


# %% tags=["exercise-check"]
from lost_in_attention.teaching.residual_stream import check_update_sizes

check_update_sizes(update_sizes)

# %% [markdown]
# ```{exercise} Who writes to whom
# :label: ex-who-writes
#
# *Medium, 15 minutes.* Change the last token of the question and record the states again. Which
# rows of which states may change, and which may not? Write the check
# `torch.equal(one[:-1], other[:-1])` for every state before you run it.
#
# :::{dropdown} Hint
# The decoder is causal.
# :::
# ```
#
# ```{solution} ex-who-writes
# :class: dropdown
#
# Only the last row may change, in every state. Attention lets a token read from itself and from
# earlier tokens, and the FFN works on each row alone. The check holds for all states; a failure
# would mean that information leaks backwards.
# ```
#
# ```{exercise} The silent half
# :label: ex-silent-half
#
# *Research, 60 minutes.* Set the update of one module of one layer to zero (a forward hook may
# return another output) and ask 200 questions. Is the accuracy lost related to the size of the
# update that you removed?
#
# :::{dropdown} Hint
# `evaluate` in `lost_in_attention.evaluation.questions` asks the questions.
# :::
#
# Rubric (10 points): what you expect, and why, written down before the run (2); accuracy of all
# $2L$ removals on the same questions, each with an interval (3); a control that removes an update
# of the same size but of random direction (3); what sixteen modules of one model cannot tell (2).
# ```
#
# ```{solution} ex-silent-half
# :class: dropdown
#
# There is no single right answer. Report the accuracy for each of the $2L$ removals with its
# binomial interval, plot it against the mean size, and give the rank correlation with a bootstrap
# interval over modules. Sixteen points say little; say so. A random update in the place of the
# module's own keeps the size: what is lost beyond it was in the direction.
# ```
