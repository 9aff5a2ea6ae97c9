# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Models and data
#
# - **Covers** Section 4 and Appendix C of the paper: which models are asked which questions.
# - **Verdict** none: this page says what the other pages measure on.
# - **Takes** about 20 seconds and 1 GB at tier `book`.
#
# You will
#
# 1. see the seven question sets and how each is put to a model,
# 2. meet the small models, their families and their accuracy,
# 3. ask one of them yourself, and learn what they cannot stand for.
#
# You need to know what a token is.

# %%
import json

import matplotlib.pyplot as plt
import pandas as pd
from myst_nb import glue

from lost_in_attention.benchmarks import BENCHMARKS, chance, load_benchmark
from lost_in_attention.benchmarks.departures import DEPARTURES
from lost_in_attention.evaluation.questions import evaluate
from lost_in_attention.models import load
from lost_in_attention.models.registry import paper_variants
from lost_in_attention.publishing import plots, report
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.statistics import mean_interval

# %% tags=["parameters"]
tier = "book"
model = "small-qwen2.5-vl"
source = "digits"
benchmark = "pope"
questions = 100
seed = 0
output = "book/generated"

# %%
run = report.start("00_models_and_data", globals())

# %%
folders = sorted((data_folder() / "models").glob("*/training.json"))
cards = {path.parent.name: json.loads(path.read_text()) for path in folders}
published = paper_variants()
billions = [each.parameters for each in published]
glue("n_published", len(published), display=False)
glue("least_billions", round(min(billions), 1), display=False)
glue("most_billions", round(max(billions), 1), display=False)

# %% [markdown]
# ## Why small models
#
# The paper asks {glue:text}`n_published` published models, of {glue:text}`least_billions` to
# {glue:text}`most_billions` billion parameters, the questions of seven published benchmarks. Such a
# run needs a large GPU and downloads. This book runs on a laptop, so it brings its own: models of a
# few million parameters and questions on scenes of handwritten digits. Both have the form of the
# real ones. The models are instances of the same `transformers` classes, the questions lie in the
# same columns, and the code that loads, asks and scores them is the code that loads a published
# model by its name.
#
# What they are not is a sample of published models. A number measured on them says how the method
# behaves on a trained transformer that looks at an image. It does not say what the paper's models
# do.

# %% [markdown]
# ## The scenes
#
# A scene holds three to six handwritten digits, of different colours and heights, on a plain or
# textured ground. The digits are real: scikit-learn's 1,797 images. They were split before
# anything was drawn, so the digits below were never trained on.

# %% tags=["hide-input"]
sets = {name: load_benchmark(name) for name in BENCHMARKS}
fig, axes = plt.subplots(2, 4, figsize=(plots.WIDTH, 3.2), layout="constrained")
axes.flat[-1].set_axis_off()
shown = []
for ax, (name, samples) in zip(axes.flat, sets.items(), strict=False):
    sample = samples[4]
    plots.scene(sample.image, ax, caption=name)
    shown.append({"set": name, "question": sample.question, "answer": sample.answer})
run.figure(
    fig,
    "scenes",
    data=pd.DataFrame(shown),
    alt="One scene from each of the seven sets: coloured handwritten digits on dark grounds.",
    caption="One scene from each question set. The CSV holds the question asked about it.",
)

# %% [markdown]
# ## The questions
#
# Each set stands in for one benchmark of the paper. It has the columns, the prompt and the score of
# its original. *Chance* is what guessing without looking reaches: one over the number of options,
# one half for yes or no, and for open questions the share of the commonest answer.

# %% tags=["hide-input"]
rows = [
    {"set": name, "questions": len(samples), "chance": chance(samples)}
    for name, samples in sets.items()
]
run.table(pd.DataFrame(rows), "The seven sets")

# %% tags=["hide-input"]
rows = [
    {"set": name, "prompt": samples[4].prompt.replace("\n", " / ")}
    for name, samples in sets.items()
]
run.table(pd.DataFrame(rows), "The prompt of the scene above; a stroke ends a line")

# %% [markdown]
# The originals, and what the set here keeps of them:
#
# | set | original | kept |
# | --- | --- | --- |
# | `pope` | {cite}`li2023evaluating` | three kinds of absent objects |
# | `realworldqa` | {cite}`xai2024realworldqa` | options and instruction inside the question |
# | `3dsrbench` | {cite}`ma2024threedsrbench` | options turned round, layouts mirrored |
# | `mmmu` | {cite}`yue2024mmmu` | several subjects, open questions beside lettered ones |
# | `vmcbench` | {cite}`zhang2025vmcbench` | named categories; the mean of their means |
# | `hallusionbench` | {cite}`guan2024hallusionbench` | an image and its edited twin |
# | `mathvista` | {cite}`lu2024mathvista` | whole numbers, and choices judged by their text |
#
# Prompts and the reading of replies are not the originals' word for word. Where a benchmark's own
# rule for reading replies can be run, it is there by name: `evaluate(..., judging="official")`.

# %% tags=["hide-input"]
rows = [
    {"set": name, "departs from the benchmark's script or its harnesses": sentence}
    for name, sentences in DEPARTURES.items()
    for sentence in sentences
]
run.table(pd.DataFrame(rows), "Departures, set by set")

# %% [markdown]
# ## The models
#
# The small models are of four families, which differ in how a picture becomes tokens. A fifth,
# SmolVLM, can be loaded but has no small model.
#
# - **Qwen2.5-VL**: a tower with windowed attention, four patches merged into one token, rotary
#   positions in two dimensions.
# - **LLaVA**: a CLIP tower, one token a patch, a Llama decoder.
# - **LLaVA-NeXT**: the same tower on the whole picture and on tiles of it, with a newline token
#   after each row, a Mistral decoder.
# - **LLaVA-OneVision**: a SigLIP tower, whole picture and tiles, a Qwen2 decoder.

# %% tags=["hide-input"]
rows = [
    {
        "model": name,
        "class": card["class"],
        "parameters (million)": card["parameters"] / 1e6,
        "visual tokens": card["visual_tokens"],
        "seed": card["config"]["seed"],
        "starts from": card["config"].get("starts_from") or "random weights",
    }
    for name, card in cards.items()
]
run.table(pd.DataFrame(rows), "The small zoo")
shipped = f"{len(cards)} model" + ("s" if len(cards) > 1 else "")
glue("zoo-size", shipped, display=False)

# %% [markdown]
# The book ships {glue:text}`zoo-size`; `python -m lost_in_attention train --name ...` trains any of
# them. Training begins with the vision tower, which learns to name what lies under each visual
# token; then the decoder learns to answer. A model's folder holds its card, its training curve and
# all settings; families differ in their numbers of steps. Some families start from the weights of
# another, wherever names and shapes agree, as published families often share a language model.
# Such models are alike in more than their task: where a chapter counts models, they are not
# independent witnesses. A name that ends in `-seed1` or another number stands for the same recipe
# with other random numbers. Such a model need not get as far in the same number of steps; the table
# below shows how far each got. Only {doc}`06_layerwise_curves` measures them.

# %%
accuracy = pd.concat(
    [pd.DataFrame(card["accuracy"]).assign(model=name) for name, card in cards.items()]
)
overall = accuracy[accuracy["group"] == "all"]
seen = overall[overall["condition"] == "images"]
blank = overall[overall["condition"] == "blank images"]
guess = seen.groupby("benchmark", sort=False)["chance"].first()

# %% tags=["hide-input"]
means = seen.groupby("model")["accuracy"].mean()
told = ", ".join(f"{name} {value:.2f}" for name, value in means.items())
alt = f"Accuracy of each small model on the seven sets. Mean over the sets: {told}."
caption = "Accuracy with images and with blank ones, against chance. Bars: 95% bootstrap "
caption += "intervals over images. Measured once for each model's card."
ncols = min(2, len(cards))
nrows = -(-len(cards) // ncols)
grid = {"sharex": True, "sharey": True, "squeeze": False, "layout": "constrained"}

# %% tags=["hide-input"]
fig, axes = plt.subplots(nrows, ncols, figsize=(plots.WIDTH, 0.6 + 2.6 * nrows), **grid)
for ax in axes.flat[len(cards) :]:
    ax.set_axis_off()
for ax, name in zip(axes.flat, cards, strict=False):
    ax.plot(guess, guess.index, "|", color="0.3", ms=14, label="chance")
    for part, colour, label in ((seen, "C0", "image"), (blank, "C1", "blank")):
        these = part[part["model"] == name]
        mean = these["accuracy"]
        bars = [mean - these["low"], these["high"] - mean]
        ax.errorbar(mean, these["benchmark"], xerr=bars, fmt="o", color=colour, label=label)
    ax.set(title=name, xlim=(-0.02, 1.02), xlabel="accuracy")
axes.flat[0].invert_yaxis()
marks = axes.flat[0].get_legend_handles_labels()
fig.legend(*marks, loc="outside upper center", ncols=3)
run.figure(fig, "accuracy", data=overall.drop(columns="group"), alt=alt, caption=caption)

# %% tags=["hide-input"]
table = seen.pivot(index="benchmark", columns="model", values="accuracy")
without = blank.pivot(index="benchmark", columns="model", values="accuracy")
table = table.loc[guess.index]
summary = pd.DataFrame(
    {
        "mean of the seven": table.mean(),
        "mean over chance": table.sub(guess, axis=0).mean(),
        "mean over blank images": (table - without).mean(),
    }
).T

# %% tags=["hide-input"]
run.table(
    pd.concat([table, summary])
    .rename(columns=lambda name: name.removeprefix("small-"))
    .round(3)
    .rename_axis(index="set", columns=None)
    .reset_index(),
    "Accuracy of the small models on the seven sets",
)
above = {
    name: [row.benchmark for row in part.itertuples() if row.low > row.chance]
    for name, part in seen.groupby("model")
}
told = "; ".join(f"{name}: {', '.join(sets) or 'none'}" for name, sets in above.items())
glue("above-chance", told, display=False)

# %% [markdown]
# A model that is at or below chance on a set does not understand its questions, and nothing can be
# learned there from its attention. The sets on which the whole interval lies above chance:
# {glue:text}`above-chance`. A model's card says what it was taught.
#
# ## Ask one
#
# The table above was measured once, when the models were published. The next cell asks again:
# {glue:text}`asked` questions of {glue:text}`asked-set` to {glue:text}`asked-model`.

# %%
vlm = load(model)
samples = load_benchmark(benchmark, source).draw(questions, seed=seed)
replies = evaluate(vlm, samples, benchmark=benchmark)
replies["question"] = replies["prompt"].str.split("\n").str[0]
interval = mean_interval(replies["correct"], units=replies["image_source"], seed=seed)
glue("asked", len(replies), display=False)
glue("asked-set", benchmark, display=False)
glue("asked-model", model, display=False)
run.table(
    replies[["sample", "question", "reply", "answer", "correct"]].head(6),
    f"The first replies; {interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}] right",
)

# %% [markdown]
# ## Exercises
#
# ```{exercise} Nothing to see
# :label: ex-models-blind
#
# *Warm-up, 10 minutes.* Ask the same questions with `samples.blanked()`. Which words does the model
# prefer when it sees nothing, and is it still near chance?
#
# :::{dropdown} Hint
# `value_counts` of the column `parsed`, with the pictures and without.
# :::
# ```
#
# ```{solution} ex-models-blind
# :class: dropdown
#
# `evaluate(vlm, samples.blanked(), benchmark=benchmark)` gives the table; count its `parsed`
# column. A grey picture is unlike any picture in training, so the model need not say yes and no
# equally often. Accuracy stays near one half all the same, because yes and no are balanced.
# ```
#
# ```{exercise} A row of Table 2
# :label: ex-models-published
#
# *Research, 240 minutes.* On a GPU, run this page with `model` and `source` set to
# a published model and benchmark, for instance `-p model llava-hf/llava-1.5-7b-hf -p source hub`.
# Compare the accuracy with the vanilla rows of the paper's Table 2. Which settings could explain a
# difference?
#
# :::{dropdown} Hint
# {doc}`../reading` has the whole command. Change one setting at a time.
# :::
#
# Rubric (10 points): which rows you compare with, and how close counts as agreement, before the run
# (3); the accuracy with its interval over images (3); as a control, two settings that the paper
# does not state, changed one at a time on the same questions (2); what agreement or a difference
# would not show (2).
# ```
#
# ```{solution} ex-models-published
# :class: dropdown
#
# The paper's settings say little: the number of new tokens and the library's defaults. Image
# resolution, prompt wording, half precision, sampling and the rule that reads an answer all move an
# accuracy by a point or more.
# ```
