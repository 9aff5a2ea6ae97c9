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
# - **Takes** about a minute and 2 GB at tier `book`.
#
# You will
#
# 1. meet the three kinds of subjects and their accuracy,
# 2. see the two worlds, the seven question sets and how each is put to a model,
# 3. ask a model yourself, and learn what it cannot stand for.
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
from lost_in_attention.models.shipped import chosen_models, world_of
from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.votes import apart, ends
from lost_in_attention.runs.paths import data_folder
from lost_in_attention.statistics import mean_interval

# %% tags=["parameters"]
tier = "book"
model = "smollm2-pictures"
source = "pictures"
benchmark = "pope"
questions = 40
seed = 0
output = "book/generated"

# %%
run = report.start("00_models_and_data", globals())

# %%
held = chosen_models("pretrained,zoo")
cards = {
    name: json.loads((data_folder() / "models" / name / "training.json").read_text())
    for name in held
}
pretrained = chosen_models("pretrained")
joined = cards[pretrained[0]]
published = paper_variants()
billions = [each.parameters for each in published]
glue("n_published", len(published), display=False)
glue("least_billions", round(min(billions), 1), display=False)
glue("most_billions", round(max(billions), 1), display=False)

# %% tags=["hide-input"]
accuracy = pd.concat(
    [pd.DataFrame(card["accuracy"]).assign(model=name) for name, card in cards.items()]
)
overall = accuracy[accuracy["group"] == "all"]
seen = overall[overall["condition"] == "images"]
blank = overall[overall["condition"] == "blank images"]


def by_set(rows, values):
    """A row a set, a column a model."""
    return rows.pivot(index="benchmark", columns="model", values=values).loc[list(BENCHMARKS), held]


table, without, guess = by_set(seen, "accuracy"), by_set(blank, "accuracy"), by_set(seen, "chance")
over_blank = 100 * (table - without).mean()
over_chance = 100 * (table - guess).mean()
surely = by_set(seen, "low") > by_set(blank, "high")

# %% tags=["remove-cell"]
run.evidence.stored(held)
by_model = {
    "over_blank": over_blank.round(1),
    "over_chance": over_chance.round(1),
    "surely_sets": surely.sum(),
    "asked_sets": by_set(seen, "questions").min(),
}
for key, numbers in by_model.items():
    told = apart(lambda own, each=numbers: ends(each[own], "g"), held, run.evidence)
    glue(key, told, display=False)

# %% [markdown]
# ## The answer
#
# The subjects are {glue:text}`joined_name`, a language decoder with published weights that was
# taught here to see, and {glue:text}`zoo-size` small models, trained here from scratch. Accuracy
# minus that over blank images is, on the mean of the seven sets and in points,
# {glue:text}`over_blank`; minus chance, which a model without an image need not reach,
# {glue:text}`over_chance`. The number of sets on which the whole interval with images lies above
# the whole one with blank images is {glue:text}`surely_sets`. Questions asked of each set:
# {glue:text}`asked_sets`.
#
# On a set where a model is no better than without the image, its attention to the image can show
# little. And none of them is a sample of the paper's models, which have
# {glue:text}`least_billions` to {glue:text}`most_billions` billion parameters.

# %% tags=["hide-input"]
means = seen.groupby("model", sort=False)["accuracy"].mean()
told = ", ".join(f"{name} {value:.2f}" for name, value in means.items())
alt = f"Accuracy of each model on the seven sets. Mean over the sets: {told}."
caption = "Accuracy with images and with blank ones, against chance. Bars: 95% bootstrap "
caption += "intervals over images. Measured once for each model's card."
ncols = min(2, len(cards))
nrows = -(-len(cards) // ncols)
grid = {"sharex": True, "sharey": True, "squeeze": False, "layout": "constrained"}

# %% tags=["hide-input"]
fig, axes = plt.subplots(nrows, ncols, figsize=(plots.WIDTH, 0.6 + 2.2 * nrows), **grid)
for ax in axes.flat[len(cards) :]:
    ax.set_axis_off()
for ax, name in zip(axes.flat, cards, strict=False):
    own = seen[seen["model"] == name]
    ax.plot(own["chance"], own["benchmark"], "|", color="0.3", ms=14, label="chance")
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

# %% [markdown]
# ## Three kinds of subjects
#
# The paper asks {glue:text}`n_published` published models, of {glue:text}`least_billions` to
# {glue:text}`most_billions` billion parameters, the questions of seven published benchmarks. Such a
# run needs a large GPU and downloads. This book has three kinds of subjects:
#
# - **pretrained**: a language decoder with published weights that pip can install,
#   SmolLM2-135M-Instruct {cite}`allal2025smollm`, with a vision tower that was trained here. It is
#   what a laptop can come closest to the paper with, so it stands first where it is measured.
# - **small**: models of a few million parameters, trained here from scratch. They show that the
#   code is right and how a measure behaves.
# - **published**: the paper's models and others of their families, by name, for those who can
#   download them.
#
# One code path measures all three: the models are instances of the same `transformers` classes,
# the questions lie in the same columns. Neither of the first two kinds is a sample of the paper's
# models. A number measured on them says how the method behaves on a trained transformer that looks
# at an image. It does not say what the paper's models do.

# %% [markdown]
# ## Two worlds
#
# The pretrained decoder knows words, so it is asked about things: two to six drawings, each by one
# artist, on plain, shaded or textured grounds. Artists were split before anything was drawn; the
# scenes below show an artist's drawings that no model was trained on.


# %% tags=["hide-input"]
def show_world(world, alt, caption):
    """One scene and its question from each of the seven sets."""
    fig, axes = plt.subplots(2, 4, figsize=(plots.WIDTH, 3.2), layout="constrained")
    axes.flat[-1].set_axis_off()
    shown = []
    for ax, name in zip(axes.flat, BENCHMARKS, strict=False):
        sample = load_benchmark(name, world)[4]
        plots.scene(sample.image, ax, caption=name)
        shown.append({"set": name, "question": sample.question, "answer": sample.answer})
    run.figure(fig, f"scenes_{world}", data=pd.DataFrame(shown), alt=alt, caption=caption)


show_world(
    "pictures",
    "One scene from each of the seven sets: drawn animals, food, tools and other things.",
    "One scene of drawings from each question set. The CSV holds the question asked about it.",
)

# %% [markdown]
# The small models know nothing but what they were taught. They are asked about three to six
# handwritten digits of different colours and heights. The digits are real: scikit-learn's 1,797
# images, also split before anything was drawn.

# %% tags=["hide-input"]
show_world(
    "digits",
    "One scene from each of the seven sets: coloured handwritten digits on dark grounds.",
    "One scene of digits from each question set.",
)

# %% [markdown]
# ## The questions
#
# Each set stands in for one benchmark of the paper. It has the columns, the prompt and the score of
# its original. *Chance* is what guessing without looking reaches: one over the number of options,
# one half for yes or no, and for open questions the share of the commonest answer.

# %% tags=["hide-input"]
rows = []
for name in BENCHMARKS:
    row = {"set": name}
    for world in ("pictures", "digits"):
        samples = load_benchmark(name, world)
        row |= {f"{world}: questions": len(samples), f"{world}: chance": chance(samples)}
    rows.append(row)
run.table(pd.DataFrame(rows), "The seven sets in both worlds")

# %% tags=["hide-input"]
rows = [
    {"set": name, "prompt": load_benchmark(name, source)[4].prompt.replace("\n", " / ")}
    for name in BENCHMARKS
]
run.table(pd.DataFrame(rows), "The prompt of the first scenes above; a stroke ends a line")

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
# ## The pretrained subject
#
# {glue:text}`joined_name` is of the class SmolVLM. Its decoder has {glue:text}`joined_decoder`
# million parameters, 30 layers of 9 heads that share 3 heads of keys and values, 576 features. Its
# weights were kept in four bits and are unpacked. Its tower has {glue:text}`joined_tower` million;
# it learned to name what lies under each of its {glue:text}`joined_tokens` visual tokens, with the
# decoder's own word embeddings as the classifier. Of tokens that show a thing it names
# {glue:text}`joined_named_train` right on drawings of artists that it was trained on and
# {glue:text}`joined_named_heldout` on those of the held-out artist. Adapters of
# {glue:text}`joined_adapters` million parameters (LoRA, {cite}`hu2022lora`) then learned to answer.
# Where a visual token lies is said in the decoder's words too: its embeddings of left, right, top
# and bottom are added to the tower's output.
#
# Adapters change a decoder. What it knew of language should survive: on
# {glue:text}`joined_passages` passages of a novel its perplexity is {glue:text}`joined_perplexity`,
# against {glue:text}`joined_original` without adapters, a ratio of {glue:text}`joined_ratio`.

# %% tags=["remove-cell"]
said = joined["perplexity"]
glue("joined_name", pretrained[0], display=False)
for part, number in joined["parts"].items():
    glue(f"joined_{part}", f"{number / 1e6:.1f}", display=False)
glue("joined_tokens", joined["visual_tokens"], display=False)
for split in ("train", "heldout"):
    share = joined["tower"]["named"][split]["objects"]
    glue(f"joined_named_{split}", f"{100 * share:.0f}%", display=False)
glue("joined_passages", said["passages"], display=False)
glue("joined_perplexity", f"{said['joined']:.1f}", display=False)
glue("joined_original", f"{said['original']:.1f}", display=False)
glue("joined_ratio", f"{said['ratio']:.3f} [{said['low']:.3f}, {said['high']:.3f}]", display=False)

# %% [markdown]
# ### What of this is the decoder's?
#
# Tower and training might do it with any decoder. The control has the same tower, the same recipe
# and as many steps, but the decoder's own weights are random. They stay so: as in the subject, the
# adapters learn.

# %% tags=["hide-input"]
decoders = {
    "published": data_folder() / "models" / pretrained[0],
    "random": data_folder() / "controls" / f"{pretrained[0]}-random-decoder",
}
rows = []
for decoder, folder in decoders.items():
    own = pd.DataFrame(json.loads((folder / "training.json").read_text())["accuracy"])
    own = own.query("group == 'all'").set_index(["condition", "benchmark"])
    curve = pd.read_csv(folder / "training_curve.csv").query("phase == 'review'")
    rows.append(
        {
            "decoder": decoder,
            "answer tokens right in the last phase": f"{curve['answers_accuracy'].mean():.0%}",
            "replies that can be read": f"{1 - own.loc['images', 'unparsed'].mean():.0%}",
            "accuracy": f"{own.loc['images', 'accuracy'].mean():.3f}",
            "accuracy, blank images": f"{own.loc['blank images', 'accuracy'].mean():.3f}",
            "questions of each set": own["questions"].min(),
        }
    )
run.table(pd.DataFrame(rows), "The subject and its control, means over the seven sets")
told = rows[1]["replies that can be read"]
glue("random_read", "none" if told == "0%" else told, display=False)
glue("random_asked", int(rows[1]["questions of each set"]), display=False)

# %% [markdown]
# Of the control's replies to {glue:text}`random_asked` questions of each set,
# {glue:text}`random_read` can be read: in these steps adapters do not teach a random decoder to say
# an answer. Accuracies of such replies do not tell whether it sees. What the subject says, it says
# with the published decoder's language; how many steps another one would need was not tried.

# %% [markdown]
# ## The small models
#
# They are of four families, which differ in how a picture becomes tokens.
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
        "world": world_of(name),
        "seed": card["config"]["seed"],
        "starts from": "SmolLM2-135M-Instruct"
        if name in pretrained
        else card["config"]["starts_from"] or "random weights",
    }
    for name, card in cards.items()
]
run.table(pd.DataFrame(rows), "What the repository holds")
glue("zoo-size", len(cards) - len(pretrained), display=False)

# %% [markdown]
# The book ships {glue:text}`zoo-size` small models;
# `python -m lost_in_attention train --name ...` trains any of them, and `tower` and `join` the
# pretrained subject's parts. Training begins with the vision tower, which learns to name what lies
# under each visual token; then the decoder learns to answer. A model's folder holds its card, its
# training curve and all settings; families differ in their numbers of steps. Some families start
# from the weights of another, wherever names and shapes agree, as published families often share a
# language model. Such models are alike in more than their task: where a chapter counts models, they
# are not independent witnesses. A name that ends in `-seed1` or another number stands for the same
# recipe with other random numbers. Such a model need not get as far in the same number of steps;
# the table below shows how far each got. Only {doc}`06_layerwise_curves` measures them.
#
# ## How often they are right
#
# The numbers of the figure at the top:

# %% tags=["hide-input"]
summary = pd.DataFrame(
    {
        "mean of the seven": table.mean(),
        "mean over chance": over_chance / 100,
        "mean over blank images": over_blank / 100,
    }
).T

# %% tags=["hide-input"]
run.table(
    pd.concat([table, summary])
    .rename(columns=lambda name: name.removeprefix("small-"))
    .round(3)
    .rename_axis(index="set", columns=None)
    .reset_index(),
    "Accuracy on the seven sets, each model in its own world",
)


def listed(holds):
    """The sets on which something holds, model by model."""
    return "; ".join(f"{name}: {', '.join(holds.index[holds[name]]) or 'none'}" for name in holds)


glue("above-chance", listed(by_set(seen, "low") > guess), display=False)
glue("above-blank", listed(surely), display=False)

# %% [markdown]
# A model that is at or below chance on a set does not understand its questions, and nothing can be
# learned there from its attention. The sets on which the whole interval lies above chance:
# {glue:text}`above-chance`. But above chance is not yet seen: an answer can be guessed from the
# question. The sets on which the whole interval lies above that with blank images:
# {glue:text}`above-blank`. A model's card says what it was taught.
#
# ## Ask one
#
# The table above was measured once, when the models were made. The next cell asks again:
# {glue:text}`asked` questions of {glue:text}`asked-set` to {glue:text}`asked-model`.

# %%
vlm = load(model, device=run.device, dtype=run.dtype)
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
