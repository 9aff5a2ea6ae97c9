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

import pandas as pd
from myst_nb import glue

from lost_in_attention import plots, report
from lost_in_attention.benchmarks import BENCHMARKS, chance, load_benchmark
from lost_in_attention.evaluate import evaluate
from lost_in_attention.models import load
from lost_in_attention.paths import data_folder
from lost_in_attention.stats import mean_interval

# %% tags=["parameters"]
tier = "book"
model = "small-qwen2.5-vl"
source = "digits"
benchmark = "pope"
questions = 100
seed = 0
output = "book/generated"

# %%
run = report.start(
    "00_models_and_data",
    tier=tier,
    seed=seed,
    model=model,
    output=output,
    source=source,
    benchmark=benchmark,
    questions=questions,
)
folders = sorted((data_folder() / "models").glob("*/training.json"))
cards = {path.parent.name: json.loads(path.read_text()) for path in folders}

# %% [markdown]
# ## Why small models
#
# The paper asks fifteen published models, of three to thirteen billion parameters, the questions
# of seven published benchmarks. Such a run needs a large GPU and downloads. This book runs on a
# laptop, so it brings its own: models of a few million parameters and questions on scenes of
# handwritten digits. Both have the form of the real ones. The models are instances of the same
# `transformers` classes, the questions lie in the same columns, and the code that loads, asks and
# scores them is the code that loads a published model by its name.
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

# %%
sets = {name: load_benchmark(name) for name in BENCHMARKS}
fig, axes = plots.panels(len(sets), row_height=3.0)
shown = []
for ax, (name, samples) in zip(axes, sets.items(), strict=True):
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

# %%
rows = [
    {
        "set": name,
        "questions": len(samples),
        "prompt": samples[4].prompt,
        "answer": samples[4].answer,
        "chance": chance(samples),
    }
    for name, samples in sets.items()
]
run.table(
    pd.DataFrame(rows), "The seven sets, with one prompt each as the model reads it"
)

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

# %% [markdown]
# ## The models
#
# Four families differ in how a picture becomes tokens.
#
# - **Qwen2.5-VL**: a tower with windowed attention, four patches merged into one token, rotary
#   positions in two dimensions.
# - **LLaVA**: a CLIP tower, one token a patch, a Llama decoder.
# - **LLaVA-NeXT**: the same tower on the whole picture and on tiles of it, with a newline token
#   after each row, a Mistral decoder.
# - **LLaVA-OneVision**: a SigLIP tower, whole picture and tiles, a Qwen2 decoder.

# %%
rows = [
    {
        "model": name,
        "class": card["class"],
        "parameters (million)": card["parameters"] / 1e6,
        "visual tokens": card["visual_tokens"],
        "seed": card["config"]["seed"],
        "trained on": card["device"],
    }
    for name, card in cards.items()
]
run.table(pd.DataFrame(rows), "The small zoo")
shipped = f"{len(cards)} model" + ("s" if len(cards) > 1 else "")
glue("zoo-size", shipped, display=False)

# %% [markdown]
# The book ships {glue:text}`zoo-size`; `python -m lost_in_attention train --name ...` trains any
# family. Training begins with the vision tower, which learns to name what lies under each visual
# token; then the decoder learns to answer. A model's folder holds its card, its training curve and
# all settings.

# %%
accuracy = pd.concat(
    [
        pd.DataFrame(card["accuracy"]).assign(model=name)
        for name, card in cards.items()
    ]
)
overall = accuracy[accuracy["group"] == "all"]
seen = overall[overall["condition"] == "images"]
blank = overall[overall["condition"] == "blank images"]
fig, axes = plots.panels(len(BENCHMARKS), row_height=2.6)
for ax, name in zip(axes, BENCHMARKS, strict=True):
    for part, colour, label in ((seen, "C0", "image"), (blank, "C1", "blank")):
        these = part[part["benchmark"] == name]
        low, high = (
            these["accuracy"] - these["low"],
            these["high"] - these["accuracy"],
        )
        ax.errorbar(these["accuracy"], these["model"], xerr=[low, high], fmt="o",
                    color=colour, label=label)  # fmt: skip
    ax.axvline(
        seen.loc[seen["benchmark"] == name, "chance"].iloc[0], ls=":", color="0.4"
    )
    ax.set(title=name, xlim=(0, 1.02))
axes[0].legend(frameon=False)
means = seen.groupby("model")["accuracy"].mean()
run.figure(
    fig,
    "accuracy",
    data=overall[["model", "benchmark", "condition", "questions", "accuracy", "low", "high"]],
    alt="Accuracy of each small model on each set. Mean over the sets: "
    + ", ".join(f"{name} {value:.2f}" for name, value in means.items()) + ".",
    caption="Accuracy with images and with blank ones; dotted: chance. Bars: 95% bootstrap "
    "intervals over images. Measured when each model was published, on its card.",
)  # fmt: skip

# %%
table = seen.pivot(index="model", columns="benchmark", values="accuracy")
guess = seen.groupby("benchmark")["chance"].first()
without = blank.pivot(index="model", columns="benchmark", values="accuracy")
summary = pd.DataFrame(
    {
        "mean of seven": table.mean(axis=1),
        "points over chance": 100 * (table - guess).mean(axis=1),
        "points over blank images": 100 * (table - without).mean(axis=1),
    }
)
run.table(
    table.join(summary).reset_index(), "Accuracy on the seven sets, means and margins"
)

# %% [markdown]
# Wrong answers are left in every set: later chapters compare right answers with wrong ones.
#
# ## Ask one
#
# The table above was measured once, when the models were published. The next cell asks again:
# {glue:text}`asked` questions of `{glue:text}`asked-set`` to `{glue:text}`asked-model``.

# %%
vlm = load(model)
samples = load_benchmark(benchmark, source).draw(questions, seed=seed)
replies = evaluate(vlm, samples, benchmark=benchmark)
interval = mean_interval(replies["correct"], units=replies["image_source"], seed=seed)
glue("asked", len(replies))
glue("asked-set", benchmark, display=False)
glue("asked-model", model, display=False)
run.table(
    replies[["sample", "prompt", "reply", "answer", "correct"]].head(6),
    f"The first replies; {interval.mean:.2f} [{interval.low:.2f}, {interval.high:.2f}] right",
)

# %% [markdown]
# ```{exercise}
# :label: ex-models-blind
# *Warm-up, 10 minutes.* Ask the same questions with `samples.blanked()`. Which words does the model
# prefer when it sees nothing, and is it still near chance?
# ```
#
# ```{solution} ex-models-blind
# :class: dropdown
# `evaluate(vlm, samples.blanked(), benchmark=benchmark)` gives the table; count its `parsed`
# column. A grey picture is unlike any picture in training, so the model need not say yes and no
# equally often. Accuracy stays near one half all the same, because yes and no are balanced.
# ```
#
# ```{exercise}
# :label: ex-models-published
# *Project, 240 minutes.* On a GPU, run this page with `model` and `source` set to
# a published model and benchmark, for instance `-p model llava-hf/llava-1.5-7b-hf -p source hub`.
# Compare the accuracy with the vanilla rows of the paper's Table 2. Which settings could explain a
# difference?
# ```
#
# ```{solution} ex-models-published
# :class: dropdown
# The paper's settings say little: the number of new tokens and the library's defaults. Image
# resolution, prompt wording, half precision, sampling and the rule that reads an answer all move an
# accuracy by a point or more.
# ```
