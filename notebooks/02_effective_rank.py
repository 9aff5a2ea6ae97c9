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
# # Effective rank: how many directions a state uses
#
# - **Covers** Section 3.2.1 of the paper, Definitions 3.2 to 3.4, and Theorem F.2 (Eckart and
#   Young).
# - **Verdict** on claim C007, the bounds of effective rank: {glue:text}`verdict_c007`.
# - **Takes** about half a minute and 1 GB at tier `book`.
#
# You will
#
# 1. read a matrix as a map that stretches, and its singular values as the stretches,
# 2. count dimensions in four ways, prove which count is larger, and see what each overlooks,
# 3. follow {term}`effective rank` through the layers of a trained model.
#
# You need {doc}`01_residual_stream`, orthogonal matrices, and what a logarithm is. The symbols are
# in {doc}`../notation`.

# %% tags=["hide-input"]
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from myst_nb import glue

from lost_in_attention.benchmarks import load_benchmark
from lost_in_attention.metrics.rid import effective_rank, spectrum
from lost_in_attention.models import load
from lost_in_attention.publishing import plots, report
from lost_in_attention.publishing.frames_spectrum import decaying_values, spectrum_by_decay
from lost_in_attention.publishing.interactive import show_interactive
from lost_in_attention.publishing.paper import claimed
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
run = report.start("02_effective_rank", globals())
vlm = load(model, device=run.device, dtype=run.dtype)
samples = load_benchmark("pope", source).draw(run.count(questions, smoke=4), seed=seed)


# %% tags=["hide-input"]
def counts(x):
    """The five counts of the theorem, smallest first."""
    s = spectrum(x)
    q = s.singular_values.square() / s.squared_norm
    return {
        "stable_rank": float(1 / q.max()),
        "participation_ratio": float(1 / q.square().sum()),
        "energy_entropy": float(torch.special.entr(q).sum().exp()),
        "effective_rank": s.effective_rank,
        "rank": s.rank,
    }


# %% tags=["hide-input"]
rows = []
for sample in samples:
    place = {"sample": sample.id, "image_source": sample.image_source}

    def count(s, place=place):
        if s.module != "input":
            rows.append(place | {"layer": s.layer, "module": s.module} | counts(s.hidden[0]))

    record(vlm, vlm.prepare([sample.image], [sample.prompt]), count)
counted = pd.DataFrame(rows)
shown = ["effective_rank", "participation_ratio"]
layers = mean_intervals(counted, shown, ["layer", "module"], unit="image_source", seed=seed)

# %% tags=["remove-cell"]
means = counted.groupby(["layer", "module"], sort=False)[[*shown, "rank"]].mean()
change = means.iloc[-1] - means.iloc[0]
steps = np.sign(means[shown].diff().dropna())
agree = (steps["effective_rank"] == steps["participation_ratio"]).sum()
glue("n_questions", len(samples), display=False)
glue("n_steps", len(steps), display=False)
glue("n_agree", int(agree), display=False)
direction = {1: "rises", -1: "falls", 0: "stays"}
glue("erank_goes", direction[int(np.sign(change["effective_rank"]))], display=False)
glue("pr_goes", direction[int(np.sign(change["participation_ratio"]))], display=False)
glue("erank_range", f"{np.ptp(means['effective_rank']):.2f}", display=False)
glue("mean_rank", f"{means['rank'].mean():.1f}", display=False)
for name, column in (("erank", "effective_rank"), ("pr", "participation_ratio")):
    glue(f"{name}_first", f"{means[column].iloc[0]:.2f}", display=False)
    glue(f"{name}_last", f"{means[column].iloc[-1]:.2f}", display=False)
glue("subject", run.models[0], display=False)

# %% [markdown]
# ## The answer
#
# Effective rank ({prf:ref}`def-effective-rank`) lies between the participation ratio and the rank,
# for every matrix ({prf:ref}`thm-order-of-counts`). A small one means that few directions come
# close to a state, and a large one does not mean that many are needed
# ({prf:ref}`thm-erank-and-error`): the theorem that the paper motivates it by supports it one way
# only. In {glue:text}`subject`, asked {glue:text}`n_questions` questions, mean effective rank
# {glue:text}`erank_goes` from {glue:text}`erank_first` behind the first update to
# {glue:text}`erank_last` behind the last, and the participation ratio {glue:text}`pr_goes` from
# {glue:text}`pr_first` to {glue:text}`pr_last`. The two move in the same direction in
# {glue:text}`n_agree` of {glue:text}`n_steps` steps; in the others it depends on the count whether
# "the state expands". This is one model with one training seed.

# %% tags=["hide-input"]
fig, axes = plots.panels(2, row_height=2.8)
for quantity, ax in zip(shown, axes, strict=True):
    plots.layer_curves(layers, quantity, ax)
run.figure(
    fig,
    "through_layers",
    data=layers,
    alt=" ".join(report.alt_layer_curves(layers, quantity) for quantity in shown),
    caption="Effective rank and participation ratio of the state after each update.",
)

# %% [markdown]
# ## A matrix is a stretch between two rotations
#
# ```{prf:definition} Singular value decomposition
# :label: def-svd
#
# Every $X \in \mathbb{R}^{S \times H}$ is a sum of $Q = \min(S, H)$ simple pieces,
#
# $$
# X = U \Sigma V^\top = \sum_{i=1}^{Q} \sigma_i \, u_i v_i^\top,
# \qquad \sigma_1 \ge \dots \ge \sigma_Q \ge 0,
# $$
#
# with orthonormal $u_i \in \mathbb{R}^S$ and orthonormal $v_i \in \mathbb{R}^H$. The $\sigma_i$ are
# the {term}`singular values <singular value>` of $X$, all of them together its {term}`spectrum`,
# and the {term}`rank` is the number of positive ones. The {term}`energy` is
# $\|X\|_F^2 = \sum_i \sigma_i^2$. (Definitions 3.2 and 3.3 of the paper.)
# ```
#
# In words: the direction $v_i$ is sent to the direction $u_i$ and stretched by $\sigma_i$. In the
# plane, the unit circle becomes an ellipse whose half-axes are the singular values.

# %%
shear = torch.tensor([[1.2, 0.9], [0.1, 0.7]], dtype=torch.float64)
u, sigma, vt = torch.linalg.svd(shear)
angle = torch.linspace(0, 2 * math.pi, 100, dtype=torch.float64)
circle = torch.stack([angle.cos(), angle.sin()])
ellipse = shear @ circle

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(plots.WIDTH, 3.4), layout="constrained")
ax.plot(*circle, color="gray", lw=1)
ax.plot(*ellipse, color=plots.OKABE_ITO[2])
for i, color in enumerate(plots.OKABE_ITO[3:5]):
    ax.plot(*zip((0, 0), vt[i], strict=True), color=color, ls="--")
    ax.plot(*zip((0, 0), sigma[i] * u[:, i], strict=True), color=color)
    for name, end in (
        (f"v_{i + 1}", vt[i]),
        (rf"\sigma_{i + 1} u_{i + 1}", sigma[i] * u[:, i]),
    ):
        ax.annotate(f"${name}$", end, (4, 4), textcoords="offset points")
ax.set(aspect="equal", xlabel="first coordinate", ylabel="second coordinate")
run.figure(
    fig,
    "ellipse",
    data=pd.DataFrame(ellipse.T.numpy(), columns=["x", "y"]),
    alt=f"The unit circle and the ellipse that a 2 x 2 matrix makes of it, with "
    f"half-axes {sigma[0]:.2f} and {sigma[1]:.2f}. Two perpendicular directions of the "
    "circle go to the two axes of the ellipse.",
    caption="Singular vectors are the directions that stay perpendicular.",
)

# %% [markdown]
# *Question.* Turn the circle before the matrix acts on it. What happens to the ellipse, and what
# does that say about the spectrum of $XR$ for an orthogonal $R$?
#
# ## From the spectrum to one number
#
# ```{prf:definition} Effective rank
# :label: def-effective-rank
#
# For $X \ne 0$ let $p_i = \sigma_i / \sum_j \sigma_j$. With $H(p) = -\sum_i p_i \log p_i$ the
# entropy in {term}`nats <nat>` ($0 \log 0 = 0$),
#
# $$
# \mathrm{eRank}(X) = \exp H(p).
# $$
#
# (Definition 3.4 of the paper, after {cite:t}`roy2007effective`.)
# ```
#
# An entropy is the logarithm of a number of equally likely cases. So effective rank answers: how
# many *equal* singular values would be as spread out as these?

# %% tags=["nbval-check-output"]
for values in ([1, 1, 1, 1], [1, 1, 0, 0], [1, 0.5, 0.25, 0.125], [1, 0, 0, 0]):
    x = torch.diag(torch.tensor(values, dtype=torch.float64))
    print(f"{values}: rank {spectrum(x).rank}, eRank {effective_rank(x):.3f}")

# %% [markdown]
# ```{prf:theorem} Range and invariance of effective rank
# :label: thm-erank-range
#
# Let $X \ne 0$ have rank $r$. Then $1 \le \mathrm{eRank}(X) \le r \le Q$. The lower bound is
# attained exactly at rank one, the upper bound $r$ exactly when all positive singular values are
# equal. $X^\top$, $cX$ for $c \ne 0$, and $RXT$ for orthogonal $R$ and $T$ have the effective rank
# of $X$.
# ```
#
# ```{prf:proof}
# Zeros add nothing to $H$, so let $i$ run over the $r$ positive values. From $0 < p_i \le 1$ each
# term $-p_i \log p_i$ is at least 0, and it is 0 only for $p_i = 1$. All are 0 only if there is one
# term. For the upper bound use that the logarithm is concave:
#
# $$
# H(p) = \sum_i p_i \log \frac{1}{p_i} \le \log \sum_i p_i \frac{1}{p_i} = \log r,
# $$
#
# with equality only if all $1 / p_i$ agree. Scaling cancels in $p_i$. Orthogonal factors and
# transposition turn a singular value decomposition into another one with the same $\sigma_i$.
# ```
#
# Move the sliders. The bars are the $p_i$. The dashed box is the flat spectrum with the same
# entropy: it is $\mathrm{eRank}$ wide.

# %% tags=["hide-input"]
fig, axes = plots.panels(3, row_height=1.7)
flat = []
for ax, decay in zip(axes, (0.1, 0.4, 1.2), strict=True):
    values = decaying_values(12, decay, 12)
    p = values / values.sum()
    width = effective_rank(torch.diag(torch.tensor(values)))
    ax.bar(np.arange(1, 13), p, color=plots.OKABE_ITO[2])
    ax.plot([0.5, 0.5, 0.5 + width, 0.5 + width], [0, 1 / width, 1 / width, 0], "k--")
    ax.set(title=f"decay {decay}: eRank {width:.2f}", ylabel="share p")
    flat.append(f"{width:.2f} at decay {decay}")
axes[-1].set_xlabel("singular value (index)")
figure, sliders = spectrum_by_decay()
show_interactive(
    figure,
    "spectrum",
    "Bars of a decaying spectrum of twelve values and the flat spectrum of the same "
    f"entropy. Effective rank is {', '.join(flat)}.",
    fig,
    caption="A spectrum and its effective rank. Without scripts: three decays.",
    sliders=sliders,
)

# %% [markdown]
# *Question.* At which decay does the participation ratio stop telling rank 6 from rank 12, and does
# effective rank still tell them apart there?
#
# ## Four ways to count
#
# ```{prf:definition} Stable rank and participation ratio
# :label: def-counts
#
# Let $q_i = \sigma_i^2 / \sum_j \sigma_j^2$ be the shares of energy. The {term}`stable rank` is
# $1 / \max_i q_i = \|X\|_F^2 / \sigma_1^2$, and the {term}`participation ratio` is
# $1 / \sum_i q_i^2$.
# ```
#
# Rank counts every direction, however weak. The two new counts ask how the energy is spread.
# Effective rank stands in between, and it always stands there:
#
# ```{prf:theorem} The order of the counts
# :label: thm-order-of-counts
#
# For every $X \ne 0$
#
# $$
# 1 \le \text{stable rank} \le \text{participation ratio} \le e^{H(q)}
# \le \mathrm{eRank}(X) \le \mathrm{rank}(X),
# $$
#
# and any two of the last five are equal only if all positive singular values are equal.
# ```
#
# ```{prf:proof}
# Keep the positive values only. *First:* $\max_i q_i \le 1$. *Second:*
# $\sum_i q_i^2 \le \max_i q_i \sum_i q_i = \max_i q_i$, equal only if all $q_i$ are the largest
# one. *Third:* by concavity of the logarithm
# $-\log \sum_i q_i \, q_i$ is at most $-\sum_i q_i \log q_i = H(q)$, equal only if all $q_i$ agree.
# *Fourth:* $p$ and $q$ are the members $\beta = 1$ and $\beta = 2$ of the family
# $p_i(\beta) = \sigma_i^\beta / Z(\beta)$ with $Z(\beta) = \sum_j \sigma_j^\beta$. Its entropy is
# $\log Z - \beta \, (\log Z)'$, so its derivative in $\beta$ is
# $-\beta \, (\log Z)''$, and $(\log Z)''$ is the variance of $\log \sigma_i$ under $p(\beta)$. It
# is positive unless all $\sigma_i$ agree, so the entropy falls from $\beta = 1$ to $\beta = 2$ and
# $H(q) \le H(p)$. *Fifth:* {prf:ref}`thm-erank-range`.
# ```
#
# The step from $q$ to $p$ is what sets effective rank apart. It weighs a direction by $\sigma_i$
# and not by its energy $\sigma_i^2$, so weak directions count for more. The next state shows by how
# much.

# %%
states = []
inputs = vlm.prepare([samples[0].image], [samples[0].prompt])
record(vlm, inputs, lambda s: states.append((s.layer, s.module, s.hidden[0].clone())))
state = states[len(states) // 2]


found = counts(state[2])
row = {name.replace("_", " "): value for name, value in found.items()}
run.table(pd.DataFrame([row]), f"One state: layer {state[0]}, after {state[1]}")

# %% [markdown]
# *Question.* The state is a matrix of {glue:text}`state_shape` numbers. Which of the five answers
# "how many directions would I have to keep?", and for what purpose?
#
# ## What a truncation keeps
#
# Keeping the $k$ strongest pieces gives $X_k = \sum_{i \le k} \sigma_i u_i v_i^\top$. Nothing of
# rank $k$ comes closer.
#
# ```{prf:lemma} Weyl's inequality for a matrix of low rank
# :label: lem-weyl
#
# If $\mathrm{rank}(Y) \le k$, then $\sigma_{i+k}(X) \le \sigma_i(X - Y)$ whenever $i + k \le Q$.
# ```
#
# ```{prf:proof}
# Let $Z = X - Y$. The matrix $Y + Z_{i-1}$ has rank at most $k + i - 1$, so some unit vector $v$ in
# the span of the first $k + i$ right singular vectors of $X$ is sent to 0 by it. On that span $X$
# stretches by at least $\sigma_{i+k}(X)$. So
#
# $$
# \sigma_{i+k}(X) \le \|Xv\| = \|(Z - Z_{i-1}) v\| \le \sigma_i(Z).
# $$
# ```
#
# ```{prf:theorem} Eckart and Young
# :label: thm-eckart-young
#
# Among all $Y$ of rank at most $k$, $\|X - Y\|_F$ is least for $Y = X_k$, and the least value is
# $\big(\sum_{i > k} \sigma_i^2\big)^{1/2}$. (Theorem F.2, {cite:t}`eckart1936approximation`.)
# ```
#
# ```{prf:proof}
# $\|X - X_k\|_F^2 = \sum_{i > k} \sigma_i(X)^2$ by {prf:ref}`def-svd`. For any other $Y$ of rank at
# most $k$ square {prf:ref}`lem-weyl` and add over $i = 1, \dots, Q - k$:
#
# $$
# \sum_{i > k} \sigma_i(X)^2 \le \sum_i \sigma_i(X - Y)^2 = \|X - Y\|_F^2.
# $$
# ```

# %%
gray = torch.tensor(np.asarray(samples[0].image.convert("L")), dtype=torch.float64)
u, sigma, vt = torch.linalg.svd(gray, full_matrices=False)
ranks = [k for k in (2, 8, 24) if k < len(sigma)]

# %% tags=["hide-input"]
fig, axes = plt.subplots(2, 2, figsize=(plots.WIDTH, 5.4), layout="constrained")
shown = [(f"all {len(sigma)}", gray)]
shown += [(f"k = {k}", (u[:, :k] * sigma[:k]) @ vt[:k]) for k in ranks]
errors = [float((gray - picture).norm() / gray.norm()) for _, picture in shown]
for ax, (name, picture), error in zip(axes.flat, shown, errors, strict=False):
    ax.imshow(picture, cmap="gray", vmin=0, vmax=255)
    ax.set_title(f"{name}: error {error:.0%}")
    ax.set_axis_off()
run.figure(
    fig,
    "truncated_scene",
    data=pd.DataFrame({"kept": [name for name, _ in shown], "relative_error": errors}),
    alt=f"{samples[0].image_source} and its best approximations: relative errors "
    + ", ".join(f"{e:.0%} for {name}" for (name, _), e in zip(shown, errors, strict=True)),
    caption="A scene, and the closest matrices of rank k.",
)


# %%
def error_curve(x):
    """Relative error of X_k for k = 0, ..., Q (Theorem F.2)."""
    energy = spectrum(x).singular_values.cpu().square()
    left = energy.flip(0).cumsum(0).flip(0) / energy.sum()
    return torch.cat([left, left.new_zeros(1)]).sqrt()


both = {"scene": gray, "state": state[2]}
curves = pd.concat(
    pd.DataFrame({"matrix": name, "k": range(len(c)), "error": c.numpy()})
    for name, c in ((name, error_curve(x)) for name, x in both.items())
)

# %% tags=["hide-input"]
fig, (ax,) = plots.panels(1, row_height=3)
told = []
for (name, x), color in zip(both.items(), plots.OKABE_ITO[2:4], strict=True):
    curve = curves[curves["matrix"] == name]
    k = round(effective_rank(x))
    error = curve["error"].iloc[k]
    ax.plot(curve["k"], curve["error"], color=color, label=f"{name}, eRank {k}")
    ax.plot(k, error, "o", color=color, ms=8)
    told.append(f"{name}: {error:.1%} at k = {k}")
ax.set(xlabel="kept directions k", ylabel="relative error of $X_k$", ylim=(0, 1))
ax.legend()
run.figure(
    fig,
    "error_curves",
    data=curves,
    alt="Relative error of the best rank-k approximation, falling with k, for a scene and "
    f"a hidden state. At k = effective rank, {'; '.join(told)}.",
    caption="How fast the error falls. Dots: k equal to effective rank, rounded.",
)

# %% tags=["remove-cell"]
kept = round(found["effective_rank"])
few = round(found["participation_ratio"])
curve = error_curve(state[2])
glue("state_shape", " x ".join(map(str, state[2].shape)), display=False)
glue("kept", kept, display=False)
glue("kept_error", f"{curve[kept]:.1%}", display=False)
glue("few", few, display=False)
glue("few_error", f"{curve[few]:.1%}", display=False)

# %% [markdown]
# At $k =$ {glue:text}`kept`, the effective rank of the state, the error is
# {glue:text}`kept_error`. At $k =$ {glue:text}`few`, its participation ratio, it is
# {glue:text}`few_error`.
#
# ## Where effective rank and Eckart-Young part
#
# The paper motivates effective rank by the theorem above: singular values decide how well few
# directions capture $X$. They do. Effective rank says it one way only: where it is small, few
# directions are enough; where it is large, they may still be.
#
# ```{prf:theorem} What effective rank says about low-rank error
# :label: thm-erank-and-error
#
# Let $\delta(X) = \sum_{i>1} \sigma_i^2 / \sum_i \sigma_i^2$ be the share of energy that the best
# approximation of rank one misses.
#
# 1. $\delta(X) \le 1 - 1 / \mathrm{eRank}(X)$: a small effective rank forces a good approximation.
# 2. The converse fails, however far it is weakened. For every $R$ and every $\varepsilon > 0$ some
#    $X$ has $\mathrm{eRank}(X) \ge R$ and $\delta(X) \le \varepsilon$.
# ```
#
# ```{prf:proof}
# *1.* By {prf:ref}`thm-order-of-counts` the stable rank $1 / q_1$ is at most $\mathrm{eRank}(X)$,
# and $\delta = 1 - q_1$. *2.* Let $\sigma_1 = 1$, followed by $m$ values $1 / m$. Then
# $\delta = (1/m) / (1 + 1/m) \le 1 / m$. The shares are $p_1 = 1/2$ and $m$ times $1 / (2m)$, so
# $H(p) = \tfrac12 \log 2 + \tfrac12 \log (2m)$, which is $\log (2 \sqrt m)$, and
# $\mathrm{eRank}(X) = 2 \sqrt m$. Take $m \ge \max(R^2 / 4, 1 / \varepsilon)$.
# ```
#
# So a weak but long tail, such as noise in many directions, raises effective rank without moving
# anything that a truncation could see. A change of effective rank may come from the tail alone.

# %% tags=["nbval-check-output"]
for m in (4, 25, 400):
    values = torch.full((m + 1,), 1 / m, dtype=torch.float64)
    values[0] = 1
    missed = float(1 - values[0] ** 2 / values.square().sum())
    print(f"m = {m}: eRank {effective_rank(torch.diag(values)):.2f}, missed {missed:.4f}")

# %% [markdown]
# *Question.* Layer normalisation rescales every row before a module reads it. Which of the counts
# does a common scale change, and which does it leave alone?
#
# ## Through the layers
#
# Now the trained model. For the figure under the answer every state after an update was decomposed,
# for {glue:text}`n_questions` held-out questions; bands are 95% bootstrap intervals over images.
# Mean effective rank moves within a range of {glue:text}`erank_range` dimensions, out of a mean
# rank of {glue:text}`mean_rank`. Where it and the participation ratio part, strong and weak
# directions move apart.

# %% tags=["remove-cell"]
run.claim(
    "C007",
    statement="Effective rank is at least this, and at most min(S, H)",
    paper=claimed("C007"),
    measured="shown for every matrix",
    tolerance="a proof",
    verdict="proved",
    note="The upper bound is the rank; equality is characterised.",
)
glue("verdict_c007", run.claims[0].verdict, display=False)

# %% [markdown]
# ## Exercises
#
# Write each function; the cell below it checks yours. `make exercises` writes these chapters
# without the solutions.
#
# ```{exercise} What a truncation misses
# :label: ex-rank-k-error
#
# *Warm-up, 10 minutes.* Write `rank_k_error(x, k)`: the relative error
# $\|X - X_k\|_F / \|X\|_F$ of the best approximation of rank $k$, without forming $X_k$.
#
# :::{dropdown} Hint
# {prf:ref}`thm-eckart-young` gives the error as a sum over the singular values.
# :::
# ```
#
# ```{solution} ex-rank-k-error
# :class: dropdown
#
# Both norms are roots of sums of squared singular values, over $i > k$ and over all $i$.
# ```

# %% tags=["solution", "hide-input"]
import torch


def rank_k_error(x, k):
    """Relative Frobenius error of the best rank-k approximation of the matrix x."""
    sigma = torch.linalg.svdvals(x)
    return float(sigma[k:].norm() / sigma.norm())


# %% tags=["exercise-check"]
from lost_in_attention.teaching.effective_rank import check_rank_k_error

check_rank_k_error(rank_k_error)

# %% [markdown]
# ```{exercise} One formula for all counts
# :label: ex-hill-number
#
# *Medium, 20 minutes.* With weights $w_i = \sigma_i^a / \sum_j \sigma_j^a$, the number of order $b$
# is $N_b = \big(\sum_i w_i^b\big)^{1/(1-b)}$ over the positive weights. Write
# `hill_number(sigma, power, order)` for every order from 0 to infinity. Which power and order give
# rank, effective rank, participation ratio and stable rank?
#
# :::{dropdown} Hint
# The orders 1 and infinity are limits.
# :::
# ```
#
# ```{solution} ex-hill-number
# :class: dropdown
#
# At order 1 the limit is $e^{H(w)}$, at order infinity $1 / \max_i w_i$. Rank has order 0 (with any
# power), effective rank power 1 and order 1, participation ratio power 2 and order 2, stable rank
# power 2 and order infinity. A higher order and a higher power both count less:
# {prf:ref}`thm-order-of-counts` walks along this family.
# ```

# %% tags=["solution", "hide-input"]
import math

import torch


def hill_number(sigma, power, order):
    """Number of order `order` of the weights sigma^power / sum(sigma^power), zeros left out."""
    weights = sigma[sigma > 0] ** power
    weights = weights / weights.sum()
    if order == 1:
        return math.exp(float(torch.special.entr(weights).sum()))
    if math.isinf(order):
        return float(1 / weights.max())
    return float((weights**order).sum()) ** (1 / (1 - order))


# %% tags=["exercise-check"]
from lost_in_attention.teaching.effective_rank import check_hill_number

check_hill_number(hill_number)

# %% [markdown]
# ```{exercise} A spectrum that misleads
# :label: ex-misleading-spectrum
#
# *Hard, 25 minutes.* Write `misleading_spectrum(target, error)`: singular values, as a vector, with
# effective rank at least `target` of which one direction holds all but a share `error` of the
# energy, with no more values than the proof of {prf:ref}`thm-erank-and-error` needs: for a target
# $t$ and an error $\varepsilon$ that is $\lceil \max(t^2 / 4, 1 / \varepsilon) \rceil + 2$. Can you
# do with fewer?
#
# :::{dropdown} Hint
# One value of 1 and $m$ equal small ones; let their sum be $c$.
# :::
# ```
#
# ```{solution} ex-misleading-spectrum
# :class: dropdown
#
# With $c = 1$ this is the proof. A larger sum $c$ trades energy for entropy: the tail holds
# $c^2 / (m + c^2)$ of the energy, and $H = \log(1 + c) + \frac{c}{1+c} \log (m / c)$, so the
# exponent of $m$ grows from $1/2$ towards 1. For a large target and a mild error, $c > 1$ needs
# fewer values. The number of values bounds the deception: effective rank is at most $m + 1$.
# ```

# %% tags=["solution", "hide-input"]
import math

import torch


def misleading_spectrum(target, error):
    """Singular values with eRank >= target and rank-one error (share of energy) <= error."""
    m = math.ceil(max(target**2 / 4, 1 / error)) + 1
    sigma = torch.full((m + 1,), 1 / m, dtype=torch.float64)
    sigma[0] = 1
    return sigma


# %% tags=["exercise-check"]
from lost_in_attention.teaching.effective_rank import check_misleading_spectrum

check_misleading_spectrum(misleading_spectrum)

# %% [markdown]
# ```{exercise} The update that expands most
# :label: ex-erank-gradient
#
# *Research, 60 minutes.* For a matrix with distinct positive singular values, find the gradient of
# $\mathrm{eRank}(X)$ and write `effective_rank_gradient(x)`. Then take a state of `states` and
# measure the cosine between the gradient and the update that follows. Do attention or FFN updates
# point where effective rank grows?
#
# :::{dropdown} Hint
# $\partial \sigma_i / \partial X = u_i v_i^\top$, and every $p_j$ depends on
# every $\sigma_i$.
# :::
# ```
#
# ```{solution} ex-erank-gradient
# :class: dropdown
#
# With $s = \sum_j \sigma_j$,
# $\partial H / \partial \sigma_i = -(\log p_i + H) / s$, so the gradient is
# $-\frac{\mathrm{eRank}}{s} \, U \, \mathrm{diag}(\log p_i + H) \, V^\top$. It raises the values
# with $p_i < e^{-H}$ and lowers those above: the line is drawn at $1 / \mathrm{eRank}$, the height
# of the dashed box. The slope grows without bound as $p_i$ falls, which is the tail again. Report
# the cosines of all updates with an interval over images, and beside them those of random matrices
# of the same size.
# ```

# %% tags=["solution", "hide-input"]
import torch


def effective_rank_gradient(x):
    """Gradient of eRank at the matrix x, of the shape of x."""
    u, sigma, vt = torch.linalg.svd(x, full_matrices=False)
    p = sigma / sigma.sum()
    entropy = torch.special.entr(p).sum()
    slopes = -(p.log() + entropy) * entropy.exp() / sigma.sum()
    return (u * slopes) @ vt


# %% tags=["exercise-check"]
from lost_in_attention.teaching.effective_rank import check_effective_rank_gradient

check_effective_rank_gradient(effective_rank_gradient)
