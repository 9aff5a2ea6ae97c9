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
# # RID: what an update adds, and what the measure cannot see
#
# - **Covers** Section 3.3.1 of the paper, Definition 3.6, Lemma F.1 and Theorem F.4.
# - **Verdict** on claim C068, Theorem F.4: {glue:text}`verdict_c068`. On C003 to C006, the ranges
#   of Lemma F.1: {glue:text}`verdict_ranges`.
# - **Takes** about half a minute and 1 GB at tier `book`.
#
# You will
#
# 1. bound {term}`RID` and its halves, and find the pairs of states that reach the bounds,
# 2. see that RID looks one way only, and repair the theorem that overlooks this,
# 3. split {term}`support innovation` into {term}`size` and {term}`novelty`, and compare attention
#    and FFN with noise.
#
# You need {doc}`02_effective_rank` and {doc}`03_projectors`. The symbols are in
# {doc}`../notation`.

# %% tags=["hide-input"]
import math

import numpy as np
import pandas as pd
import torch
from myst_nb import glue
from scipy.optimize import brentq

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.metrics.rid import effective_rank, rid, update_geometry
from lost_in_attention.models import load
from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.paper import claimed
from lost_in_attention.residual.measure import measure
from lost_in_attention.statistics import mean_intervals

# %% tags=["parameters"]
tier = "book"
model = "small-qwen2.5-vl"
source = "digits"
questions = 60
seed = 0
output = "book/generated"

# %%
run = report.start("04_rid", globals())
vlm = load(model, device=run.device, dtype=run.dtype)
samples = load_benchmark("pope", source).draw(run.count(questions, smoke=4), seed=seed)

# %%
measured = measure(vlm, samples)
random = torch.Generator().manual_seed(seed)


# %% tags=["hide-input"]
def flattened(strength, rank):
    """diag(1, t, ..., t) with rank - 1 entries t."""
    return torch.diag(torch.tensor([1.0] + [strength] * (rank - 1)).double())


found = {
    (rank, k): brentq(lambda t, r=rank, k=k: effective_rank(flattened(t, r)) - k, 1e-9, 1)
    for rank, k in ((3, 2), (4, 2), (4, 3), (6, 2), (6, 3), (6, 4), (6, 5))
}

# %% [markdown]
# ## The answer
#
# Theorem F.4 of the paper, that {term}`RID` of zero leaves a state its rank and its spaces, needs
# equal rank, which the paper takes from its {term}`manifold hypothesis`. Without it, for any two
# ranks from two on, some state of the higher one and some state of the lower have RID zero from the
# first to the second ({prf:ref}`thm-f4-fails`; in the figure $t$ is the strength of all directions
# but one). With equal rank, or with RID zero both ways, it holds ({prf:ref}`thm-f4-repaired`), and
# so do the ranges of Lemma F.1. In {glue:text}`subject` the FFN's support innovation is
# {glue:text}`ratio_innovation` times attention's: size makes a factor of {glue:text}`ratio_size`
# of it, novelty one of {glue:text}`ratio_novelty`. That is one model with one training seed;
# {doc}`09_size_or_novelty` asks again, with a control.

# %% tags=["hide-input"]
strengths, ranks = np.linspace(0, 1, 101), (3, 4, 6)
curves = pd.DataFrame(
    {r: [effective_rank(flattened(t, r)) for t in strengths] for r in ranks},
    index=pd.Index(strengths, name="t"),
)
fig, (ax,) = plots.panels(1, row_height=3.4)
for rank, color in zip(ranks, plots.OKABE_ITO[2:5], strict=True):
    ax.plot(curves[rank], color=color)
    ax.annotate(f"rank {rank}", (1, rank), (4, -4), textcoords="offset points")
for (_, k), t in found.items():
    ax.plot(t, k, "ko")
ax.set(xlabel="t", ylabel=plots.axis_label("effective_rank"), yticks=range(1, 7))
ax.grid(axis="y", ls=":")
places = "; ".join(f"rank {r}: {k} at t = {t:.3f}" for (r, k), t in found.items())
run.figure(
    fig,
    "counterexamples",
    data=curves.reset_index(),
    alt=f"Effective rank of diag(1, t, ..., t) rises with t to the rank. {places}.",
    caption="Each dot is a counterexample: a state whose effective rank is that of a flat "
    "state of lower rank.",
)

# %% [markdown]
# ## Two halves
#
# An {term}`update` can change how the energy of a {term}`state` is spread, and where it lies. RID
# measures both and adds the results.
#
# ```{prf:definition} Spectrum change
# :label: def-spectrum-change
#
# For nonzero $X, X' \in \mathbb{R}^{S \times H}$ and $Q = \min(S, H)$,
#
# $$
# \Delta\mathcal{S}(X \mid X') = \frac{|\mathrm{eRank}(X') - \mathrm{eRank}(X)|}{Q}.
# $$
#
# (Section 3.3.1 of the paper, with {prf:ref}`def-effective-rank`.)
# ```
#
# ```{prf:definition} Support innovation
# :label: def-support-innovation
#
# With $P_\mathcal{C}$ and $P_\mathcal{R}$ the projectors of the column and the row space of $X$
# ({prf:ref}`def-projector`),
#
# $$
# \Delta\mathcal{D}(X \mid X') =
# \frac{\|(I - P_\mathcal{C}) X'\|_F + \|X' (I - P_\mathcal{R})\|_F}{2 \|X'\|_F}.
# $$
# ```
#
# ```{prf:definition} Representation Information Discrepancy
# :label: def-rid
#
# $$
# \mathrm{RID}(X \mid X') = \Delta\mathcal{S}(X \mid X') + \Delta\mathcal{D}(X \mid X').
# $$
#
# (Definition 3.6 of the paper.)
# ```
#
# Three updates of one state: new energy in an old direction, in a new direction, and in place of
# the old one.

# %% tags=["nbval-check-output"]
start = torch.diag(torch.tensor([1.0, 1.0, 0.0]))
for name, end in (
    ("stretched", [3.0, 1.0, 0.0]),
    ("widened", [1.0, 1.0, 1.0]),
    ("replaced", [0.0, 0.0, 1.0]),
):
    change, innovation = rid(start, torch.diag(torch.tensor(end)))
    print(f"{name}: spectrum change {change:.3f}, support innovation {innovation:.3f}")

# %% [markdown]
# *Question.* The stretched state spans what the old one spanned. In which half does RID notice it?
#
# ## How large can RID be?
#
# The paper's Lemma F.1 says: $\Delta\mathcal{S}$ and $\Delta\mathcal{D}$ lie between 0 and 1, so
# RID lies between 0 and 2. True, but neither the 1 of the first half nor the 2 is ever reached.
#
# ```{prf:theorem} The range of RID
# :label: thm-rid-range
#
# Let $X$ and $X'$ be nonzero with ranks $r$ and $r'$.
#
# 1. $\Delta\mathcal{S} \le (\max(r, r') - 1) / Q$, so at most $(Q - 1) / Q$. This is reached
#    exactly if one matrix has rank one and the other has $Q$ equal singular values.
# 2. $\Delta\mathcal{D} \le 1$, with equality exactly if all of $X'$ lies outside both spaces of
#    $X$. Then $r + r' \le Q$.
# 3. $\mathrm{RID} < 2 - 1 / Q$.
# 4. For $S \ne H$ some pair has
#    $\mathrm{RID} = \frac32 - \frac1Q + \frac12 \sqrt{1 - 1/Q}$, which is more than
#    $2 - \frac{3}{2Q}$ for $Q \ge 2$.
# ```
#
# ```{prf:proof}
# *1.* By {prf:ref}`thm-erank-range` both effective ranks lie between 1 and the larger rank. The
# range is used up only by an effective rank of 1 (rank one) and one of $Q$ (all values equal).
# *2.* A projection makes no norm larger, so each term is at most $\|X'\|_F$. Equality in both means
# $P_\mathcal{C} X' = 0$ and $X' P_\mathcal{R} = 0$: the column space of $X'$ is orthogonal to that
# of $X$, so $r + r' \le S$, and likewise $r + r' \le H$. *3.* By 1 and 2 the sum is at most
# $1 - 1/Q + 1$, with equality only if both are. Let the spectrum change be $(Q - 1) / Q$. If $X$
# has the $Q$ equal values, $r + r' > Q$ and 2 excludes $\Delta\mathcal{D} = 1$. If $X'$ has them,
# $r' = Q$ and $r + r' > Q$ again. *4.* Let $S < H$; the other case is its transpose. Take $X'$ with
# $X' X'^\top = I$, and $X = u v^\top$ with unit vectors and $X' v = 0$. Then
# $\|X'\|_F^2 = Q$, $\|(I - u u^\top) X'\|_F^2 = Q - 1$, and $X'(I - v v^\top) = X'$. For the last
# claim use $\sqrt{1 - y} \ge 1 - y$.
# ```
#
# Points below are random pairs of $8 \times 12$ states of all ranks.

# %%
rows = []
for _ in range(600):
    ranks = torch.randint(1, 9, (2,), generator=random).tolist()
    pair = []
    for rank in ranks:
        factors = torch.randn(20, rank, generator=random, dtype=torch.float64)
        pair.append(factors[:8] @ factors[8:].T)
    rows.append([*ranks, *rid(*pair)])
columns = ["rank_before", "rank_after", "spectrum_change", "support_innovation"]
pairs = pd.DataFrame(rows, columns=columns)
flat, outside = torch.eye(8, 12), torch.zeros(8, 12)
outside[0, 11] = 1
extreme = rid(outside, flat)

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=3.6)
full = pairs["rank_before"] == 8
for chosen, color, mark, name in (
    (~full, plots.OKABE_ITO[2], "o", "X of lower rank"),
    (full, plots.OKABE_ITO[3], "^", "X of full row rank"),
):
    xy = pairs.loc[chosen, ["spectrum_change", "support_innovation"]].to_numpy().T
    ax.plot(*xy, mark, color=color, ms=4, alpha=0.6, label=name)
ax.plot(*extreme, "k*", ms=13, label="the pair of item 4")
ax.axvline(7 / 8, color="gray", ls=":")
ax.axhline(1, color="gray", ls=":")
ax.set(xlabel=plots.axis_label(columns[2]), ylabel=plots.axis_label(columns[3]))
ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18))
run.figure(
    fig,
    "range",
    data=pairs,
    alt="Support innovation against spectrum change for random pairs of 8 x 12 states. "
    f"Where X has full row rank, support innovation is at most "
    f"{pairs.loc[full, columns[3]].max():.2f}; otherwise up to "
    f"{pairs.loc[~full, columns[3]].max():.2f}. The extreme pair is at "
    f"({extreme.spectrum_change:.3f}, {extreme.support_innovation:.3f}).",
    caption="The two halves of RID. Dotted: the bounds of items 1 and 2.",
)

# %% [markdown]
# *Question.* Triangles never rise above one half. Why? (The answer is {prf:ref}`thm-column-term`.)
#
# ## One way only
#
# ```{prf:lemma} No support innovation
# :label: lem-no-innovation
#
# $\Delta\mathcal{D}(X \mid X') = 0$ exactly if $\mathcal{C}(X') \subseteq \mathcal{C}(X)$ and
# $\mathcal{R}(X') \subseteq \mathcal{R}(X)$.
# ```
#
# ```{prf:proof}
# Both norms are zero exactly if $P_\mathcal{C} X' = X'$ and $X' P_\mathcal{R} = X'$. The first says
# that every column of $X'$ lies in $\mathcal{C}(X)$, the second that every row lies in
# $\mathcal{R}(X)$.
# ```
#
# Nothing in it asks whether $X'$ still fills the spaces of $X$. The paper introduces support change
# as directions that are introduced *or removed*; the measure has no term for the removed ones. So
# it is blind to lost support, and it is not symmetric. Below, a third direction of strength $s$ is
# faded out of a state with three equal directions. Forward goes from the full state to the faded
# one, backward from the faded one to the full state.

# %%
identity = torch.eye(3, dtype=torch.float64)
rows = []
for strength in (0.0, *np.linspace(0.01, 1, 40)):
    faded = torch.diag(torch.tensor([1.0, 1.0, strength], dtype=torch.float64))
    rows.append([strength, rid(identity, faded).total, rid(faded, identity).total])
fade = pd.DataFrame(rows, columns=["strength", "forward", "backward"])

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=3)
for way, look, color in (
    ("forward", "-", plots.OKABE_ITO[2]),
    ("backward", "--", plots.OKABE_ITO[3]),
):
    ax.plot(fade["strength"][1:], fade[way][1:], look, color=color)
    ax.plot(0, fade[way][0], "o", color=color, ms=7)
    ax.annotate(way, (0, fade[way][0]), (8, -3), textcoords="offset points")
ax.set(xlabel="strength s of the third direction", ylabel=plots.axis_label("rid"))
run.figure(
    fig,
    "fade",
    data=fade,
    alt="RID as a third direction fades. Forward and backward coincide for positive "
    f"strength; at 0 they are {fade['forward'][0]:.2f} and {fade['backward'][0]:.2f}.",
    caption="RID from a full state to a faded one, and back. Dots: the direction is gone.",
)

# %% [markdown]
# A direction that is lost counts only through effective rank. One that is won counts for its
# energy, at once and whole, if it was absent before, and not at all if it was present with the
# smallest strength.
#
# ## RID zero, and still another support
#
# Theorem F.4 of the paper says that $\mathrm{RID}(X \mid X') = 0$ makes the two states share their
# rank and their spaces. Its proof needs equal ranks. It takes them from equal effective rank,
# under the {term}`manifold hypothesis`: Assumption 3.1 of the paper, by which learned
# representations lie near a structure of few dimensions, so that the spectrum stands for their
# degrees of freedom. We first ask what holds of matrices without that premise, then what the
# premise changes.
#
# ```{prf:theorem} Where Theorem F.4 fails
# :label: thm-f4-fails
#
# For all $2 \le k < r \le Q$ there are $X$ of rank $r$ and $X'$ of rank $k$ with
# $\mathrm{RID}(X \mid X') = 0$. If $\mathrm{rank}(X) \le 2$, then $\mathrm{RID}(X \mid X') = 0$
# implies equal spaces.
# ```
#
# ```{prf:proof}
# Let $D(t)$ have the diagonal $(1, t, \dots, t, 0, \dots, 0)$ with $r - 1$ entries $t$, and zeros
# off the diagonal. Its effective rank is continuous in $t$, is 1 at $t = 0$ and $r$ at $t = 1$. So
# it is $k$ at some $t^*$, and $0 < t^* < 1$ because $1 < k < r$. Put $X = D(t^*)$, and let $X'$
# have $k$ ones on the diagonal and zeros elsewhere. Both effective ranks are $k$, and the spaces of
# $X'$ lie in those of $X$, so both halves vanish ({prf:ref}`lem-no-innovation`).
#
# Now let $\mathrm{rank}(X) \le 2$ and $\mathrm{RID} = 0$. By {prf:ref}`lem-no-innovation`
# $\mathrm{rank}(X') \le \mathrm{rank}(X)$. If they differed, the ranks would be 2 and 1, and the
# effective ranks would be more than 1 and equal to 1 ({prf:ref}`thm-erank-range`). Spaces of equal
# dimension, one in the other, are equal.
# ```
#
# **What the assumption changes** depends on how it is read; the paper does not put it as an
# equation.
#
# - *States lie near few dimensions.* The counterexample meets this. Put $D(t^*)$ and $X'$ in the
#   corner of matrices with any number of tokens and features, or turn both by the same rotations:
#   they still lie in $r$ dimensions of $\min(S, H)$, and RID is zero between ranks $r$ and $k$.
# - *States that are compared have one rank.* Then the step is granted, and the theorem holds:
#   {prf:ref}`thm-f4-repaired`, third statement.
#
# So it is not equal effective rank that makes the theorem true, but equal rank. The verdict is on
# the theorem without equal rank as a premise. RID of the pairs that the figure under the answer has
# dots for, there and back:

# %% tags=["nbval-check-output"]
for (rank, k), t in found.items():
    before, after = flattened(t, rank), torch.diag((torch.arange(rank) < k).double())
    ways = [rid(before, after).total, rid(after, before).total]
    print(f"ranks {rank} and {k}, t = {t:.6f}: RID {ways[0]:.6f}, back {ways[1]:.6f}")

# %% [markdown]
# One more thing is not preserved. For rank 3 and more, many spectra share one effective rank, so
# even with equal spaces RID = 0 leaves the singular values free.
#
# ```{prf:theorem} Theorem F.4, repaired
# :label: thm-f4-repaired
#
# For nonzero $X$ and $X'$ the following are equivalent:
#
# 1. $\mathcal{C}(X') = \mathcal{C}(X)$ and $\mathcal{R}(X') = \mathcal{R}(X)$,
# 2. $\Delta\mathcal{D}(X \mid X') = 0$ and $\Delta\mathcal{D}(X' \mid X) = 0$,
# 3. $\Delta\mathcal{D}(X \mid X') = 0$ and $\mathrm{rank}(X') = \mathrm{rank}(X)$.
#
# If only $\mathrm{rank}(X') = \mathrm{rank}(X) = r$ is known, the largest principal angle $\theta$
# between the row spaces, and likewise between the column spaces, satisfies
#
# $$
# \sin \theta \le \frac{2 \|X'\|_F}{\sigma_r(X')} \, \Delta\mathcal{D}(X \mid X').
# $$
# ```
#
# ```{prf:proof}
# *1 implies 2* by {prf:ref}`lem-no-innovation`. *2 implies 3:* the lemma in both directions gives
# inclusion in both directions, so the dimensions agree. *3 implies 1:* a subspace of equal
# dimension is the whole space. For the bound let $X' = U' \Sigma' V'^\top$ with the $r$ positive
# values only, so $V' = X'^\top U' \Sigma'^{-1}$ and
#
# $$
# \sin \theta = \|(I - P_\mathcal{R}) V'\|_2 \le
# \frac{\|(I - P_\mathcal{R}) X'^\top\|_2}{\sigma_r(X')} \le
# \frac{\|X'(I - P_\mathcal{R})\|_F}{\sigma_r(X')}.
# $$
#
# The left equality holds because the dimensions agree ({prf:ref}`def-angles`). The last norm is at
# most $2 \|X'\|_F \, \Delta\mathcal{D}$. For the column spaces transpose.
# ```
#
# Two lessons. The spectrum half of RID plays no part in the repair: support is decided by support
# innovation, looked at in both directions or with the ranks at hand. And the bound has
# $\sigma_r(X')$ below: a small support innovation means nearly equal spaces only if the weakest
# direction is not weak.
#
# *Question.* In the counterexample, which way does the second state differ from the first, and
# which half of $\mathrm{RID}(X' \mid X)$ says so?
#
# ## The term that vanishes
#
# ```{prf:theorem} The vanishing term
# :label: thm-column-term
#
# Let $X$ have full rank $Q$.
#
# 1. If $S \le H$, then $(I - P_\mathcal{C}) X' = 0$ for every $X'$. So
#    $\Delta\mathcal{D} \le \frac12$, with equality exactly if the rows of $X'$ are orthogonal to
#    those of $X$; and $\Delta\mathcal{D} = 0$ exactly if $X' = A X$ for some $A$.
# 2. If $S \ge H$, then $X' (I - P_\mathcal{R}) = 0$ for every $X'$. So
#    $\Delta\mathcal{D} \le \frac12$; and $\Delta\mathcal{D} = 0$ exactly if $X' = X B$ for some
#    $B$.
# 3. If $S = H$, then $\Delta\mathcal{D} = 0$ for every $X'$.
# ```
#
# ```{prf:proof}
# *1.* The column space of $X$ has dimension $S$, so it is $\mathbb{R}^S$ and $P_\mathcal{C} = I$.
# One of two terms is left, at most $\|X'\|_F$, with equality exactly if $X' P_\mathcal{R} = 0$. By
# {prf:ref}`lem-no-innovation` the other end is $\mathcal{R}(X') \subseteq \mathcal{R}(X)$: every
# row of $X'$ is a combination of rows of $X$, and the coefficients are the rows of $A$. *2* is the
# transpose, and *3* is both.
# ```
#
# So with independent tokens and more features than tokens, mixing tokens is *exactly* what has no
# innovation. And the measure depends on the length of the prompt. To see how, feed it noise.
#
# ```{prf:theorem} The novelty of noise
# :label: thm-chance-novelty
#
# Let $X$ have rank $r$, and let the entries of $\Delta X$ be independent normal numbers of mean 0
# and one variance, independent of $X$. The share of the energy of $\Delta X$ outside the row space
# of $X$ has the mean $1 - r / H$, the share outside the column space the mean $1 - r / S$.
# ```
#
# ```{prf:proof}
# Let $T$ be orthogonal with its first $r$ columns in $\mathcal{R}(X)$. The entries of $\Delta X T$
# are again independent normal numbers of one variance, and what lies outside are its last $H - r$
# columns. By symmetry each of the $SH$ entries has on average the share $1 / (SH)$ of the energy,
# so $S (H - r)$ of them have the share $1 - r / H$. For columns transpose.
# ```

# %%
features, rows = 96, []
for tokens in (4, 12, 24, 36, 48, 60, 72, 84, 90, 96, 102, 120, 144, 192, 288):
    shape = (2, tokens, features)
    state, noise = torch.randn(shape, generator=random, dtype=torch.float64)
    geometry = update_geometry(state, state + noise)
    expected = math.sqrt(1 - min(tokens, features) / max(tokens, features))
    expected *= geometry.factors.size / 2
    rows.append([tokens / features, geometry.rid.support_innovation, expected])
lengths = pd.DataFrame(rows, columns=["length", "measured", "expected"])

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=3)
ax.plot(lengths["length"], lengths["expected"], color="gray", label="expected")
ax.plot(lengths["length"], lengths["measured"], "ko", ms=5, label="measured")
ax.set(xlabel="tokens per feature, S / H", ylabel=plots.axis_label(columns[3]))
ax.legend()
most, least = (lengths.loc[lengths["measured"].agg(f)] for f in ("idxmax", "idxmin"))
run.figure(
    fig,
    "noise_and_length",
    data=lengths,
    alt="Support innovation of noise as large as the state, against S / H. It falls from "
    f"{most['measured']:.2f} at {most['length']:.2f} to {least['measured']:.2f} at "
    f"{least['length']:.2f}, and rises again.",
    caption="The same noise at different prompt lengths.",
)

# %% tags=["remove-cell"]
measured["novelty"] = measured[["token_novelty", "feature_novelty"]].mean(axis=1)
tokens = int(measured["tokens"].median())
features = vlm.model.config.text_config.hidden_size
chance = math.sqrt(1 - min(tokens, features) / max(tokens, features)) / 2
vanished = (measured[["token_novelty", "feature_novelty"]] == 0).any(axis=1)
glue("subject", run.models[0], display=False)
glue("tokens", tokens, display=False)
glue("features", features, display=False)
full_rank = measured["rank"] == measured[["tokens"]].clip(upper=features)["tokens"]
glue("full_rank", f"{full_rank.mean():.1%}", display=False)
glue("vanished", f"{vanished.mean():.1%}", display=False)
others = sorted(set(measured.loc[~vanished, "layer"]))
glue("not_vanished", ", ".join(map(str, others)) or "none", display=False)
glue("chance", f"{chance:.3f}", display=False)
means = measured.groupby("module")[["size", "novelty"]].mean()
for module, novelty in means["novelty"].items():
    glue(f"novelty_{module}", f"{novelty:.3f}", display=False)
    word = "below" if novelty < chance else "above"
    glue(f"below_{module}", word, display=False)
told = "; ".join(f"{m}: size {r[0]:.3f}, novelty {r[1]:.3f}" for m, *r in means.itertuples())

# %% [markdown]
# Where $S = H$ even pure noise has no support innovation. A value of RID means something beside
# $S$, $H$ and what noise of that size would give; RID of two models, or of two prompt lengths,
# cannot be compared without them.
#
# In the trained model $S =$ {glue:text}`tokens` (median) and $H =$ {glue:text}`features`. Of the
# states after an update, {glue:text}`full_rank` have full rank. One of the two terms is exactly
# zero in {glue:text}`vanished` of all updates; the others are in layer
# {glue:text}`not_vanished`. (Words that occur twice are equal rows at the input.)
#
# ## Size times novelty
#
# ```{prf:theorem} Support innovation is a product
# :label: thm-size-novelty
#
# Let $\Delta X = X' - X \ne 0$ and $X' \ne 0$. Then
#
# $$
# \Delta\mathcal{D}(X \mid X') = \underbrace{\frac{\|\Delta X\|_F}{\|X'\|_F}}_{\text{size}} \cdot
# \underbrace{\frac{\|(I - P_\mathcal{C}) \Delta X\|_F + \|\Delta X (I - P_\mathcal{R})\|_F}
# {2 \|\Delta X\|_F}}_{\text{novelty, between 0 and 1}}.
# $$
#
# Novelty does not change if $\Delta X$ is multiplied by a number. So support innovation is at most
# the size, and at most half the size if $X$ has full rank.
# ```
#
# ```{prf:proof}
# $X$ lies inside its own spaces: $(I - P_\mathcal{C}) X = 0$ and $X (I - P_\mathcal{R}) = 0$. So
# $X'$ may be replaced by $\Delta X$ in both norms of {prf:ref}`def-support-innovation`. Novelty is
# at most 1 as the mean of two shares, and at most one half if one of them vanishes
# ({prf:ref}`thm-column-term`).
# ```
#
# An FFN that "expands the subspace" should have a high novelty. A high support innovation alone may
# only say that it writes loudly. Logarithms turn the product into a sum, so the difference between
# the two modules splits without remainder. First the two factors. Dotted lines join points of equal
# support innovation; the dashed line is the novelty of noise by {prf:ref}`thm-chance-novelty`.

# %% tags=["hide-input"]
by_layer = measured.groupby(["module", "layer"])
points = by_layer[["size", "novelty"]].mean().reset_index()
fig, (ax,) = plots.panels(1, row_height=4.2)
for module, look in plots.MODULES.items():
    part = points[points["module"] == module]
    ax.plot(part["size"], part["novelty"], **(look | {"linestyle": ""}), ms=6)
    for p in part.itertuples():
        ax.annotate(p.layer, (p.size, p.novelty), (4, 3), textcoords="offset points")
low, high = points["novelty"].min() / 1.2, max(points["novelty"].max(), chance) * 1.2
sizes = np.linspace(points["size"].min() / 1.2, points["size"].max() * 1.1, 200)
for product in np.geomspace(sizes[0] * low, sizes[-1] * high, 10):
    ax.plot(sizes, product / sizes, color="gray", ls=":", lw=1, zorder=0)
ax.axhline(chance, color="black", ls="--", lw=1)
ax.set(xlim=sizes[[0, -1]], ylim=(low, high))
ax.set(xlabel=plots.axis_label("size"), ylabel=plots.axis_label("novelty"))
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
run.figure(
    fig,
    "size_and_novelty",
    data=points,
    alt=f"Novelty against size for every layer of both modules, means: {told}. Noise has "
    f"novelty {chance:.3f}.",
    caption="The two factors of support innovation. Numbers are layers.",
)

# %%
parts = ["support_innovation", "size", "novelty"]
logs = measured.set_index(["sample", "image_source", "layer", "module"])[parts]
logs = np.log(logs).unstack("module").swaplevel(axis=1)
ratios = (logs["ffn"] - logs["attention"]).reset_index()
gaps = mean_intervals(ratios, parts, ["layer"], unit="image_source", seed=seed)
factors = np.exp(gaps.groupby("quantity")["mean"].mean())[parts]

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=3.4)
for index, (name, mark) in enumerate(zip(parts, "os^", strict=True)):
    part = gaps[gaps["quantity"] == name]
    middle, low, high = (part[c] for c in ("mean", "low", "high"))
    ax.errorbar(
        part["layer"] + (index - 1) / 5,
        middle,
        (middle - low, high - middle),
        fmt=mark,
        color=plots.OKABE_ITO[2 + index],
        label=name.replace("_", " "),
        ms=6,
    )
ax.axhline(0, color="gray", lw=1)
ax.set(xlabel="layer (index)", ylabel="log (FFN / attention)")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
run.figure(
    fig,
    "split",
    data=gaps,
    alt="Logarithm of FFN over attention by layer. Geometric means of the factors: "
    + ", ".join(f"{n.replace('_', ' ')} {f:.2f}" for n, f in factors.items()),
    caption="The FFN's support innovation over attention's. Size and novelty add up to it.",
)

# %% tags=["remove-cell"]
signs = np.sign(gaps.pivot(index="layer", columns="quantity", values="mean"))
glue("ratio_innovation", f"{factors[parts[0]]:.2f}", display=False)
for part in parts[1:]:
    glue(f"ratio_{part}", f"{factors[part]:.2f}", display=False)
    glue(f"follows_{part}", int((signs[part] == signs[parts[0]]).sum()), display=False)
glue("layers", len(signs), display=False)
glue("heavier", np.log(factors[parts[1:]]).abs().idxmax(), display=False)

# %% [markdown]
# Over all layers the larger part of the ratio of both modules is {glue:text}`heavier`. Which module
# has the larger support innovation is told by size in {glue:text}`follows_size` and by novelty in
# {glue:text}`follows_novelty` of {glue:text}`layers` layers. Mean novelty is
# {glue:text}`novelty_attention` for attention and {glue:text}`novelty_ffn` for the FFN:
# {glue:text}`below_attention` and {glue:text}`below_ffn` the {glue:text}`chance` of noise.

# %% tags=["hide-input"]
run.claim(
    "C068",
    statement="RID = 0 makes rank and spaces equal (Theorem F.4), equal rank not presupposed",
    paper=f"RID {claimed('C068'):g}",
    measured="RID 0 between ranks 3 and 2",
    tolerance="a proof",
    verdict="contradicted by proof",
    note="Holds with equal rank, which the paper takes from its manifold hypothesis "
    "(Assumption 3.1), at rank 1 and 2, or with RID 0 both ways.",
)
glue("verdict_c068", run.claims[-1].verdict, display=False)
for claim, words, found in (
    ("C003", "RID is at least this", "attained by X' = X"),
    ("C004", "RID is at most this", "below 2 - 1/Q for every pair"),
    ("C005", "Spectrum change is at most this", "at most (Q - 1)/Q, attained"),
    ("C006", "Support innovation is at most this", "attained if Q > 1"),
):
    run.claim(
        claim, statement=words, paper=claimed(claim), measured=found,
        tolerance="a proof", verdict="proved",
    )  # fmt: skip
ranges = dict.fromkeys(claim.verdict for claim in run.claims if claim.id != "C068")
glue("verdict_ranges", ", ".join(ranges), display=False)
run.claims_table()

# %% [markdown]
# ## Exercises
#
# Write each function; the cell below it checks yours.
#
# ```{exercise} What was lost
# :label: ex-lost-support
#
# *Warm-up, 10 minutes.* Write `lost_support(before, after)`: the number that support innovation
# would be if time ran backwards. It is 0 exactly if nothing of the old support is gone. Use it on
# the counterexample of {prf:ref}`thm-f4-fails`.
#
# :::{dropdown} Hint
# Swap the roles; {prf:ref}`def-support-innovation` does the rest.
# :::
# ```
#
# ```{solution} ex-lost-support
# :class: dropdown
#
# It is $\Delta\mathcal{D}(X' \mid X)$. By {prf:ref}`thm-f4-repaired` the spaces are equal exactly
# if both it and $\Delta\mathcal{D}(X \mid X')$ are 0.
# ```

# %% tags=["solution", "hide-input"]
from lost_in_attention.metrics.rid import support_innovation


def lost_support(before, after):
    """Share of the state before (S x H) outside the spaces of the state after, a float."""
    return support_innovation(after, before)


# %% tags=["exercise-check"]
from lost_in_attention.teaching.rid import check_lost_support

check_lost_support(lost_support)

# %% [markdown]
# ```{exercise} The factors
# :label: ex-update-factors
#
# *Medium, 20 minutes.* Write `update_factors(before, update)`: size, token novelty (the share of
# $\Delta X$, by norm, outside the column space) and feature novelty (outside the row space), for
# states of any rank. Use the singular value decomposition and nothing of the library.
#
# :::{dropdown} Hint
# Keep the singular vectors whose value is above $10^{-9} \sigma_1$.
# :::
# ```
#
# ```{solution} ex-update-factors
# :class: dropdown
#
# With $U$ and $V$ the kept vectors, the parts outside are $\Delta X - U (U^\top \Delta X)$ and
# $\Delta X - (\Delta X V) V^\top$. Half the product of size and the sum of the novelties is the
# support innovation ({prf:ref}`thm-size-novelty`).
# ```

# %% tags=["solution", "hide-input"]
import torch


def update_factors(before, update):
    """Size, token novelty and feature novelty (floats) of the update of a state, both S x H."""
    u, sigma, vt = torch.linalg.svd(before, full_matrices=False)
    kept = sigma > 1e-9 * sigma[0]
    u, vt = u[:, kept], vt[kept]
    norm = update.norm()
    tokens = (update - u @ (u.T @ update)).norm() / norm
    features = (update - update @ vt.T @ vt).norm() / norm
    return float(norm / (before + update).norm()), float(tokens), float(features)


# %% tags=["exercise-check"]
from lost_in_attention.teaching.rid import check_update_factors

check_update_factors(update_factors)

# %% [markdown]
# ```{exercise} Your own counterexample
# :label: ex-counterexample
#
# *Hard, 25 minutes.* Write `counterexample(larger, smaller)`: two states of these ranks, the first
# larger, with $\mathrm{RID}(X \mid X') = 0$, for any `larger` > `smaller` > 1. Can you find one
# that is not diagonal, or whose second state is not flat?
#
# :::{dropdown} Hint
# One unknown is enough. Bisect on it, or call `scipy.optimize.brentq`.
# :::
# ```
#
# ```{solution} ex-counterexample
# :class: dropdown
#
# The proof of {prf:ref}`thm-f4-fails` is the recipe. Multiply both states by the same orthogonal
# matrices for others. A second state that is not flat works as well: take any $X'$ of the smaller
# rank with an effective rank above 1 and choose $t$ to match it.
# ```

# %% tags=["solution", "hide-input"]
import torch
from scipy.optimize import brentq

from lost_in_attention.metrics.rid import effective_rank


def counterexample(larger, smaller):
    """Two diagonal states of the two ranks with RID 0 from the first to the second."""

    def state(strength):
        return torch.diag(torch.tensor([1.0] + [strength] * (larger - 1)).double())

    strength = brentq(lambda t: effective_rank(state(t)) - smaller, 1e-9, 1)
    flat = torch.diag((torch.arange(larger) < smaller).double())
    return state(strength), flat


# %% tags=["exercise-check"]
from lost_in_attention.teaching.rid import check_counterexample

check_counterexample(counterexample)

# %% [markdown]
# ```{exercise} A distance that looks both ways
# :label: ex-support-distance
#
# *Research, 60 minutes.* Find `support_distance(before, after)` between 0 and 1 that is symmetric,
# obeys the triangle inequality, ignores scale and common rotations, is 1 for states with orthogonal
# spaces, sees lost support, and does not jump where a weak direction fades. Then measure attention
# and FFN with it, layer by layer. Does the order of the modules agree with RID?
#
# :::{dropdown} Hint
# Compare $X X^\top$ and $X^\top X$, scaled to trace one, instead of projectors.
# :::
# ```
#
# ```{solution} ex-support-distance
# :class: dropdown
#
# Let $A = X X^\top / \|X\|_F^2$ and $B = X^\top X / \|X\|_F^2$. The mean of
# $\frac12 \|A - A'\|_*$ and $\frac12 \|B - B'\|_*$, with the sum of absolute eigenvalues as norm,
# has all these properties. A norm gives symmetry and the triangle inequality. Positive matrices of
# trace one are at most 2 apart, exactly if their ranges are orthogonal. A direction enters with its
# energy, so nothing jumps and no {term}`rank rule` is needed. The price: it is zero only if the
# energies agree as well, so it measures spectrum and support in one number. Report it beside its
# value for noise of the same size.
# ```

# %% tags=["solution", "hide-input"]
import torch


def support_distance(before, after):
    """A distance in [0, 1] between two states, both S x H, as a float."""

    def distance(x, y):
        gap = x @ x.T / x.square().sum() - y @ y.T / y.square().sum()
        return float(torch.linalg.eigvalsh(gap).abs().sum()) / 2

    return (distance(before, after) + distance(before.T, after.T)) / 2


# %% tags=["exercise-check"]
from lost_in_attention.teaching.rid import check_support_distance

check_support_distance(support_distance)
