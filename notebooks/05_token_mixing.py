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
# # Token mixing: an entropy with little room
#
# - **Covers** Section 3.3.2 of the paper, Definitions 3.7 and 3.8, and the MixIG column of Table 1.
# - **Verdict** none on the scorecard: the paper does not say how Table 1 puts layers together, or
#   in which unit.
# - **Takes** about half a minute and 1 GB at tier `book`.
#
# You will
#
# 1. bound {term}`token mixing entropy` and find all states that reach the bounds,
# 2. see what {term}`MixIG` cannot tell apart, and what it takes for mixing,
# 3. add MixIG up over a trained model and hold Table 1 against the sum.
#
# You need {doc}`02_effective_rank` and the concavity of the logarithm. The symbols are in
# {doc}`../notation`.

# %% tags=["hide-input"]
import math
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from myst_nb import glue

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.metrics.mixing import entropy_bounds, token_mixing_entropy
from lost_in_attention.models import load
from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.frames_sphere import PLACES, entropy, tokens_on_sphere
from lost_in_attention.publishing.interactive import show_interactive
from lost_in_attention.publishing.paper import table1
from lost_in_attention.residual.stream import record
from lost_in_attention.statistics import mean_intervals

# %% tags=["parameters"]
tier = "book"
model = "small-qwen2.5-vl"
source = "digits"
questions = 60
seed = 0
output = "book/generated"

# %%
run = report.start("05_token_mixing", globals())
vlm = load(model, device=run.device, dtype=run.dtype)
samples = load_benchmark("pope", source).draw(run.count(questions, smoke=4), seed=seed)
random = torch.Generator().manual_seed(seed)


# %% tags=["hide-input"]
def deficits(x):
    """TME, its released variant, the deficit, and three bounds of the deficit."""
    x = x.double() / x.double().norm(dim=1, keepdim=True)
    mean, gram = x.mean(0), x.T @ x / len(x)
    u, q, rho = x @ mean, ((x @ gram) * x).sum(1), float(mean.norm())
    low, high = entropy_bounds(x)
    spread = (1 + 2 * rho + float(q.mean())) / (2 + 2 * rho)
    tme = token_mixing_entropy(x)
    return {
        "tme": tme,
        "released": token_mixing_entropy(x, power=8, rows="last", normalise=True),
        "deficit": high - tme,
        "row_bound": float(((1 + 2 * u + q) / (1 + u) ** 2).log().mean()),
        "spread_bound": high - low + math.log(spread),
        "mean_bound": high - low,
        "participation_ratio": 1 / float(q.mean()),
    }


# %% tags=["hide-input"]
rows = []
for sample in samples:
    place = {"sample": sample.id, "image_source": sample.image_source}

    def keep(s, place=place):
        rows.append(place | {"layer": s.layer, "module": s.module} | deficits(s.hidden[0]))

    record(vlm, vlm.prepare([sample.image], [sample.prompt]), keep)
states = pd.DataFrame(rows)
states["state"] = states.groupby("sample").cumcount()
bounds = ["deficit", "row_bound", "spread_bound", "mean_bound"]
means = states.groupby("state")[[*bounds, "participation_ratio"]].mean()

# %% tags=["hide-input"]
running = states.set_index(["sample", "state"])["tme"].unstack("state")
running = running.sub(running[0], axis=0)
cumulative = pd.DataFrame({"mean": running.mean(), "low": running.min(), "high": running.max()})
room = means["deficit"][0]

# %% tags=["remove-cell"]
glue("subject", run.models[0], display=False)
glue("n_questions", len(samples), display=False)
glue("room", f"{room:.4f}", display=False)
glue("gained", f"{cumulative['mean'].iloc[-1]:.4f}", display=False)

# %% [markdown]
# ## The answer
#
# {term}`MixIG` has little room: that of an update, in any model, lies within $\log 2$, that is
# {glue:text}`log_two` {term}`nats <nat>`, of zero, and all updates of a model together gain at most
# what the input leaves to gain, its {term}`mixing deficit` $d_0$ ({prf:ref}`thm-tme-least`,
# {prf:ref}`thm-telescoping`). In {glue:text}`subject`, asked {glue:text}`n_questions` questions,
# $d_0$ is {glue:text}`room` nats, and all updates together gain {glue:text}`gained`. So Table 1's
# {glue:text}`per_layer` for attention and FFN together cannot be a mean over the layers of the
# paper's models, in nats, in bits or on the scale of the released code; as sums over layers its
# entries need a participation ratio of at most {glue:text}`pr_needed` at the input (here
# {glue:text}`pr_found`), and rescaled they stay possible. Signs and order can be compared with the
# table, sizes cannot; the numbers here are of one model with one training seed.

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=3)
color = plots.OKABE_ITO[2]
ax.plot(cumulative["mean"], color=color, marker="o")
band = cumulative.index, cumulative["low"], cumulative["high"]
ax.fill_between(*band, color=color, alpha=0.2)
ax.axhline(room, color="black", ls="--", label="$d_0$: all there is to gain")
ax.axhline(0, color="gray", lw=1)
ax.set(xlabel="state (0: input, then two a layer)", ylabel="sum of MixIG (nats)")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1))
run.figure(
    fig,
    "running_sum",
    data=cumulative.reset_index(),
    alt=f"Running sum of MixIG over all updates, from 0 to {cumulative['mean'].iloc[-1]:.4f} "
    f"on average; {room:.4f} could be gained.",
    caption="MixIG added up through the model. Band: all questions.",
)

# %% [markdown]
# ## Similarity as a distribution
#
# ```{prf:definition} Token mixing entropy
# :label: def-tme
#
# Let $x_1, \dots, x_S \ne 0$ be the rows of $X$, $\tilde x_t = x_t / \|x_t\|$ their directions,
# $c_{tj} = \tilde x_t^\top \tilde x_j$ the cosines, and $w_{tj} = (1 + c_{tj}) / 2 \in [0, 1]$ the
# weights. Each row of weights, divided by its sum $Z_t = \sum_j w_{tj}$, is a distribution
# $P_t = (w_{tj} / Z_t)_j$. With the entropy $H$ in nats,
#
# $$
# \mathrm{TME}(X) = \frac{1}{S} \sum_{t=1}^{S} H(P_t).
# $$
#
# (Definition 3.7 of the paper.)
# ```
#
# ```{prf:definition} Mixing Information Gain
# :label: def-mixig
#
# $$
# \mathrm{MixIG}(X \mid X') = \mathrm{TME}(X') - \mathrm{TME}(X).
# $$
#
# (Definition 3.8 of the paper.)
# ```
#
# Only directions matter: the lengths of tokens, their order, and a common rotation do not.

# %% tags=["nbval-check-output"]
plane = torch.tensor([[1.0, 0], [0, 1.0], [-1.0, 0]])
cosines = plane @ plane.T
weights = (1 + cosines) / 2
p = weights / weights.sum(1, keepdim=True)
print("weights of the first token", weights[0].tolist())
print("its distribution", [round(v, 3) for v in p[0].tolist()])
by_hand = float(torch.special.entr(p).sum(1).mean())
print(f"TME {by_hand:.4f}, library {token_mixing_entropy(plane):.4f}")

# %% [markdown]
# *Question.* The weight of a token with itself is always 1, and no weight is larger. What does that
# say about the smallest possible sum $Z_t$, and about how uneven $P_t$ can be?
#
# ## How far below log S?
#
# A row of $S$ numbers has at most the entropy $\log S$. Call $\log S - \mathrm{TME}(X)$ the
# {term}`mixing deficit`. Two numbers for each row bound it: the mean $u_t$ and the mean square
# $q_t$ of its cosines.
#
# ```{prf:theorem} The deficit of a row
# :label: thm-tme-row
#
# Let $u_t = \frac1S \sum_j c_{tj}$ and $q_t = \frac1S \sum_j c_{tj}^2$. Then
#
# $$
# \log S - H(P_t) \le \log \frac{1 + 2 u_t + q_t}{(1 + u_t)^2}
# = \log \Big( 1 + \frac{q_t - u_t^2}{(1 + u_t)^2} \Big),
# $$
#
# with equality exactly if all positive $w_{tj}$ of the row are equal.
# ```
#
# ```{prf:proof}
# The logarithm is concave, so
#
# $$
# H(P_t) = -\sum_j P_{tj} \log P_{tj} \ge -\log \sum_j P_{tj}^2,
# $$
#
# with equality exactly if all positive $P_{tj}$ agree. Here $Z_t = \frac{S}{2} (1 + u_t)$, which is
# at least 1, and $\sum_j w_{tj}^2 = \frac{S}{4} (1 + 2 u_t + q_t)$. Insert both.
# ```
#
# So the deficit asks how much the cosines of a token *vary*, relative to their mean: $q_t - u_t^2$
# is their variance. Averages over all rows have names. The mean of all directions is
# $m = \frac1S \sum_t \tilde x_t$, its length $\rho = \|m\|$ the {term}`mean resultant length`. Then
# $u_t = \tilde x_t^\top m$ and $\frac1S \sum_t u_t = \rho^2$. And
# $\frac1S \sum_t q_t = 1 / \mathrm{PR}$, with $\mathrm{PR}$ the participation ratio of
# {prf:ref}`def-counts` for the matrix of directions.
#
# ```{prf:theorem} Bounds of token mixing entropy
# :label: thm-tme-bounds
#
# With the entropy of a coin,
#
# $$
# h(p) = -p \log p - (1 - p) \log (1 - p),
# $$
#
# the bounds are
#
# $$
# \log S - h\Big(\frac{1 + \rho}{2}\Big) - \log \frac{1 + 2 \rho + 1 / \mathrm{PR}}{2 + 2 \rho}
# \le \mathrm{TME}(X) \le \log S.
# $$
#
# The second logarithm is at most 0, so also $\mathrm{TME}(X) \ge \log S - h((1 + \rho) / 2)$. In
# this weaker bound equality holds exactly if all tokens lie on one line. On the right it holds
# exactly if all directions are equal.
# ```
#
# ```{prf:proof}
# *Right:* $H(P_t) = \log S$ needs all weights equal to the one of the token with itself, 1.
# *Left:* write the bound of {prf:ref}`thm-tme-row` as
#
# $$
# \log \frac{2}{1 + u_t} + \log \Big(1 - \frac{1 - q_t}{2 (1 + u_t)}\Big).
# $$
#
# In the second part $q_t \le 1$ and $1 + u_t \le 1 + \rho$, so it is at most
# $\log (1 - \frac{1 - q_t}{2 (1 + \rho)})$. This is concave in $q_t$, so its mean is at most its
# value at the mean, $1 / \mathrm{PR}$. That is the last logarithm of the theorem. For the first
# part let $\rho > 0$. All $u_t$ lie in $[-\rho, \rho]$, where the concave $\log (1 + u)$ lies above
# its chord. The mean of $u_t$ is $\rho^2$, so
#
# $$
# \begin{aligned}
# \frac1S \sum_t \log (1 + u_t)
# &\ge \frac{1 - \rho}{2} \log (1 - \rho) + \frac{1 + \rho}{2} \log (1 + \rho) \\
# &= \log 2 - h\Big(\frac{1 + \rho}{2}\Big).
# \end{aligned}
# $$
#
# For $\rho = 0$ all $u_t$ are 0 and both sides are 0; for $\rho = 1$ all are 1 and both are
# $\log 2$. *Equality:* the weaker bound drops a term that is zero only for $\mathrm{PR} = 1$, so
# only on a line. On a line every weight is 0 or 1, which makes {prf:ref}`thm-tme-row` an equality,
# and $u_t = \pm \rho$, which makes the chord one.
# ```
#
# On a line there are two antipodal groups, of $a$ and $S - a$ tokens, and $\rho = |2a - S| / S$. So
# for a given $S$ the weaker bound is reached at these values of $\rho$ only, in every dimension.
# Which state is the lowest of all? For even $S$ two equal groups. For odd $S$ one might hope to do
# better off the line. One cannot.
#
# ```{prf:theorem} The least token mixing entropy
# :label: thm-tme-least
#
# Let $\varepsilon = 0$ if $S$ is even and $\varepsilon = 1 / S$ if it is odd. Then
#
# $$
# \mathrm{TME}(X) \ge \log S - h\Big(\frac{1 + \varepsilon}{2}\Big),
# $$
#
# with equality exactly if the tokens form two antipodal groups of $\lceil S / 2 \rceil$ and
# $\lfloor S / 2 \rfloor$. So $|\mathrm{MixIG}| \le h((1 + \varepsilon) / 2) \le \log 2$, and the
# first bound is attained.
# ```
#
# ```{prf:proof}
# $h((1 + \rho) / 2)$ falls with $\rho$. So for $\rho \ge \varepsilon$, in particular for even $S$,
# the bound and its equality case follow from {prf:ref}`thm-tme-bounds`. Let $S$ be odd and
# $\rho < \varepsilon$, so $S \ge 3$. Round every cosine of row $t$ to the nearest of $\pm 1$. The
# rounded sum is an odd integer, while $|S u_t| \le S \rho < 1$, so
#
# $$
# S (1 - q_t) \ge \sum_j (1 - |c_{tj}|) \ge 1 - S |u_t| \ge S (\varepsilon - \rho).
# $$
#
# With $\log (1 - y) \le -y$ the second part of the bound in the last proof is at most
# $-\frac{\varepsilon - \rho}{2 (1 + \rho)}$. The first part is at most
# $h((1 + \rho) / 2) = \log 2 - g(\rho)$ with
#
# $$
# g(\rho) = \frac{1 + \rho}{2} \log (1 + \rho) + \frac{1 - \rho}{2} \log (1 - \rho)
# $$
#
# and $g'(\rho) = \mathrm{artanh}\, \rho$. Now
#
# $$
# g(\varepsilon) - g(\rho) \le (\varepsilon - \rho) \, \mathrm{artanh}\, \varepsilon
# < \frac{\varepsilon - \rho}{2 (1 + \varepsilon)} < \frac{\varepsilon - \rho}{2 (1 + \rho)},
# $$
#
# because $2 (1 + \varepsilon) \, \mathrm{artanh}\, \varepsilon$ grows with $\varepsilon$ and is
# less than 1 at $\varepsilon = \frac13$. So the deficit is less than $\log 2 - g(\varepsilon)$,
# which is $h((1 + \varepsilon) / 2)$.
# ```
#
# Four states of six tokens and, below, where random states lie.

# %% tags=["hide-input"]
angles = {
    "one direction": [90] * 6,
    "two equal groups": [0] * 3 + [180] * 3,
    "two unequal groups": [0] * 5 + [180],
    "spread": [0, 60, 120, 180, 240, 300],
}
fig, axes = plt.subplots(2, 2, figsize=(plots.WIDTH, 5.6), layout="constrained")
told = {}
for ax, (name, degrees) in zip(axes.flat, angles.items(), strict=True):
    turn = np.radians(degrees)
    x = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="gray"))
    ends, counts = np.unique(x.round(9), axis=0, return_counts=True)
    for end, count in zip(ends, counts, strict=True):
        ax.plot(*zip((0, 0), end, strict=True), color=plots.OKABE_ITO[2], marker="o")
        ax.text(*1.2 * end, count, ha="center", va="center")
    tokens = torch.tensor(x)
    (low, high), told[name] = entropy_bounds(tokens), token_mixing_entropy(tokens)
    ax.set(xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), aspect="equal")
    ax.set_title(f"{name}\nTME {told[name]:.3f} of {low:.3f} to {high:.3f}")
    ax.set_axis_off()
data = pd.DataFrame(told.items(), columns=["state", "tme"])
alt = "; ".join(f"{name}, TME {value:.3f}" for name, value in told.items())
caption = "Six tokens (numbers: how many), their TME, and its bounds."
run.figure(fig, "extremes", data=data, alt=f"Six directions: {alt}.", caption=caption)

# %%
rows = []
for index in range(900):
    tokens = 6 if index % 2 else 5
    x = torch.randn(tokens, 2 + index % 3, generator=random, dtype=torch.float64)
    x[:, 1:] *= 10 ** float(torch.empty(1).uniform_(-2, 0.3, generator=random))
    low, high = entropy_bounds(x)
    rho = float((x / x.norm(dim=1, keepdim=True)).mean(0).norm())
    rows.append([tokens, rho, high - token_mixing_entropy(x), high - low])
cloud = pd.DataFrame(rows, columns=["tokens", "rho", "deficit", "bound"])
groups = []
for tokens, first in ((5, 3), (5, 4), (6, 3), (6, 4), (6, 5)):
    x = torch.tensor([[1.0]] * first + [[-1.0]] * (tokens - first))
    groups.append([tokens, float(x.mean()), math.log(tokens) - token_mixing_entropy(x)])
groups = pd.DataFrame(groups, columns=["tokens", "rho", "deficit"])

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=3.6)
rho = np.linspace(0, 0.999, 200)
ceiling = -sum(share * np.log(share) for share in ((1 + rho) / 2, (1 - rho) / 2))
ax.plot(rho, ceiling, color="black")
for tokens, mark, color in zip((5, 6), "so", plots.OKABE_ITO[2:4], strict=True):
    part = cloud[cloud["tokens"] == tokens]
    ax.plot(part["rho"], part["deficit"], ".", color=color, ms=3)
    part, name = groups[groups["tokens"] == tokens], f"S = {tokens}, on a line"
    ax.plot(part["rho"], part["deficit"], mark, color=color, ms=8, label=name)
ax.set(xlabel=r"mean resultant length $\rho$", ylabel="deficit log S - TME (nats)")
ax.legend()
largest = cloud.groupby("tokens")["deficit"].max()
run.figure(
    fig,
    "deficits",
    data=cloud,
    alt="Deficit of random states against mean resultant length, below the curve "
    f"h((1 + rho) / 2). Largest: {largest[5]:.3f} for five tokens, {largest[6]:.3f} for six.",
    caption="Deficits of random states under the curve of the weaker bound. Large marks: "
    "two antipodal groups, the only states on the curve.",
)

# %% [markdown]
# Move the sliders: forty directions, from one to an even spread to two opposite groups. The dotted
# line is $\log S - \log 2$. The second curve belongs to the variant of the released code, which
# raises the weights to the 8th power first.

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=3)
for power, look, name in ((1, "-", "definition"), (8, "--", "8th power")):
    color = plots.OKABE_ITO[2 if power == 1 else 3]
    values = [entropy(place, power) for place in PLACES]
    ax.plot(PLACES, values, look, color=color, label=name)
ax.axhline(math.log(20), color="gray", ls=":")
ax.set(ylabel=plots.axis_label("tme"), xticks=[-1, 0, 1])
ax.set_xticklabels(["one direction", "spread", "two groups"])
ax.legend()
figure, sliders = tokens_on_sphere()
ends = [f"{entropy(place):.2f} nats {name}" for place, name in
        ((-1, "for one direction"), (0, "evenly spread"), (1, "for two groups"))]  # fmt: skip
show_interactive(
    figure,
    "sphere",
    f"Forty token directions on a sphere and their TME: {', '.join(ends)}.",
    fig,
    caption="Token directions and TME. Without scripts: TME at every place.",
    sliders=sliders,
)

# %% [markdown]
# *Question.* Between "one direction" and "spread" tokens lose almost all that they have in common.
# How much of that does the definition notice?
#
# ## What the entropy cannot tell apart
#
# The paper reads a large TME as broadly shared interaction. These two theorems say what it may also
# be.
#
# ```{prf:theorem} Alike and unrelated
# :label: thm-tme-alike
#
# Let all pairs of different tokens have one cosine $c \in [0, 1]$. Then
#
# $$
# 0 \le \log S - \mathrm{TME}(X) \le \frac{S - 1}{S^2} (1 - c)^2 < \frac1S.
# $$
#
# So between $S$ orthogonal tokens and $S$ equal ones, the MixIG is less than $1 / S$ nats.
# ```
#
# ```{prf:proof}
# Here $u_t = (1 + (S - 1) c) / S \ge 0$, and the variance of the cosines of a row is
# $\frac{S - 1}{S^2} (1 - c)^2$. Use {prf:ref}`thm-tme-row` with
# $\log (1 + y) \le y$ and $(1 + u_t)^2 \ge 1$.
# ```
#
# ```{prf:theorem} MixIG without mixing, mixing without MixIG
# :label: thm-mixig-mixing
#
# 1. If $X' = \Pi X$ for a permutation $\Pi$ of the tokens, then $\mathrm{MixIG} = 0$.
# 2. If $X'$ is $X$ with one vector $\beta b$ added to every token, $b \ne 0$, then
#    $\mathrm{MixIG} \to \log S - \mathrm{TME}(X)$ as $\beta \to \infty$. No update of $X$ has a
#    larger MixIG.
# ```
#
# ```{prf:proof}
# *1.* A permutation reorders rows and columns of the cosines, and with them the terms of a sum.
# *2.* The direction of $x_t + \beta b$ tends to that of $b$, for every $t$, so all cosines tend to
# 1, and TME to $\log S$, which is its largest value.
# ```
#
# Tokens that change places move everything they hold, without any MixIG. A bias of an FFN, which
# lets no token see another, can have as much as there is.

# %%
tokens, rows = 95, []
for cosine in np.linspace(0, 1, 41):
    gram = torch.full((tokens, tokens), cosine, dtype=torch.float64).fill_diagonal_(1)
    values, vectors = torch.linalg.eigh(gram)
    x = vectors * values.clamp(min=0).sqrt()
    rows.append([cosine, *(token_mixing_entropy(x, power=power) for power in (1, 8))])
alike = pd.DataFrame(rows, columns=["cosine", "definition", "8th power"])

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=3)
colors = plots.OKABE_ITO[2:4]
alike.set_index("cosine").plot(ax=ax, style=["-", "--"], color=colors)
ax.set(xlabel="cosine of every pair", ylabel=plots.axis_label("tme"), ylim=(0, None))
first = alike.iloc[0]
run.figure(
    fig,
    "alike",
    data=alike,
    alt=f"TME of {tokens} tokens with one cosine for every pair. By the definition it "
    f"rises from {first['definition']:.3f} to {math.log(tokens):.3f}, with the 8th power "
    f"from {first['8th power']:.3f}.",
    caption=f"From {tokens} orthogonal tokens to {tokens} equal ones.",
)


# %% [markdown]
# ## In a trained model
#
# How large is the deficit of real states, and which bound tells?

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=3.6)
looks = zip(bounds, ("k-", "--", "-.", ":"), strict=True)
for (name, look), color in zip(looks, ("black", *plots.OKABE_ITO[2:5]), strict=True):
    label = {"deficit": "deficit", "row_bound": "bound from every row"}
    label |= {"spread_bound": r"bound from $\rho$ and PR"}
    label |= {"mean_bound": r"bound from $\rho$"}
    ax.semilogy(means.index, means[name], look, color=color, label=label[name])
ax.set(xlabel="state (0: input, then two a layer)", ylabel="nats")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
run.figure(
    fig,
    "real_deficits",
    data=means.reset_index(),
    alt="Mean mixing deficit of every state and three bounds: "
    + "; ".join(
        f"{name.replace('_', ' ')} {means[name].min():.3g} to {means[name].max():.3g}"
        for name in bounds
    ),
    caption="The mixing deficit of the states of a trained model, and its bounds.",
)

# %% [markdown]
# The deficit is between {glue:text}`deficit_low` and {glue:text}`deficit_high` nats, of the
# {glue:text}`log_two` that two equal antipodal groups would have. The bound of
# {prf:ref}`thm-tme-row` is {glue:text}`row_ratio` times the deficit on average, that from $\rho$
# alone {glue:text}`mean_ratio` times.
#
# ## It telescopes
#
# ```{prf:theorem} MixIG telescopes
# :label: thm-telescoping
#
# Let $X_0, X_1, \dots, X_n$ be states of one size, each made from the one before by an update. Then
#
# $$
# \sum_{i=1}^{n} \mathrm{MixIG}(X_{i-1} \mid X_i) = \mathrm{TME}(X_n) - \mathrm{TME}(X_0)
# = d_0 - d_n,
# $$
#
# with $d_i = \log S - \mathrm{TME}(X_i)$ the deficits. So all modules of all layers together gain
# at most $d_0$ and lose at most $d_n$, however many they are.
# ```
#
# ```{prf:proof}
# Every TME but the first and the last enters once with each sign. Deficits are not negative.
# ```
#
# What the input leaves to gain is $d_0$, fixed before the first layer has run: the dashed line in
# the figure under the answer.

# %% tags=["remove-cell"]
gains = states.sort_values(["sample", "state"])
totals = gains.groupby("sample")["tme"].apply(lambda t: sum(b - a for a, b in pairwise(t)))
assert np.allclose(totals, running.iloc[:, -1].reindex(totals.index))
per_layer = float(table1().loc[["attention", "ffn"], "mixig"].sum())
rho = np.linspace(0, 0.999, 4000)
h = -sum(s * np.log(s) for s in ((1 + rho) / 2, (1 - rho) / 2))
needed = (2 + 2 * rho) * np.exp(per_layer - h) - 1 - 2 * rho
ratio = means[bounds].div(means["deficit"], axis=0).mean()
glue("deficit_low", f"{means['deficit'].min():.4f}", display=False)
glue("deficit_high", f"{means['deficit'].max():.4f}", display=False)
glue("log_two", f"{math.log(2):.4f}", display=False)
glue("row_ratio", f"{ratio['row_bound']:.2f}", display=False)
glue("mean_ratio", f"{ratio['mean_bound']:.0f}", display=False)
glue("per_layer", f"{per_layer:.2f}", display=False)
glue("pr_needed", f"{1 / needed.min():.2f}", display=False)
glue("pr_found", f"{means['participation_ratio'][0]:.1f}", display=False)

# %% [markdown]
# ## What follows for Table 1
#
# The paper's Table 1 gives each module one RID and one MixIG, without saying how layers were
# combined. Three readings, each with the room that it leaves to one update and to the sum of all
# updates. In nats and in bits the room is that of {prf:ref}`thm-tme-least` for even $S$; the
# released variant, treated below, lies between 0 and 1.

# %% tags=["hide-input"]
rooms = {"nats": math.log(2), "bits": 1.0, "released variant": 1.0}
rows = []
for reading, room in rooms.items():
    noise = table1().loc["noise_delta", "mixig"]
    rows.append(
        {
            "scale": reading,
            "room of one update": f"{room:.3f}",
            f"noise at {noise}": "possible" if abs(noise) <= room else "impossible",
            f"most layers that gain {per_layer:.2f} each": math.floor(room / per_layer),
        }
    )
run.table(pd.DataFrame(rows), "Table 1 read as means over updates")

# %% [markdown]
# The last column is the largest number of layers that a model may have if attention and FFN gain
# {glue:text}`per_layer` a layer on average. No model of the paper is that shallow, so on every
# scale the entries for attention and FFN cannot be means over layers. On the scale of the
# definition, nats, the entry for noise cannot be one either.
#
# That rules out readings, not the table. They could be *sums* over layers. By
# {prf:ref}`thm-telescoping` the input must then have a deficit of at least {glue:text}`per_layer`,
# and by {prf:ref}`thm-tme-bounds` the participation ratio of its directions must be at most
# {glue:text}`pr_needed`: nearly all tokens on one line. Or the numbers were rescaled.
#
# ## The released variant
#
# The authors' released helper looks at the last token's row alone, raises its weights to the 8th
# power, and divides by $\log S$.
#
# ```{prf:theorem} Powers of the weights
# :label: thm-tme-power
#
# Let $\mathrm{TME}_\beta$ use the weights $w_{tj}^\beta$, $\beta > 0$.
#
# 1. The entropy of each row lies between 0 and $\log S$. A row has entropy 0 exactly if every other
#    token is antipodal to it.
# 2. For $S$ orthogonal tokens and $Z = 1 + (S - 1) \, 2^{-\beta}$,
#    $\mathrm{TME}_\beta = \log Z + \frac{Z - 1}{Z} \beta \log 2$. It tends to 0 as
#    $\beta \to \infty$.
# 3. $\mathrm{TME}_\beta \ge \log S - \log 2$ holds for two antipodal groups, of any sizes, for
#    every $\beta$.
# ```
#
# ```{prf:proof}
# *1.* The weight of the token itself is 1; the entropy vanishes exactly if the others are 0.
# *2.* Each row holds one weight 1 and $S - 1$ weights $2^{-\beta}$. For a row of weights
# $H = \log Z - \frac1Z \sum_j w_j \log w_j$. *3.* The weights are 0 and 1, and no power changes
# them; the rest is {prf:ref}`thm-tme-bounds`.
# ```
#
# So the 8th power is no detail. It moves the lowest states from "two groups" to "unrelated", as the
# figures above show, and it gives up the room of $\log 2$. The last row has no mean over tokens to
# steady it. What stays is {prf:ref}`thm-telescoping`, which holds for every difference of a number
# of the states.

# %% tags=["hide-input"]
updates = states.sort_values(["sample", "state"])
for name, column in (("mixig", "tme"), ("released_mixig", "released")):
    updates[name] = updates.groupby("sample")[column].diff()
updates = updates.dropna()
shown = ["mixig", "released_mixig"]
by = ["layer", "module"]
curves = mean_intervals(updates, shown, by, unit="image_source", seed=seed)
fig, axes = plots.panels(2, row_height=2.6)
for name, ax in zip(shown, axes, strict=True):
    plots.layer_curves(curves, name, ax)
axes[1].set_ylabel("released variant (-1 to 1)")
run.figure(
    fig,
    "variants",
    data=curves,
    alt=" ".join(report.alt_layer_curves(curves, name) for name in shown),
    caption="MixIG by the definition, and by the released variant.",
)

# %%
signs = np.sign(curves.pivot(index=by, columns="quantity", values="mean"))
agree = int((signs["mixig"] == signs["released_mixig"]).sum())
glue("agree", f"{agree} of {len(signs)}", display=False)

# %% [markdown]
# The signs of the two variants agree in {glue:text}`agree` module means. Where they do not, "this
# module mixes more" depends on the variant.
#
# ## Exercises
#
# Write each function; the cell below it checks yours.
#
# ```{exercise} From the definition
# :label: ex-mixing-entropy
#
# *Warm-up, 10 minutes.* Write `mixing_entropy(x)` from {prf:ref}`def-tme`, without the library.
# What are the largest and the smallest value for two tokens?
#
# :::{dropdown} Hint
# `torch.special.entr` computes $-p \log p$ and knows that it is 0 at 0.
# :::
# ```
#
# ```{solution} ex-mixing-entropy
# :class: dropdown
#
# Rounding can push a cosine below $-1$, hence the clamp. For two tokens the values are $\log 2$
# (one direction) and 0 (opposite directions): {prf:ref}`thm-tme-least` with $S = 2$.
# ```

# %% tags=["solution", "hide-input"]
import torch


def mixing_entropy(x):
    """TME in nats of the state x (tokens x features, no zero row), a float."""
    x = x / x.norm(dim=1, keepdim=True)
    weights = ((1 + x @ x.T) / 2).clamp(min=0)
    p = weights / weights.sum(1, keepdim=True)
    return float(torch.special.entr(p).sum(1).mean())


# %% tags=["exercise-check"]
from lost_in_attention.teaching.token_mixing import check_mixing_entropy

check_mixing_entropy(mixing_entropy)

# %% [markdown]
# ```{exercise} One cosine for all
# :label: ex-common-cosine-entropy
#
# *Medium, 20 minutes.* Write `common_cosine_entropy(tokens, cosine, power)`: TME in nats if every
# pair of different tokens has this cosine, with the weights raised to `power`, without building a
# matrix. From which power on do 1000 orthogonal tokens have less than half of $\log 1000$?
#
# :::{dropdown} Hint
# All rows are alike, and a row holds only two different weights.
# :::
# ```
#
# ```{solution} ex-common-cosine-entropy
# :class: dropdown
#
# With $w = ((1 + c) / 2)^\beta$ and $Z = 1 + (S - 1) w$ the entropy is
# $\log Z - \frac{(S - 1) w \log w}{Z}$, where $w \log w = 0$ for $w = 0$. Try powers in a loop for
# the question. Below that power, unrelated tokens look well mixed.
# ```

# %% tags=["solution", "hide-input"]
import math


def common_cosine_entropy(tokens, cosine, power):
    """TME in nats of `tokens` tokens with one cosine for all pairs, weights to a power."""
    weight = ((1 + cosine) / 2) ** power
    total = 1 + (tokens - 1) * weight
    spread = weight * math.log(weight) if weight > 0 else 0.0
    return math.log(total) - (tokens - 1) * spread / total


# %% tags=["exercise-check"]
from lost_in_attention.teaching.token_mixing import check_common_cosine_entropy

check_common_cosine_entropy(common_cosine_entropy)

# %% [markdown]
# ```{exercise} A bias that unmixes
# :label: ex-centring-bias
#
# *Hard, 30 minutes.* The tokens lie on a line in feature space that does not pass through 0:
# $x_t = a + s_t d$ with different $s_t$. Write `centring_bias(x)`: one vector which, added to every
# token, brings TME down to the least value for this $S$, without making any token zero. What does
# this say about layers that subtract a mean?
#
# :::{dropdown} Hint
# {prf:ref}`thm-tme-least` names the state to aim for. Where must 0 lie on the line?
# :::
# ```
#
# ```{solution} ex-centring-bias
# :class: dropdown
#
# Move 0 onto the line, between the two middle tokens: half of them (up to one) point one way, the
# others the opposite way. The first right singular vector of the centred tokens sorts them. Adding
# one vector, in which no token sees another, runs through almost the whole range of TME:
# {prf:ref}`thm-mixig-mixing` has the other end.
# ```

# %% tags=["solution", "hide-input"]
import torch


def centring_bias(x):
    """The vector (features) that brings tokens on a line, plus it, to the least TME."""
    along = torch.linalg.svd(x - x.mean(0), full_matrices=False).Vh[0]
    order = (x @ along).argsort()
    middle = len(x) // 2
    return -(x[order[middle - 1]] + x[order[middle]]) / 2


# %% tags=["exercise-check"]
from lost_in_attention.teaching.token_mixing import check_centring_bias

check_centring_bias(centring_bias)

# %% [markdown]
# ```{exercise} A measure of alikeness
# :label: ex-alikeness
#
# *Research, 60 minutes.* Find a number between 0 and 1 that is 0 for orthogonal tokens, 1 for equal
# directions, rises in between, and ignores lengths, order and rotations. Write it as
# `alikeness(x)`. Then draw its change for attention and FFN, layer by layer, beside MixIG. Whose
# signs does it share?
#
# :::{dropdown} Hint
# The directions of orthogonal tokens have $S$ equal singular values, those of equal tokens
# one.
# :::
# ```
#
# ```{solution} ex-alikeness
# :class: dropdown
#
# The squared singular values of the directions, divided by $S$, are a distribution. Its entropy is
# $\log S$ for orthogonal tokens and 0 for tokens on a line, so one minus entropy over $\log S$
# does. It also takes antipodal groups for alike; if you want them apart, mix in $\rho$. No choice
# is neutral: say which configurations yours puts at its ends, as this chapter did for TME.
# ```

# %% tags=["solution", "hide-input"]
import math

import torch


def alikeness(x):
    """A number in [0, 1]: 0 for orthogonal tokens (rows of x), 1 for equal directions."""
    sigma = torch.linalg.svdvals(x / x.norm(dim=1, keepdim=True))
    shares = sigma.square() / len(x)
    return 1 - float(torch.special.entr(shares).sum()) / math.log(len(x))


# %% tags=["exercise-check"]
from lost_in_attention.teaching.token_mixing import check_alikeness

check_alikeness(alikeness)
