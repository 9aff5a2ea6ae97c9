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
# # Projectors: where a state lives, and what is new to it
#
# - **Covers** Section 3.2.2 of the paper and Definition 3.5, and the manifolds of Section 3.2.
# - **Verdict** no claim of the scorecard.
# - **Takes** about 20 seconds and 1 GB at tier `book`.
#
# You will
#
# 1. treat a subspace as one object, its {term}`projector`,
# 2. measure how far two subspaces are apart, and what of a vector is new to one of them,
# 3. see a projector jump on a real state, and know when it cannot.
#
# You need {doc}`02_effective_rank`. The symbols are in {doc}`../notation`.

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
import torch
from myst_nb import glue
from scipy.linalg import subspace_angles

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.metrics.rank_rules import NUMERICAL_RANK, STATE_EPSILON
from lost_in_attention.metrics.rid import (
    ExplainedEnergy,
    feature_projector,
    spectrum,
    spectrum_change,
    support_innovation,
    token_projector,
)
from lost_in_attention.models import load
from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.frames_planes import plane, tilted_planes, tilted_vector
from lost_in_attention.publishing.interactive import seen_from, show_interactive
from lost_in_attention.residual.stream import record

# %% tags=["parameters"]
tier = "book"
model = "small-qwen2.5-vl"
source = "digits"
row = 0
seed = 0
output = "book/generated"

# %%
run = report.start("03_projectors", globals())
vlm = load(model, device=run.device, dtype=run.dtype)
sample = load_benchmark("pope", source)[row]

# %%
states = []
inputs = vlm.prepare([sample.image], [sample.prompt])
record(vlm, inputs, lambda s: states.append(s.hidden[0].double().cpu()))

# %% tags=["hide-input"]
start = states[0]
random = torch.Generator().manual_seed(seed)
noise = torch.randn(start.shape, generator=random, dtype=torch.float64)
noise *= start.norm() / noise.norm()
reference = feature_projector(start)
rows = []
for strength in np.logspace(-9, -1, 33):
    moved = start + strength * noise
    gap = torch.linalg.matrix_norm(feature_projector(moved) - reference, 2)
    change = spectrum_change(start, moved)
    rows.append([strength, spectrum(moved).rank, float(gap), change])
jump = pd.DataFrame(rows, columns=["noise", "rank", "projector", "spectrum_change"])

# %% tags=["remove-cell"]
steps = jump["projector"].diff()
at = jump.loc[steps.idxmax(), "noise"]
before = jump[jump["noise"] < at].iloc[-1]
after = jump[jump["noise"] >= at].iloc[0]
glue("rank_start", int(jump["rank"].iloc[0]), display=False)
glue("rank_end", int(jump["rank"].iloc[-1]), display=False)
glue("jump_from", f"{before['projector']:.2g}", display=False)
glue("jump_to", f"{after['projector']:.2g}", display=False)
glue("jump_at", f"{at:.1g}", display=False)
glue("smooth_at", f"{after['spectrum_change']:.1g}", display=False)
glue("subject", run.models[0], display=False)

# %% [markdown]
# ## The answer
#
# In exact arithmetic the paper's definitions are sound: a subspace and its {term}`projector`
# determine each other ({prf:ref}`thm-projector`), and what is new in a vector is its distance from
# the subspace ({prf:ref}`thm-innovation`). A measured state needs a {term}`rank rule` as well, and
# no rule that keeps more directions of some states than of others makes the projector continuous
# ({prf:ref}`thm-no-rule-escapes`). On one state of {glue:text}`subject`, where noise reaches
# {glue:text}`jump_at` of the state's norm, the distance of the projector from where it began steps
# from {glue:text}`jump_from` to {glue:text}`jump_to` (1 is the largest there is), while effective
# rank has changed by {glue:text}`smooth_at` of its range. So a value of support innovation means
# something together with its rule only: between two usual rules, all directions above rounding and
# those that hold 99% of the energy, attention's and the FFN's in one layer change by the factors
# {glue:text}`usual_ratio`. This is one question; {doc}`10_readings` measures what hangs on the rule
# in more models.

# %% tags=["hide-input"]
fig, (top, bottom) = plots.panels(2)
top.semilogx(jump["noise"], jump["rank"], color=plots.OKABE_ITO[2])
top.set(ylabel="rank kept (directions)")
for name, color, dashes in (
    ("projector", plots.OKABE_ITO[3], "-"),
    ("spectrum_change", plots.OKABE_ITO[2], "--"),
):
    bottom.loglog(jump["noise"], jump[name], dashes, color=color, label=plots.axis_label(name))
bottom.set(xlabel="size of the noise relative to the state", ylabel="distance moved")
bottom.legend()
run.figure(
    fig,
    "jump",
    data=jump,
    alt=f"Above, the rank kept goes from {jump['rank'].iloc[0]} to "
    f"{jump['rank'].iloc[-1]} as noise grows. Below, the projector moves by up to "
    f"{jump['projector'].max():.2f}, with its largest step at noise {at:.1g}; spectrum "
    f"change reaches {jump['spectrum_change'].max():.2g}.",
    caption="A state under growing noise: the rank kept, and how far projector and "
    "effective rank have moved.",
)

# %% [markdown]
# ## A subspace as one object
#
# ```{prf:definition} Column space, row space, projector
# :label: def-projector
#
# Let $X = \sum_{i \le r} \sigma_i u_i v_i^\top$ with $\sigma_r > 0$ ({prf:ref}`def-svd`). Its
# {term}`column space` $\mathcal{C}(X) = \mathrm{span}(u_1, \dots, u_r)$ lies in $\mathbb{R}^S$, its
# {term}`row space` $\mathcal{R}(X) = \mathrm{span}(v_1, \dots, v_r)$ in $\mathbb{R}^H$. The set of
# all $r$-dimensional subspaces of $\mathbb{R}^n$ is the {term}`Grassmannian` $\mathrm{Gr}(r, n)$. A
# subspace with the orthonormal basis $U$ (as columns) has the **orthogonal projector**
# $P = U U^\top$.
# ```
#
# With tokens as rows, $\mathcal{R}(X)$ holds every combination of tokens, as vectors of features.
# In code its projector is `feature_projector`, and that of $\mathcal{C}(X)$ `token_projector`. A
# point of a Grassmannian sounds abstract, but there is a matrix to hold it by:
#
# ```{prf:theorem} Subspaces are projectors
# :label: thm-projector
#
# $P = U U^\top$ does not depend on the choice of the basis $U$. It satisfies $P = P^\top = P^2$ and
# $\mathrm{tr}\, P = r$. Conversely, every matrix with $P = P^\top = P^2$ is the projector of
# exactly one subspace, its range.
# ```
#
# ```{prf:proof}
# Two orthonormal bases of one space differ by an orthogonal $r \times r$ matrix $R$, and
# $(UR)(UR)^\top = U R R^\top U^\top = U U^\top$. With $U^\top U = I$ follow
# $P^2 = U (U^\top U) U^\top = P$ and $\mathrm{tr}\, P = \mathrm{tr}\, U^\top U = r$. If
# $P = P^\top = P^2$, each eigenvalue satisfies $\lambda = \lambda^2$, so it is 0 or 1, and $P$ is
# the sum of $u u^\top$ over an orthonormal basis of the eigenvectors of eigenvalue 1. They span the
# range, and different ranges belong to different $P$.
# ```

# %% tags=["nbval-check-output"]
x = torch.tensor([[1.0, 2, 0, 1], [0, 1, 1, 0], [1, 3, 1, 1]], dtype=torch.float64)
mixed = torch.tensor([[2.0, 0, 0], [1, -1, 0], [0, 5, 3]], dtype=torch.float64) @ x
same = torch.allclose(feature_projector(x), feature_projector(mixed))
p = token_projector(x)
print(f"rank {spectrum(x).rank}; tokens mixed, same row space: {same}")
print(f"P P = P: {torch.allclose(p @ p, p)}; trace of P: {float(p.trace()):.0f}")

# %% [markdown]
# *Question.* Mixing tokens left the row space as it was. Which products $XB$ leave the column space
# as it was, and what does that say about a linear map applied to every token alike?
#
# ## What is new in a vector
#
# ```{prf:definition} Innovation
# :label: def-innovation
#
# Let $P$ be the projector of the subspace $\mathcal{U}$. The {term}`innovation` of $y$ is
# $\tilde y = (I - P) y$. (Definition 3.5 of the paper.)
# ```
#
# ```{prf:theorem} Innovation is a distance
# :label: thm-innovation
#
# For every $u \in \mathcal{U}$: $\|y - u\|^2 = \|\tilde y\|^2 + \|Py - u\|^2$. So $Py$ is the point
# of $\mathcal{U}$ closest to $y$, the distance is $\|\tilde y\|$, and
# $\|\tilde y\|^2 = \|y\|^2 - \|Py\|^2$.
# ```
#
# ```{prf:proof}
# $y - u = \tilde y + (Py - u)$. The second part lies in $\mathcal{U}$ and is not moved by $P$, and
# $P \tilde y = Py - P^2 y = 0$. So their inner product $\tilde y^\top P (Py - u)$, which is
# $(P \tilde y)^\top (Py - u)$, is 0. The last formula is the case $u = 0$.
# ```
#
# Move the sliders: an old plane, a new plane that shares a line with it, and a vector $y$ in the
# new one. The dotted segment is the innovation of $y$.

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=3.6)
for tilt, color in ((0, plots.OKABE_ITO[2]), (45, plots.OKABE_ITO[4])):
    ax.fill(*seen_from(plane(tilt), 110).T, color=color, alpha=0.5)
y = tilted_vector(45, 60)
path = seen_from(np.array([[0, 0, 0], y, y * [1, 1, 0]]), 110)
ax.plot(*path[:2].T, "k-")
ax.plot(*path[1:].T, ":", color=plots.OKABE_ITO[3])
ax.plot(*path[[0, 2]].T, color=plots.OKABE_ITO[2])
for name, point in (("y", path[1]), ("Py", path[2])):
    ax.annotate(name, point, (5, 3), textcoords="offset points")
ax.set_aspect("equal")
ax.set_axis_off()
figure, sliders = tilted_planes()
show_interactive(
    figure,
    "planes",
    "Two planes in space at 45 degrees that share a line. A unit vector of the second "
    "plane, 60 degrees from the line, its projection onto the first plane, and the "
    f"segment between the two, of length {abs(y[2]):.2f}.",
    fig,
    caption="Two subspaces and the innovation of a vector. Without scripts: one view.",
    sliders=sliders,
)

# %% [markdown]
# *Question.* Two angles decide how long the dotted segment is. How, and which of them belongs to
# the subspaces alone?
#
# ## How far two subspaces are apart
#
# ```{prf:definition} Principal angles
# :label: def-angles
#
# Let $U$ and $V$ be orthonormal bases of subspaces of $\mathbb{R}^d$ of dimensions $r \le s$. The
# cosines of the {term}`principal angles <principal angle>`
# $0 \le \theta_1 \le \dots \le \theta_r \le \pi / 2$ are the singular values of $U^\top V$.
# ```
#
# ```{prf:theorem} What the angles decide
# :label: thm-angles
#
# With $P_\mathcal{U}$, $P_\mathcal{V}$ the two projectors:
#
# 1. $\|(I - P_\mathcal{V}) P_\mathcal{U}\|_F^2 = \sum_i \sin^2 \theta_i$,
# 2. exactly $\dim(\mathcal{U} \cap \mathcal{V})$ angles are zero, at least $r + s - d$ of them,
# 3. $\|P_\mathcal{U} - P_\mathcal{V}\|_2 \le 1$, with equality if $r \ne s$.
# ```
#
# ```{prf:proof}
# *1.* An orthonormal basis does not change the norm, so the left side is
#
# $$
# \|(I - P_\mathcal{V}) U\|_F^2 = \mathrm{tr}\, U^\top U - \mathrm{tr}\, U^\top V V^\top U
# = r - \sum_i \cos^2 \theta_i.
# $$
#
# *2.* For a unit vector $u = Ua$, $\|V^\top U a\| = \|P_\mathcal{V} u\|$ is 1 exactly if
# $u \in \mathcal{V}$. So the singular value 1 of $U^\top V$ has the multiplicity
#
# $$
# \dim(\mathcal{U} \cap \mathcal{V}) = r + s - \dim(\mathcal{U} + \mathcal{V}) \ge r + s - d.
# $$
#
# *3.* For a unit vector $x$, $x^\top (P_\mathcal{U} - P_\mathcal{V}) x$ is a difference of two
# numbers in $[0, 1]$, and the matrix is symmetric. If $r < s$, some unit vector of $\mathcal{V}$ is
# orthogonal to $\mathcal{U}$, and the difference sends it to its negative.
# ```
#
# So an update can only turn as many directions as there is room for. With $S$ independent tokens
# before and after, at most $\min(S, H - S)$ of the angles between the two row spaces are positive.
# Below are those of one layer in the middle of the model.

# %%
middle = len(vlm.layers) // 2
updates = {
    "attention": (states[2 * middle], states[2 * middle + 1]),
    "ffn": (states[2 * middle + 1], states[2 * middle + 2]),
}
angles = pd.DataFrame({n: np.degrees(subspace_angles(a.T, b.T)) for n, (a, b) in updates.items()})

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=3)
for name, look in plots.MODULES.items():
    ax.plot(angles.index + 1, angles[name], **look)
ax.set(xlabel="principal angle (largest first)", ylabel="degrees")
ax.legend()
largest = ", ".join(f"{angles[n].max():.0f} degrees for {n}" for n in updates)
run.figure(
    fig,
    "principal_angles",
    data=angles,
    alt=f"Principal angles between the row spaces before and after the updates of layer "
    f"{middle}, falling from {largest} to zero.",
    caption=f"How far each update of layer {middle} turns the row space.",
)

# %% tags=["remove-cell"]
tokens, features = states[0].shape
glue("tokens", tokens, display=False)
glue("features", features, display=False)
glue("room", max(0, min(tokens, features - tokens)), display=False)
turned = (angles > 1e-3).sum()
glue("turned", f"{turned['attention']} and {turned['ffn']}", display=False)

# %% [markdown]
# Here $S =$ {glue:text}`tokens` and $H =$ {glue:text}`features`, so there is room for
# {glue:text}`room` positive angles. Attention and FFN have {glue:text}`turned` of more than a
# thousandth of a degree. An update without special structure fills the room, so the count says
# little. What can differ is how large the angles are, and how much of the update goes into them,
# which is the subject of {doc}`04_rid`.
#
# *Question.* A published model has thousands of features and reads about as many tokens, or more.
# What happens to the room when $S$ reaches $H$?
#
# ## A formula that loses its digits
#
# By {prf:ref}`thm-innovation` there are two ways to compute $\|\tilde y\|$: form $y - Py$ and take
# its norm, or take the root of $\|y\|^2 - \|Py\|^2$. On paper they agree. In single precision the
# second subtracts two nearly equal numbers when little of $y$ is new, and what is left is rounding.

# %%
random = torch.Generator().manual_seed(seed)
frame = torch.linalg.qr(torch.randn(128, 128, generator=random, dtype=torch.float64))[0]
basis, outside = frame[:, :64], frame[:, 64]
rows = []
for share in np.logspace(0, -5, 21):
    inside = basis @ torch.randn(64, generator=random, dtype=torch.float64)
    y = inside / inside.norm() + share * outside
    single, u = y.float(), basis.float()
    shadow = u @ (u.T @ single)
    formed = float((single - shadow).norm())
    rooted = float((single.norm() ** 2 - shadow.norm() ** 2).clamp(min=0).sqrt())
    errors = [abs(got / share - 1) for got in (formed, rooted)]
    rows.append([share, *errors])
residuals = pd.DataFrame(rows, columns=["share", "norm of y - Py", "root of difference"])

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=3)
styles = zip(residuals.columns[1:], plots.OKABE_ITO[2:4], ("-", "--"), strict=True)
for name, color, dashes in styles:
    ax.loglog(residuals["share"], residuals[name], dashes, color=color, label=name)
ax.set(xlabel="share of y outside the subspace", ylabel="relative error")
ax.legend()
worst = residuals.iloc[:, 1:].max()
run.figure(
    fig,
    "two_formulas",
    data=residuals,
    alt="Relative error of two formulas for the innovation in single precision, for "
    f"smaller and smaller shares. Largest error: {worst.iloc[0]:.1g} for the norm of the "
    f"residual, {worst.iloc[1]:.1g} for the root of the difference.",
    caption="The residual, formed and taken by Pythagoras, in single precision.",
)

# %% [markdown]
# The helpers that the authors released take the second way, in single precision. This book forms
# the residual, in double precision, wherever the difference could be seen.
#
# ## Which singular values are zero?
#
# $P$ is built from the directions with $\sigma_i > 0$. In exact arithmetic that is clear. In a
# measured state a zero has become rounding, so a {term}`rank rule` draws a line. The default here
# keeps $\sigma_i > \max(S, H) \, \varepsilon \, \sigma_1$ with the $\varepsilon$ of single
# precision. Another common rule keeps as many directions as hold 99% of the energy.

# %%
rules = {
    "numerical rank": NUMERICAL_RANK,
    "99% energy": ExplainedEnergy(0.99),
    "99.9% energy": ExplainedEnergy(0.999),
}
named = {"input of layer 0": states[0], f"layer {middle}": states[2 * middle + 1]}
kept = pd.DataFrame(
    {rule: spectrum(state, rank_rule=made).rank for rule, made in rules.items()}
    for state in named.values()
)
kept.insert(0, "state", list(named))
run.table(kept, "Directions kept by three rules")

# %% tags=["hide-input"]
drawn = {n: spectrum(x).singular_values for n, x in named.items()}
drawn = pd.DataFrame({n: (values / values[0]).numpy() for n, values in drawn.items()})
fig, (ax,) = plots.panels(1, row_height=3.2)
for name, color, mark in zip(named, plots.OKABE_ITO[2:4], ".x", strict=True):
    ax.semilogy(drawn.index + 1, drawn[name].clip(1e-9), mark, color=color, label=name)
ax.axhline(max(states[0].shape) * STATE_EPSILON, color="gray", ls=":", label="cut-off")
ax.set(xlabel="singular value (index)", ylabel=r"$\sigma_i / \sigma_1$")
ax.legend(loc="lower left")
words = "; ".join(f"{r['state']}: {r['numerical rank']} above" for _, r in kept.iterrows())
run.figure(
    fig,
    "cut_off",
    data=drawn,
    alt=f"Singular values of two states on a logarithmic scale, with the cut-off. {words}.",
    caption="Two spectra and the cut-off of the numerical rank (below 1e-9: drawn there).",
)

# %% [markdown]
# ## The jump
#
# ```{prf:theorem} A gap holds the row space
# :label: thm-gap
#
# Let $X' = X + \Delta X$ have rank $r'$ and let $P$, $P'$ be the projectors of $\mathcal{R}(X)$ and
# $\mathcal{R}(X')$. Then
#
# $$
# \|(I - P) P'\|_2 \le \frac{\|\Delta X\|_2}{\sigma_{r'}(X')}.
# $$
# ```
#
# ```{prf:proof}
# Write $X' = U' \Sigma' V'^\top$ with positive values only, so $V' = X'^\top U' \Sigma'^{-1}$. The
# rows of $X$ lie in $\mathcal{R}(X)$, so $(I - P) X^\top = 0$ and
# $(I - P) V' = (I - P) \, \Delta X^\top U' \Sigma'^{-1}$. The norm of
# the left side is that of $(I - P) P'$, the norm of the right side at most
# $\|\Delta X\|_2 \, / \, \sigma_{r'}(X')$.
# ```
#
# The left side is the sine of the largest angle from the new row space to the old. A small update
# turns the space a little, provided that the weakest new direction is well above zero. Where it is
# not, the bound says nothing, and nothing can be said:
#
# ```{prf:theorem} No rank rule escapes
# :label: thm-no-rule-escapes
#
# Let a rule assign to every nonzero $X \in \mathbb{R}^{S \times H}$, $SH > 1$, a number of
# directions to keep, and let $P_X$ project onto the span of the kept $v_i$. If the rule assigns two
# different numbers at all, then there is an $X$ with $X'$ as near to it as you like and
# $\|P_X - P_{X'}\|_2 = 1$.
# ```
#
# ```{prf:proof}
# Where all matrices near $X$ get the number of $X$, the number is locally constant. Nonzero
# matrices form a connected set (for $SH > 1$ any two are joined by a path around zero), and an
# integer that is locally constant on a connected set is constant. So some $X$ has arbitrarily near
# $X'$ with another number. Their projectors have different ranks, and {prf:ref}`thm-angles` gives
# the distance 1.
# ```
#
# The figure under the answer adds noise to a real state, the input of layer 0, and makes the noise
# stronger. Words that occur twice in the prompt are equal rows there, so some directions start at
# zero: the rank kept goes from {glue:text}`rank_start` to {glue:text}`rank_end`. Of the two halves
# of RID, spectrum change is continuous; support innovation inherits the jumps of the projectors.
#
# ## What the rule does to a measurement
#
# Support innovation of the two updates above, for every number of kept directions. Whatever the
# rule leaves out of $X$ counts as new in $X'$ although it was there before.

# %%
counts = np.unique(np.linspace(1, min(states[0].shape), 48).astype(int)).tolist()
curves = pd.DataFrame(
    {
        name: [support_innovation(a, b, rank_rule=lambda *_, k=k: k) for k in counts]
        for name, (a, b) in updates.items()
    },
    index=pd.Index(counts, name="kept"),
)

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=3)
told = []
for name, look in plots.MODULES.items():
    ax.semilogy(curves[name], **look)
    told.append(f"{look['label']} from {curves[name].iloc[0]:.2g} to ")
    told[-1] += f"{curves[name].iloc[-1]:.2g}"
ax.set(
    xlabel="directions kept of the state before",
    ylabel=plots.axis_label("support_innovation"),
)
ax.legend()
run.figure(
    fig,
    "rule_sweep",
    data=curves.reset_index(),
    alt=f"Support innovation against the number of kept directions: {'; '.join(told)}.",
    caption=f"Support innovation in layer {middle} under every rank rule.",
)

# %% tags=["remove-cell"]
larger = curves.idxmax(axis=1)
changes = int((larger != larger.shift()).sum()) - 1
ratio = curves.iloc[0] / curves.iloc[-1]
usual = [
    support_innovation(*pair, rank_rule=rules["99% energy"])
    / support_innovation(*pair, rank_rule=rules["numerical rank"])
    for pair in updates.values()
]
glue("usual_ratio", " and ".join(f"{factor:.1f}" for factor in usual), display=False)
glue("sweep_ratio", f"{ratio['attention']:.1f} and {ratio['ffn']:.1f}", display=False)
glue("order_changes", f"{changes} times" if changes != 1 else "once", display=False)
glue("larger_full", {"ffn": "FFN"}.get(larger.iloc[-1], "attention"), display=False)

# %% [markdown]
# Between all directions and those that hold 99% of the energy, two rules that are in use, the value
# changes by the factors {glue:text}`usual_ratio` for attention and FFN; between all directions and
# one, which nobody would choose, by {glue:text}`sweep_ratio`. Over the whole sweep the module with
# the larger value changes {glue:text}`order_changes`. With every direction kept it is
# {glue:text}`larger_full`. This is one question and one layer.
#
# ## Exercises
#
# Write each function; the cell below it checks yours.
#
# ```{exercise} Any basis will do
# :label: ex-projector
#
# *Warm-up, 10 minutes.* Write `projector(basis)`: the orthogonal projector onto the span of the
# columns of `basis`, which are independent but neither orthogonal nor of length one.
#
# :::{dropdown} Hint
# $B (B^\top B)^{-1} B^\top$ works; {prf:ref}`thm-projector` suggests something gentler.
# :::
# ```
#
# ```{solution} ex-projector
# :class: dropdown
#
# A QR decomposition gives an orthonormal basis $Q$ of the same space, and $P = Q Q^\top$. The
# formula with the inverse squares the condition of $B$ first.
# ```

# %% tags=["solution", "hide-input"]
import torch


def projector(basis):
    """Orthogonal projector, d x d, onto the span of the r independent columns of `basis`."""
    q = torch.linalg.qr(basis).Q
    return q @ q.T


# %% tags=["exercise-check"]
from lost_in_attention.teaching.projectors import check_projector

check_projector(projector)

# %% [markdown]
# ```{exercise} Keep the digits
# :label: ex-residual-norm
#
# *Medium, 15 minutes.* Write `residual_norm(basis, y)`: the length of the innovation of `y`, for a
# `basis` with orthonormal columns, both in single precision. It has to be right within 20% where
# only $5 \cdot 10^{-7}$ of $y$ is new, a few roundings. Use single precision only.
#
# :::{dropdown} Hint
# Project twice.
# :::
# ```
#
# ```{solution} ex-residual-norm
# :class: dropdown
#
# One projection leaves a rounding error of about $10^{-7} \|y\|$, part of it inside the subspace.
# The second projection removes that part. The columns are orthonormal only up to rounding as well:
# a QR decomposition of the basis would mend that, and add roundings of its own.
# ```


# %% tags=["solution", "hide-input"]
def residual_norm(basis, y):
    """Length of the part of y (d numbers) outside the span of `basis` (d x r), a float."""
    for _ in range(2):
        y = y - basis @ (basis.T @ y)
    return float(y.norm())


# %% tags=["exercise-check"]
from lost_in_attention.teaching.projectors import check_residual_norm

check_residual_norm(residual_norm)

# %% [markdown]
# ```{exercise} Small angles
# :label: ex-principal-angles
#
# *Hard, 25 minutes.* Write `principal_angles(a, b)` in radians, for the spans of the columns of two
# matrices of one shape. An angle of $10^{-9}$ has to come out right to 12 decimals, and so has a
# right angle. Where does the arc cosine of {prf:ref}`def-angles` fail?
#
# :::{dropdown} Hint
# Near 1 the cosine is flat. {prf:ref}`thm-angles` has sines.
# :::
# ```
#
# ```{solution} ex-principal-angles
# :class: dropdown
#
# $\cos 10^{-9}$ is $1 - 5 \cdot 10^{-19}$, which rounds to 1: no arc cosine brings the angle back.
# The singular values of $(I - P_\mathcal{U}) V$ are the sines, accurate where angles are small and
# flat where they are large. Take each angle from whichever of the two is steep there.
# ```

# %% tags=["solution", "hide-input"]
import torch


def principal_angles(a, b):
    """The r principal angles (radians) between the spans of the columns of a and b (d x r)."""
    u, v = torch.linalg.qr(a).Q, torch.linalg.qr(b).Q
    inside = u.T @ v
    cosines = torch.linalg.svdvals(inside)
    sines = torch.linalg.svdvals(v - u @ inside).flip(0)
    return torch.where(cosines > sines, sines.clamp(max=1).asin(), cosines.clamp(max=1).acos())


# %% tags=["exercise-check"]
from lost_in_attention.teaching.projectors import check_principal_angles

check_principal_angles(principal_angles)

# %% [markdown]
# ```{exercise} A projector that does not jump
# :label: ex-soft-projector
#
# *Research, 60 minutes.* Find a matrix $F_\tau(X)$ in place of $P_\mathcal{R}$ with the same
# singular directions that weighs each by a number between 0 and 1, tends to $P_\mathcal{R}$ as
# $\tau \to 0$, and moves by at most $\|\Delta X\|_2 / \tau$ when $X$ moves by $\Delta X$. Write it
# as `soft_projector(x, width)`. Then draw support innovation with it, over $\tau$, in place of the
# last figure.
#
# :::{dropdown} Hint
# Ridge regression replaces $(X X^\top)^{-1}$ by $(X X^\top + \tau^2 I)^{-1}$.
# :::
# ```
#
# ```{solution} ex-soft-projector
# :class: dropdown
#
# $F_\tau(X) = X^\top (X X^\top + \tau^2 I)^{-1} X = I - \tau^2 (A + \tau^2 I)^{-1}$ with
# $A = X^\top X$. It weighs $v_i$ by $\sigma_i^2 / (\sigma_i^2 + \tau^2)$, which tends to 1 for
# $\sigma_i > 0$. For the bound let $G = (A + \tau^2 I)^{-1}$, and $G'$ the same for $X'$. Then
# $F' - F = \tau^2 (G - G') = \tau^2 G' (A' - A) G$ and
# $A' - A = X'^\top \Delta X + \Delta X^\top X$. With $\|G\|_2, \|G'\|_2 \le 1 / \tau^2$ and
# $\|X G\|_2, \|G' X'^\top\|_2 \le \max_\sigma \sigma / (\sigma^2 + \tau^2) = 1 / (2 \tau)$,
#
# $$
# \|F' - F\|_2 \le \tau^2 \cdot 2 \cdot \frac{1}{2 \tau} \cdot \frac{1}{\tau^2} \, \|\Delta X\|_2
# = \frac{\|\Delta X\|_2}{\tau}.
# $$
#
# The price is a scale $\tau$ that has to be chosen and reported. Support innovation becomes a
# curve over $\tau$, continuous in $X$; where two modules change places on it, the order of the
# modules is a matter of scale.
# ```

# %% tags=["solution", "hide-input"]
import torch


def soft_projector(x, width):
    """F_tau(x) with tau = width, a features x features matrix."""
    gram = x @ x.T + width**2 * torch.eye(len(x), dtype=x.dtype)
    return x.T @ torch.linalg.solve(gram, x)


# %% tags=["exercise-check"]
from lost_in_attention.teaching.projectors import check_soft_projector

check_soft_projector(soft_projector)
