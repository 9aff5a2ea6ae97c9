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
# # Which heads and which layers can be replaced
#
# - **Covers** Appendices C.3 and D of the paper, Tables 4 to 8.
# - **Verdict** on claim C076, middle heads beat both tails: {glue:text}`verdict_c076`. On claim
#   C078, early layers are sensitive: {glue:text}`verdict_c078`.
# - **Takes** about a minute and 2 GB at tier `book`.
#
# You will
#
# 1. measure how flat each prior is, that is, how much it can say at all,
# 2. move the replacement through bands of heads, ranked in two ways, and through ranges of layers,
# 3. see which types of questions notice.
#
# You need {doc}`12_sap`.

# %%
import pandas as pd
from myst_nb import glue

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.evaluation import (
    ablations,
    against_vanilla,
    answer_under,
    draw_as_stored,
    family_of,
    kept_and_returned,
    own_source,
    prior_entropies,
    seen_by_either,
    with_stored,
)
from lost_in_attention.models import load, release
from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.dots import dots, dots_by_model
from lost_in_attention.publishing.paper import claimed, published
from lost_in_attention.publishing.votes import (
    apart,
    ends,
    in_points,
    opposite,
    side_of,
    spread,
    tally,
    unanimous,
)
from lost_in_attention.statistics import mean_intervals

# %% tags=["parameters"]
tier = "book"
models = "pretrained,families"
source = "own"
live_benchmark = "pope"
questions = 4
images = 40
seed = 0
output = "book/generated"

# %%
run = report.start("13_sap_where", globals())
names, asked = run.models, run.count(questions, smoke=4)
looked_at = run.count(images, smoke=4)

# %% tags=["hide-input"]
vlm = load(names[0], device=run.device, dtype=run.dtype)
variants = ablations(family_of(vlm), depth=len(vlm.layers))
drawn = draw_as_stored(names[0], live_benchmark, source, grid="ablations", count=asked, seed=seed)
run.evidence.asked(live_benchmark, drawn)
live = answer_under(vlm, drawn, benchmark=live_benchmark, variants=variants)
heads = vlm.decoder.config.num_attention_heads
groups = vlm.decoder.config.num_key_value_heads
# The models that are measured below need the room.
release(vlm)
found = with_stored(live, names, "ablations")
answers, shown = found.table, found.models
run.evidence.stored(shown)
fewest = answers.groupby(["model", "benchmark"])["sample"].nunique().min()


# %% tags=["hide-input"]
def place(row):
    """The band or the layers, in words."""
    if row.preset == "none":
        return "none"
    if row.preset == "layers":
        return f"{row.first_layer:.0f}-{row.last_layer:.0f}"
    return f"{row.low_head:g}-{row.high_head:g}"


replaced = ["preset", "first_layer", "last_layer", "low_head", "high_head"]
kinds = answers[replaced].drop_duplicates()
kinds = kinds.assign(place=[place(row) for row in kinds.itertuples()])
answers = answers.merge(kinds, on=replaced, how="left")
CELL = ["model", "preset", "place", "variant"]
cells = against_vanilla(answers, by=CELL, seed=seed)
seen = seen_by_either(answers)
seen = seen[seen["variant"] != "blank"]
net = against_vanilla(seen, by=CELL, seed=seed) if len(seen) else cells[:0]
cells = pd.concat([cells.assign(asked="all questions"), net.assign(asked="need the image")])

# %% [markdown]
# ## The answer
#
# The paper says that early layers are sensitive and late ones hardly. Does noise in the earliest
# range of layers cost more accuracy than in the latest? {glue:text}`where_early`. Against vanilla,
# the earliest range changes accuracy by so many points: {glue:text}`where_earliest`; the latest:
# {glue:text}`where_latest`. {glue:text}`says_c076`. {glue:text}`says_c077`.
#
# Open is what has 0 in its interval, without correction for many comparisons. Intervals are over
# questions, of these weights: another training of the pretrained subject's adapters has moved its
# numbers by more ({doc}`../changelog`). Questions asked of each of {glue:text}`where_sets` sets:
# {glue:text}`where_asked`. And a prior need not choose among
# visual tokens at all: written as the paper's text has it, the encoder's is uniform but for at most
# {glue:text}`flat_paper_encoder`% of the entropy, and noise but for {glue:text}`flat_paper_noise`%.

# %% tags=["hide-input"]
ASKED = {
    "all questions": ("o", plots.OKABE_ITO[0]),
    "need the image": ("^", plots.OKABE_ITO[1]),
}
ranges = cells[cells["preset"] == "layers"].dropna(subset=["change_low", "change_high"])


def draw_ranges():
    fig, axes = dots_by_model(
        ranges, shown, "change", series="asked", looks=ASKED, across="place",
        ylabel="change (points)", row_height=1.9 + 1.4 / len(shown), columns=2,
    )  # fmt: skip
    axes[-1].set_xlabel("replaced layers (first-last)")
    return fig


# %% tags=["hide-input"]
worst = 100 * ranges.groupby(["model", "asked"])["change"].min()
spans = [f"{name}, {which}: {change:+.1f}" for (name, which), change in worst.items()]
run.figure(
    draw_ranges(),
    "layers",
    data=ranges,
    alt=f"A panel a model. Largest loss in points over ranges: {'; '.join(spans)}.",
    caption="Noise in a range of layers, in the preset's band of heads: the counterpart of Tables "
    "6 and 7.",
)

# %% [markdown]
# ## How flat is a prior?
#
# Scores go through a softmax. Those that lie close together give nearly equal weights, whatever
# their order. We take the entropy of the softmax over the visual tokens alone, as a share of
# $\log n$: 1 is uniform, 0 is one token.
#
# The paper's text writes the values as they are. The released code turns them into probabilities
# first, and those are scores near $1/n$: their softmax has to be almost uniform. (For the LLaVA
# families it then rescales them to half the mean score, layer by layer; that is left out here.)
# All values of this section were just computed.

# %%
entropies = []
for name, vlm in run.each_model():
    # POPE asks several questions about an image, so more are drawn than images are wanted.
    pool = load_benchmark("pope", own_source(name, source)).draw(4 * looked_at, seed=seed)
    first = {sample.image_source: sample for sample in pool}
    samples = list(first.values())[:looked_at]
    entropies.append(prior_entropies(vlm, samples, seed=seed).assign(model=name))
flat = pd.concat(entropies).assign(missing=lambda table: 1 - table["entropy"])
flat = mean_intervals(flat, ["missing"], ["model", "prior", "variant"], "image_source", seed=seed)
flat = flat.drop(columns="quantity").rename(
    columns={"mean": "missing", "low": "missing_low", "high": "missing_high"}
)

# %% tags=["hide-input"]
LOOKS = {
    "encoder": ("o", plots.OKABE_ITO[0]),
    "complexity": ("s", plots.OKABE_ITO[2]),
    "noise": ("^", plots.OKABE_ITO[3]),
}


def draw_flatness():
    fig, axes = plots.panels(2, row_height=2.8)
    for ax, variant in zip(axes, ("paper", "released"), strict=True):
        dots(ax, flat[flat["variant"] == variant], "missing",
             series="prior", looks=LOOKS, across="model", order=names)  # fmt: skip
        ax.set(title=variant, yscale="log", ylim=(1e-8, 100))
        ax.label_outer()
    fig.supylabel("missing entropy (%)", fontsize=11)
    plots.legend_below(fig, axes[0], columns=3)
    return fig


# %% tags=["hide-input"]
means = 100 * flat.groupby(["variant", "prior"])["missing"].mean()
spans = [f"{v} {p} {share:.2g}" for (v, p), share in means.items() if p in LOOKS]
run.figure(
    draw_flatness(),
    "flatness",
    data=flat,
    alt=f"Missing entropy in percent of log n, mean over models: {'; '.join(spans)}.",
    caption="How far each prior is from uniform, as the paper's text has it (above) and as the "
    "released code has it (below): entropy that is missing from log n, with 95% intervals over "
    "images, on a logarithmic scale.",
)

# %% tags=["remove-cell"]
most = 100 * flat.groupby(["variant", "prior"])["missing"].max()
for variant in ("paper", "released"):
    for prior in LOOKS:
        glue(f"flat_{variant}_{prior}", f"{most[variant, prior]:.2g}", display=False)

# %% [markdown]
# What is missing from the entropy of a uniform prior, at most over models, in percent:
#
# | prior | as the text has it | as the code has it |
# | --- | --- | --- |
# | encoder | {glue:text}`flat_paper_encoder` | {glue:text}`flat_released_encoder` |
# | complexity | {glue:text}`flat_paper_complexity` | {glue:text}`flat_released_complexity` |
# | noise | {glue:text}`flat_paper_noise` | {glue:text}`flat_released_noise` |
#
# Where little is missing, a prior is uniform in all but name, and results under different priors
# have to be alike.
#
# ## Heads and layers
#
# Tables 4 to 7 are about the noise prior, so we vary its place. A band is a share of each layer's
# heads, ranked from those that look most at text to those that look least at it. The paper ranks
# them by attention weights, its code by scores before the softmax. Here the prompt's last query
# ranks them for the whole reply; in {doc}`12_sap` every token of the reply ranks them anew, so the
# same band can give slightly other answers there. Layer ranges are those of Tables
# 6 and 7 at the same share of the model's depth. Families that the tables leave out take the ranges
# of the model with as many layers.
#
# Fixed before the run, over all questions of a model, with 95% intervals of paired differences
# (accuracy is each benchmark's own; benchmarks weigh by their questions):
#
# - C076: the middle band [0.3, 0.6] is above both [0, 0.3] and [0.6, 0.9], in every model.
# - C077: the lowest band is below each of the others but [0, 1], in every model.
# - C078: the earliest range is below the latest, in every model.
# - C079: in most models of the Qwen family no other band is above the middle one on average.
#
# Where a model or a benchmark was not asked, all stay undecided.
#
# A first run asked the small models 200 questions of each benchmark and left most of these open. It
# was repeated with more, and the rules stayed as they were. By now so many of each were asked:
# {glue:text}`where_asked`.

# %% tags=["hide-input"]
run.table(
    found.made_by(),
    f"Where the answers come from; of the stored ones, {found.equal}",
)
sizes = [len(each.plan.ranks(heads)) for each in variants if each.preset == "heads"]
glue("where_origin", found.sentence, display=False)
glue("where_equal", found.equal, display=False)
glue("where_heads", heads, display=False)
glue("where_groups", groups, display=False)
glue("where_sizes", ", ".join(map(str, sizes)), display=False)
per_set = answers.groupby(["model", "benchmark"])["sample"].nunique().groupby("model").min()
asked_words = apart(lambda own: ends(per_set[own], "d"), shown, run.evidence)
glue("where_asked", asked_words, display=False)
glue("where_sets", answers["benchmark"].nunique(), display=False)

# %% tags=["hide-input"]
told = cells.assign(shown=cells.apply(in_points, axis=1, interval=True))
for (ranking, which), rows in told.groupby(["preset", "asked"], sort=False):
    if not ranking.startswith("heads"):
        continue
    table = rows.pivot(index="model", columns="place", values="shown")
    table = table.rename_axis(columns=None).reset_index()
    rank = "the release's ranking" if "released" in ranking else "the paper's ranking"
    run.table(table, f"Bands of heads, {rank}, {which}: changes in points")
ranges = told[told["preset"] == "layers"]
ranges = ranges.pivot(index=["model", "place"], columns="asked", values="shown")
run.table(
    ranges.rename_axis(columns=None).reset_index(),
    "Ranges of layers: changes in points",
)

# %%
both_ways = kept_and_returned(answers, by=CELL)

# %% tags=["hide-input"]
both_ways["shown"] = [
    f"{100 * row.kept:.1f} / {100 * row.returned:.1f}" for row in both_ways.itertuples()
]
for (ranking, _), rows in both_ways.groupby(["preset", "variant"], sort=False):
    if not ranking.startswith("heads"):
        continue
    table = rows.pivot(index="model", columns="place", values="shown")
    rank = "the release's ranking" if "released" in ranking else "the paper's ranking"
    run.table(
        table.rename_axis(columns=None).reset_index(),
        f"Bands of heads, {rank}: vanilla's answers kept / the variant's answers that "
        "vanilla has (%)",
    )
rows = both_ways[both_ways["preset"] == "layers"]
run.table(
    rows[["model", "place", "vanilla_right", "shown"]].rename(
        columns={"vanilla_right": "vanilla has right", "shown": "kept / returned (%)"}
    ),
    "Ranges of layers: answers that need the image, counted both ways",
)

# %% [markdown]
# Changes have 95% intervals; an asterisk marks what differs after Holm's correction. A question
# needs the image if it is answered wrong on a grey one. As in {doc}`12_sap`, questions that vanilla
# alone chose would make every other run look worse. So changes are over those that vanilla or the
# variant has right, and the last tables count both ways: the share of vanilla's right answers that
# the variant keeps, and the share of the variant's that vanilla has. Only a first number below the
# second is a net loss. Those shares count answers alike; changes weigh them as accuracy does.
#
# {glue:text}`where_origin` Of the answers computed now: {glue:text}`where_equal`. The first model
# has {glue:text}`where_heads` heads in each layer, of which the bands of the next figure hold
# {glue:text}`where_sizes`, in its order: a narrow band is few heads, or one. Heads are ranked one
# by one, also where several share keys and values ({glue:text}`where_groups` groups there): a band
# can hold one head of a group and spare another, and a replaced head averages its own group's
# values.

# %% tags=["hide-input"]
BANDS = ["0-0.3", "0.3-0.6", "0.6-0.9", "0.2-0.8", "0-1"]
RANKED = {
    "heads": ("o", plots.OKABE_ITO[0]),
    "heads, released ranking": ("s", plots.OKABE_ITO[3]),
}
every = cells[cells["asked"] == "all questions"]
bands = every[every["preset"].isin(RANKED)]


def draw_bands():
    fig, axes = dots_by_model(
        bands, shown, "change", series="preset", looks=RANKED, across="place", order=BANDS,
        ylabel="change (points)", row_height=1.9 + 1.4 / len(shown), columns=2,
    )  # fmt: skip
    axes[-1].set_xlabel("band of heads (share)")
    return fig


# %% tags=["hide-input"]
means = 100 * bands.groupby(["preset", "place"])["change"].mean()
spans = [f"{preset} {where} {change:+.1f}" for (preset, where), change in means.items()]
run.figure(
    draw_bands(),
    "bands",
    data=bands,
    alt=f"A panel a model. Mean change in points over models: {'; '.join(spans)}.",
    caption="Noise in a band of heads, ranked as the paper says and as its code does: the "
    "counterpart of Tables 4, 5 and 8.",
)

# %% [markdown]
# The paper's own tables are of other and much larger models. In Tables 4 and 5, which its sentences
# on all models are about, the middle band is above both narrow tails in
# {glue:text}`where_middle_45` models, and the lowest band below the two others in
# {glue:text}`where_low_45`; {doc}`18_audit` asks how clearly. In Table 8, of which the paper says
# that the middle is frequently the best for several variants, the first holds in
# {glue:text}`where_middle_8` and the second in {glue:text}`where_low_8`. Tables 6 and 7 have two
# models.

# %% tags=["hide-input"]
table8 = published("table8_variants")
table8["accuracy"] *= 100
tables45 = published("tables4_5_heads").query("dataset == 'AVG'")
by_band = pd.concat([tables45, table8])
by_band["place"] = [
    f"{low:g}-{high:g}" for low, high in zip(by_band["head_min"], by_band["head_max"], strict=True)
]
by_band = by_band.pivot(index="model", columns="place", values="accuracy")[BANDS]
run.table(
    by_band.rename_axis(columns=None).reset_index(),
    "The paper's Tables 4, 5 (averages) and 8: accuracy (%)",
)
low_band, middle_band, high_band = (by_band[band] for band in BANDS[:3])
above_both = (middle_band > low_band) & (middle_band > high_band)
below_both = (low_band < middle_band) & (low_band < high_band)
for tables, printed in (("45", tables45), ("8", table8)):
    own = by_band.index.isin(printed["model"])
    for band, holds in (("middle", above_both), ("low", below_both)):
        glue(f"where_{band}_{tables}", f"{holds[own].sum()} of {own.sum()}", display=False)

# %% tags=["hide-input"]
layers_csv = published("tables6_7_layers").query("dataset == 'AVG'")
run.table(
    layers_csv[["model", "layer_first", "layer_last", "accuracy"]].rename(
        columns={"layer_first": "first layer", "layer_last": "last layer"}
    ),
    "The paper's Tables 6 and 7, averages: accuracy (%)",
)

# %% [markdown]
# ## Which questions notice?
#
# The types of questions of each benchmark, under noise in all heads of the preset's layers, in the
# earliest range and in the latest. Left out are types that a kind of subject was asked fewer than
# {glue:text}`where_fewest` questions of.

# %%
layered = answers[answers["preset"] == "layers"]
# The narrowest range that begins first, and the narrowest that ends last.
farthest = {}
for name, own in layered.groupby("model"):
    begins = own[own["first_layer"] == own["first_layer"].min()]
    closes = own[own["last_layer"] == own["last_layer"].max()]
    early = begins.loc[begins["last_layer"].idxmin(), "place"]
    farthest[name] = early, closes.loc[closes["first_layer"].idxmax(), "place"]


def named(row):
    """The places that the table by type is about; none for the others."""
    if row.variant == "vanilla":
        return "vanilla"
    if row.preset == "heads" and row.place == "0-1":
        return "all heads"
    if row.preset == "layers" and row.place in farthest[row.model]:
        return ("early", "late")[farthest[row.model].index(row.place)]
    return None


# %% tags=["hide-input"]
FEWEST = 20
kinds = answers[["model", "preset", "place", "variant"]].drop_duplicates()
kinds = kinds.assign(typed=[named(row) for row in kinds.itertuples()])
typed = answers.merge(kinds.dropna(subset="typed"), on=["model", "preset", "place", "variant"])
typed = typed.drop(columns="variant").rename(columns={"typed": "variant"})
parted = run.evidence.by_subject(dict.fromkeys(shown))
typed["subject"] = typed["model"].map({name: kind for kind, own in parted.items() for name in own})
KIND = ["subject", "benchmark", "group"]
by_type = against_vanilla(typed, by=[*KIND, "variant"], seed=seed)
by_type["shown"] = by_type.apply(in_points, axis=1, interval=True)
by_type = by_type[by_type["n"] >= FEWEST]
wide = by_type.pivot(index=KIND, columns="variant", values="shown")
vanilla = by_type[by_type["variant"] == "vanilla"].set_index(KIND)
wide["vanilla"] = (100 * vanilla["accuracy"]).map("{:.1f}%".format)
wide["n"] = vanilla["n"]
listed = wide.rename_axis(columns=None).reset_index()
listed.insert(1, "type", listed.pop("benchmark") + ", " + listed.pop("group"))
run.table(listed, "Changes in points by type of question, all models of a kind together")
changed_types = by_type[by_type["variant"] != "vanilla"].assign(
    notices=lambda table: table["p_holm"] < 0.05
)
said = [
    f"{subject}, of {own['notices'].size // own['variant'].nunique()} types: "
    + ", ".join(f"{where} {n}" for where, n in own.groupby("variant")["notices"].sum().items())
    for subject, own in changed_types.groupby("subject", sort=False)
]
glue("where_noticing", "; ".join(said) or "no type was asked for often enough", display=False)
glue("where_fewest", FEWEST, display=False)

# %% [markdown]
# Types whose accuracy changes, by place and after a correction that counts the types left out too:
# {glue:text}`where_noticing`.
#
# ## The verdicts


# %%
def against_place(preset, reference):
    """Every place of a preset compared with one of them, model by model."""
    rows = answers[answers["preset"] == preset]
    found = []
    for name, own in rows.groupby("model", sort=False):
        base = reference[name] if isinstance(reference, dict) else reference
        own = own.assign(variant=own["place"])
        found.append(against_vanilla(own, by=["model", "variant"], reference=base, seed=seed))
    return pd.concat(found).set_index(["model", "variant"])


def below(table, places):
    """Model by model: is each of its places surely below the reference?"""
    answered = []
    for name in shown:
        own = [table.loc[(name, place)] for place in places[name]]
        sides = [side_of(row["change_low"], row["change_high"]) for row in own]
        answered.append(unanimous(map(opposite, sides)))
    return answered


# %%
to_middle = against_place("heads", "0.3-0.6")
tails = below(to_middle, {name: ["0-0.3", "0.6-0.9"] for name in shown})
table = against_place("heads", "0-0.3")
low = [
    unanimous(
        side_of(*table.loc[(name, band), ["change_low", "change_high"]])
        for band in ("0.3-0.6", "0.6-0.9", "0.2-0.8")
    )
    for name in shown
]
to_latest = against_place("layers", {name: late for name, (_, late) in farthest.items()})
early = below(to_latest, {name: [early] for name, (early, _) in farthest.items()})
middle = to_middle["change"].unstack()
qwen = [name for name in shown if "qwen2.5-vl" in name.lower()]
best = [bool((middle.loc[name, BANDS] <= 0).all()) for name in qwen]


# %% tags=["hide-input"]
def points(table, end):
    """Changes in points, a row a model: of its earliest range (end 0) or its latest (1)."""
    rows = table.loc[[(name, places[end]) for name, places in farthest.items()]]
    rows = 100 * rows.droplevel(1)[["change", "change_low", "change_high"]]
    return rows.set_axis(["mean", "low", "high"], axis=1)


def changed(own, means):
    """Changes of one kind of subject, and whether they are clear."""
    said = spread(means.loc[own])
    lone = len(own) == 1 and side_of(*means.loc[own[0], ["low", "high"]]) is None
    return f"{said} (open)" if lone else said


def costlier(own):
    """Whether the earliest range costs more than the latest, and what lies between them."""
    answered = dict(zip(shown, early, strict=True))
    words = {True: "more", False: "less", None: "open"}
    sides = [words[answered[name]] for name in own]
    counts = [f"{word} in {sides.count(word)}" for word in words.values() if word in sides]
    said = sides[0] if len(own) == 1 else ", ".join(counts)
    return f"{said} (earliest minus latest: {spread(gaps.loc[own], border=None)} points)"


gaps = points(to_latest, 0)
alone = every[every["preset"] == "layers"].set_index(["model", "place"])
against_none = [
    apart(lambda own, end=end: changed(own, points(alone, end)), shown, run.evidence)
    for end in (0, 1)
]
glue("where_early", apart(costlier, shown, run.evidence), display=False)
glue("where_earliest", against_none[0], display=False)
glue("where_latest", against_none[1], display=False)

# %% tags=["hide-input"]
CLAIMS = {
    "C076": ("Middle heads beat both tails", tails, "above both tails, intervals clear"),
    "C077": ("The heads that look most at text are the most sensitive", low,
             "lowest band below the others, intervals clear"),
    "C078": ("Early layers are sensitive, late ones hardly", early,
             "earliest range below the latest, intervals clear"),
}  # fmt: skip
NOTES = {"C078": "against vanilla, in points: earliest {}; latest {}".format(*against_none)}
for claim_id, (statement, answered, tolerance) in CLAIMS.items():
    by_model = dict(zip(shown, answered, strict=True))
    run.claim(
        claim_id,
        statement=statement,
        paper="consistently, in all models",
        measured=f"{statement}? {tally(by_model, run.evidence)}",
        tolerance=f"every model: {tolerance}",
        answers=by_model if found.whole else dict.fromkeys(shown),
        questions=fewest,
        note=NOTES.get(claim_id, ""),
    )

# %% tags=["hide-input"]
run.claim(
    "C079",
    statement="Middle heads are frequently the best band in Qwen variants",
    paper="frequently",
    measured=f"in {sum(best)} of {len(best)} models of the family",
    tolerance="in more than half of the models no band is above it on average",
    answers=dict.fromkeys(qwen),
    questions=fewest,
    note="point estimates, no intervals: left open",
)

# %% tags=["hide-input"]
llava = layers_csv[layers_csv["model"] == "LLaVA-1.5-7B"]
printed = llava.set_index(["layer_first", "layer_last"])["accuracy"]
vanilla = published("table2_sap").query(
    "model == 'LLaVA-1.5-7B' and variant == 'vanilla' and benchmark == 'VMCBench'"
)["accuracy"].item()  # fmt: skip
losses = {
    "C051": ("Noise in layers 1 to 7", (2, 7)),
    "C052": ("Noise in layers 22 to 31", (22, 31)),
}
for claim_id, (noise, row) in losses.items():
    change = printed[row] - vanilla
    run.claim(
        claim_id,
        statement=f"{noise} of LLaVA-1.5-7B costs {claimed(claim_id):g}%",
        paper=claimed(claim_id),
        measured="not measured: needs these weights",
        tolerance="within 1 point, on these weights",
        verdict="needs published weights",
        note=f"the paper's row {list(row)} is {change:+.2f} points from its vanilla",
    )
run.claims_table()

# %% tags=["remove-cell"]
verdicts = {claim.id: claim.verdict for claim in run.claims}
glue("verdict_c076", verdicts["C076"], display=False)
glue("verdict_c078", verdicts["C078"], display=False)
for claim_id in ("C076", "C077"):
    statement, answered, _ = CLAIMS[claim_id]
    by_model = dict(zip(shown, answered, strict=True))
    said = f"{statement} ({claim_id})? {tally(by_model, run.evidence)}"
    if set(answered) == {None}:
        whether = f"Whether {statement[0].lower()}{statement[1:]} ({claim_id})"
        said = f"{whether} stays open in {len(shown)} of {len(shown)} models"
    glue(f"says_{claim_id.lower()}", said, display=False)

# %% [markdown]
# ## Exercises
#
# Where a function is asked for, the cell below its solution checks yours. `make exercises` writes
# this chapter without the solutions.
#
# ```{exercise} One number for a band
# :label: ex-one-number-for-a-band
#
# *Warm-up, 5 minutes.* A layer has four heads. Which of them does the band [0.3, 0.6] hold, and
# which no narrow band of the tables?
#
# :::{dropdown} Hint
# Of $n$ heads, the first rank stands at the share 0 and the last at 1.
# :::
# ```
#
# ```{solution} ex-one-number-for-a-band
# :class: dropdown
#
# Ranks 0 to 3 stand at the shares 0, 1/3, 2/3 and 1. The band holds rank 1. Rank 3, the head that
# looks least at text, is in [0, 1] alone.
# ```
#
# ```{exercise} The heads of a band
# :label: ex-heads-in-band
#
# *Warm-up, 15 minutes.* Write `heads_in_band(text_shares, low, high)`: the numbers of the heads
# whose rank lies in a band, both ends included. Rank 0 is the head that gives most to text tokens,
# and rank $r$ of $n$ heads stands at the share $r / (n - 1)$. Which band of width 0.3 holds no head
# of three?
#
# :::{dropdown} Hint
# `sorted(range(n), key=...)` gives heads in the order of their ranks. In floating point `0.1 * 3`
# is not 0.3.
# :::
# ```
#
# ```{solution} ex-heads-in-band
# :class: dropdown
#
# Three heads stand at 0, 1/2 and 1, so [0.6, 0.9] holds none, and [0.1, 0.4] neither. A band is a
# share, and what it holds depends on how many heads there are: one of four heads, and 8 or 9 of 28.
# ```


# %% tags=["solution", "hide-input"]
def heads_in_band(text_shares, low, high):
    """Heads (their numbers, a list), from what each gives to text tokens."""
    last = len(text_shares) - 1
    order = sorted(range(last + 1), key=lambda head: -text_shares[head])
    slack = 1e-9
    return [h for r, h in enumerate(order) if low - slack <= r / last <= high + slack]


# %% tags=["exercise-check"]
from lost_in_attention.teaching.sap_where import check_heads_in_band

check_heads_in_band(heads_in_band)

# %% [markdown]
# ```{exercise} The price of choosing
# :label: ex-chosen-and-honest
#
# *Medium, 20 minutes.* Write `chosen_and_honest(correct, first)`: choose the band with most right
# answers on the questions of the mask `first`, and give its lead over the mean of all bands, as a
# share of the questions, on these questions and on the others. `correct` is bands by questions, 0
# or 1. Draw random answers and call it a hundred times: what is the mean of each lead?
#
# :::{dropdown} Hint
# Choose once. The second number is about the same band, which may be below the mean there.
# :::
# ```
#
# ```{solution} ex-chosen-and-honest
# :class: dropdown
#
# With random answers all bands are equally good, so the second lead is 0 on average; the first is
# not. Of five bands with independent errors the best looks about 1.2 standard errors better than it
# is. The answers of real bands share questions, which makes it less.
# ```

# %% tags=["solution", "hide-input"]
import numpy as np


def chosen_and_honest(correct, first):
    """The chosen band's lead on the questions of `first`, and on the others (two floats)."""
    here, elsewhere = correct[:, first].mean(axis=1), correct[:, ~first].mean(axis=1)
    best = int(np.argmax(here))
    return float(here[best] - here.mean()), float(elsewhere[best] - elsewhere.mean())


# %% tags=["exercise-check"]
from lost_in_attention.teaching.sap_where import check_chosen_and_honest

check_chosen_and_honest(chosen_and_honest)

# %% [markdown]
# ```{exercise} Wide or early?
# :label: ex-wide-or-early
#
# *Medium, 15 minutes.* The ranges differ in width and in place. Choose three of the figure at the
# top that have one width and compare them. Does the place still matter?
#
# :::{dropdown} Hint
# Sort the figure's data by `last - first`.
# :::
# ```
#
# ```{solution} ex-wide-or-early
# :class: dropdown
#
# `layers.csv` beside the figure has every range. Compare those with equal `last - first`; whether
# their intervals overlap is a rough answer, a paired comparison (`against_vanilla` with one range
# as the `reference`) a better one.
# ```
#
# ```{exercise} Chosen on the test
# :label: ex-chosen-on-the-test
#
# *Research, 40 minutes.* The paper's default band is the best row of its own tables. Split the
# questions in two halves, choose the best band on the one and score it on the other. How much of
# its advantage stays?
#
# :::{dropdown} Hint
# `chosen_and_honest` above takes one split. Put all questions of an image on the same side.
# :::
#
# Rubric (10 points): how much you expect to stay, before the run (2); both leads over a hundred
# splits, with their spread (3); the same after the bands' names are shuffled within each question,
# where nothing should stay (3); why splits of one set of questions are not independent (2).
# ```
#
# ```{solution} ex-chosen-on-the-test
# :class: dropdown
#
# Group by image, not by question, before splitting. Repeat the split a hundred times. Among bands
# that do not differ, the best of five on one half looks better than it is by about 1.2 standard
# errors, and the other half takes all of it back.
# ```
