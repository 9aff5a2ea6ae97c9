"""Exercises: what a learner may well write, and is wrong, fails the check.

Each answer is wrong in one way: a factor, an axis, an end, a sign, pairs that are torn apart.
"""

import math
from itertools import chain, pairwise, product

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chi2, ttest_ind

from lost_in_attention.metrics.mixing import token_mixing_entropy
from lost_in_attention.metrics.rid import effective_rank as erank
from lost_in_attention.metrics.rid import rid as rid_of
from lost_in_attention.metrics.rid import support_innovation
from lost_in_attention.teaching import (
    CheckFailed,
    audit,
    effective_rank,
    key_region_ratio,
    layerwise_curves,
    modulewise,
    projectors,
    readings,
    residual_stream,
    rid,
    rope_tolerance,
    sap,
    sap_cost,
    sap_where,
    sink,
    size_or_novelty,
    token_mixing,
    tracing,
    training_dynamics,
)


def gram_projector(x, width):
    """Jumps as the projector does."""
    values, vectors = torch.linalg.eigh(x.T @ x)
    kept = vectors[:, values > width**2]
    return kept @ kept.T


def both_supports(join):
    """An answer to `lost_support` that puts its two terms together in a wrong way."""

    def answer(before, after):
        columns = 2 * support_innovation(after, before)
        q = torch.linalg.qr(after)[0][:, : int(torch.linalg.matrix_rank(after))]
        tokens = float((before - q @ (q.T @ before)).norm() / before.norm())
        return join(tokens, columns - tokens)

    return answer


def constant_spectrum(target, error):
    """Good enough for every target that the check asks for, and far too long for most."""
    sigma = torch.full((5000,), 1 / 2500, dtype=torch.float64)
    sigma[0] = 1
    return sigma


def unclamped_entropy(x):
    x = x / x.norm(dim=1, keepdim=True)
    p = (1 + x @ x.T) / 2
    p = p / p.sum(1, keepdim=True)
    return float(torch.special.entr(p).sum(1).mean())


THEORY = {
    "projected once": (
        projectors.check_residual_norm,
        lambda basis, y: float((y - basis @ (basis.T @ y)).norm()),
    ),
    "in double precision": (
        projectors.check_residual_norm,
        lambda basis, y: float(
            (y.double() - (q := torch.linalg.qr(basis.double()).Q) @ (q.T @ y.double())).norm()
        ),
    ),
    "in double precision, by numpy": (
        projectors.check_residual_norm,
        lambda basis, y: float(
            np.linalg.norm(
                (v := y.numpy().astype(float))
                - (q := np.linalg.qr(basis.numpy().astype(float)).Q) @ (q.T @ v)
            )
        ),
    ),
    "root of a difference": (
        projectors.check_residual_norm,
        lambda basis, y: (y.norm() ** 2 - (basis.T @ y).norm() ** 2).clamp(min=0).sqrt(),
    ),
    "arc cosine": (
        projectors.check_principal_angles,
        lambda a, b: (
            torch.linalg.svdvals(torch.linalg.qr(a).Q.T @ torch.linalg.qr(b).Q).clamp(max=1).acos()
        ),
    ),
    "basis taken for orthonormal": (projectors.check_projector, lambda basis: basis @ basis.T),
    "hard cut-off": (projectors.check_soft_projector, gram_projector),
    "squared error": (
        effective_rank.check_rank_k_error,
        lambda x, k: float((torch.linalg.svdvals(x)[k:].norm() / x.norm()) ** 2),
    ),
    "one value too many": (
        effective_rank.check_rank_k_error,
        lambda x, k: float(torch.linalg.svdvals(x)[k + 1 :].norm() / x.norm()),
    ),
    "flat spectrum": (
        effective_rank.check_misleading_spectrum,
        lambda target, error: torch.ones(int(target) + 1),
    ),
    "one spectrum for all": (effective_rank.check_misleading_spectrum, constant_spectrum),
    "some matrix of the right shape": (
        effective_rank.check_effective_rank_gradient,
        lambda x: (
            torch.linalg.svd(x, full_matrices=False).U @ torch.linalg.svd(x)[2][: min(x.shape)]
        ),
    ),
    "no clamp": (token_mixing.check_mixing_entropy, unclamped_entropy),
    **{
        f"lost support, {name}": (rid.check_lost_support, both_supports(join))
        for name, join in {
            "tokens alone": lambda one, other: one,
            "features alone": lambda one, other: other,
            "root mean square": lambda one, other: math.hypot(one, other) / math.sqrt(2),
            "the larger": max,
            "geometric mean": lambda one, other: math.sqrt(max(one * other, 0)),
        }.items()
    },
}


def sizes(ratio):
    """An answer to `update_sizes` from a function of a state and the next."""
    return lambda states: [float(ratio(*pair)) for pair in pairwise(states)]


RIGHT_SIZES = sizes(lambda x, y: (y - x).norm() / y.norm())
STREAM = {
    "over the state before": sizes(lambda x, y: (y - x).norm() / x.norm()),
    "squared": sizes(lambda x, y: ((y - x).norm() / y.norm()) ** 2),
    "longest direction": sizes(
        lambda x, y: torch.linalg.matrix_norm(y - x, 2) / torch.linalg.matrix_norm(y, 2)
    ),
    "mean over tokens": sizes(
        lambda x, y: ((y - x).norm(dim=1) / y.norm(dim=1).clamp(min=1e-9)).mean()
    ),
    "a difference of lengths": sizes(lambda x, y: (y.norm() - x.norm()).abs() / y.norm()),
    "from the first state": lambda states: [float((y - states[0]).norm() / y.norm())
                                            for y in states[1:]],
    "one size too many": lambda states: [0.0, *RIGHT_SIZES(states)],
}  # fmt: skip


def weights(end, between):
    def answer(layers):
        return [end(layers), *[between(layers)] * (layers - 2), end(layers)]

    return answer


DEPTH = {
    "plain mean": weights(lambda n: 1 / n, lambda n: 1 / n),
    "1/28 in deep models too": weights(lambda n: 1 / 28, lambda n: (1 - 2 / 28) / (n - 2)),
    "the others not raised": weights(lambda n: min(1 / 28, 1 / n), lambda n: 1 / n),
    "the rest over one layer too many": weights(
        lambda n: min(1 / 28, 1 / n), lambda n: (1 - 2 * min(1 / 28, 1 / n)) / (n - 1)
    ),
    "only the first end": lambda n: [
        min(1 / 28, 1 / n),
        *[(1 - min(1 / 28, 1 / n)) / (n - 1)] * (n - 1),
    ],
    "the larger of the two": weights(lambda n: max(1 / 28, 1 / n), lambda n: 1 / n),
}


def gains(join):
    """An answer to `gains_by_module` from all gains in order."""

    def answer(states):
        entropies = [token_mixing_entropy(x) for x in states]
        return join(np.diff(entropies))

    return answer


GAINS = {
    "modules swapped": gains(lambda d: (d[1::2].sum(), d[0::2].sum())),
    "loss in place of gain": gains(lambda d: (-d[0::2].sum(), -d[1::2].sum())),
    "means": gains(lambda d: (d[0::2].mean(), d[1::2].mean())),
    "in bits": gains(lambda d: (d[0::2].sum() / math.log(2), d[1::2].sum() / math.log(2))),
    "absolute values": gains(lambda d: (abs(d[0::2]).sum(), abs(d[1::2]).sum())),
    "first half and second": gains(lambda d: (d[: len(d) // 2].sum(), d[len(d) // 2 :].sum())),
    "half of the whole each": gains(lambda d: (d.sum() / 2, d.sum() / 2)),
}


def noise(mean, spread):
    """An answer to `feature_noise` from what it takes for the moments."""

    def answer(update, seed):
        random = torch.Generator().manual_seed(seed)
        drawn = torch.randn(update.shape, generator=random, dtype=update.dtype)
        return mean(update) + spread(update) * drawn

    return answer


FEATURE_NOISE = {
    "moments of the whole": noise(lambda x: x.mean(), lambda x: x.std()),
    "over features": noise(lambda x: x.mean(1, keepdim=True), lambda x: x.std(1, keepdim=True)),
    "variance": noise(lambda x: x.mean(0), lambda x: x.var(0)),
    "no mean": noise(lambda x: 0, lambda x: x.std(0)),
    "one spread": noise(lambda x: x.mean(0), lambda x: x.std()),
    "tokens shuffled": lambda x, seed: x[
        torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    ],
    "the seed forgotten": lambda x, seed: noise(lambda x: x.mean(0), lambda x: x.std(0))(x, 0),
    "chance from outside": lambda x, seed: x.mean(0) + x.std(0) * torch.randn_like(x),
}


def interval(mean, error, times=1.96):
    return mean, mean - times * error, mean + times * error


def by_image(values, images):
    values, names = np.asarray(values), np.asarray(images)
    return np.array([values[names == name].mean() for name in np.unique(names)])


PAIRED = {
    "unpaired": lambda f, a, i: interval(
        (f - a).mean(),
        math.hypot(by_image(f, i).std(ddof=1), by_image(a, i).std(ddof=1)) / math.sqrt(len(set(i))),
    ),
    "by question": lambda f, a, i: interval((f - a).mean(), (f - a).std(ddof=1) / len(f) ** 0.5),
    "spread, not error": lambda f, a, i: interval((f - a).mean(), by_image(f - a, i).std(ddof=1)),
    "over n": lambda f, a, i: interval(
        (f - a).mean(), by_image(f - a, i).std() / len(set(i)) ** 0.5
    ),
    "images counted as questions": lambda f, a, i: interval(
        (f - a).mean(), by_image(f - a, i).std(ddof=1) / len(f) ** 0.5
    ),
    "one standard error": lambda f, a, i: interval(
        (f - a).mean(), by_image(f - a, i).std(ddof=1) / len(set(i)) ** 0.5, 1
    ),
    "the other way round": lambda f, a, i: interval(
        (a - f).mean(), by_image(f - a, i).std(ddof=1) / len(set(i)) ** 0.5
    ),
}


def turned(exponent, sign=1, rows=lambda x: torch.arange(len(x), dtype=x.dtype)):
    """An answer to `rotate` in halves, from the exponent of pair i of d features."""

    def answer(x, base):
        half = x.shape[1] // 2
        pairs = torch.arange(half, dtype=x.dtype)
        angles = rows(x)[:, None] * base ** exponent(pairs, x.shape[1])
        one, other = x[:, :half], x[:, half:]
        cos, sin = angles.cos(), angles.sin()
        return torch.cat([one * cos - sign * other * sin, one * sin + other * cos], 1)

    return answer


def usual(pairs, d):
    return -2 * pairs / d


ROTATE = {
    "factor of two": turned(lambda i, d: -i / d),
    "frequencies upside down": turned(lambda i, d: 2 * i / d),
    "one frequency": turned(lambda i, d: 0 * i),
    "a sign": turned(usual, sign=-1),
    "positions from 1": turned(usual, rows=lambda x: torch.arange(1, len(x) + 1, dtype=x.dtype)),
    "positions backwards": turned(
        usual, rows=lambda x: torch.arange(len(x) - 1, -1, -1, dtype=x.dtype)
    ),
    "base forgotten": lambda x, base: turned(usual)(x, 10_000.0),
    "added, not rotated": lambda x, base: x + torch.arange(len(x), dtype=x.dtype)[:, None].sin(),
}
TOLERANCE = {
    "the other direction": lambda one, two: np.mean(
        [rid_of(b, a).total for a, b in zip(one[1:], two[1:], strict=True)]
    ),
    "layer 0 too": lambda one, two: np.mean(
        [rid_of(a, b).total for a, b in zip(one, two, strict=True)]
    ),
    "sum": lambda one, two: sum(
        rid_of(a, b).total for a, b in zip(one[1:], two[1:], strict=True)
    ),
    "last layer": lambda one, two: rid_of(one[-1], two[-1]).total,
    "support alone": lambda one, two: np.mean(
        [support_innovation(a, b) for a, b in zip(one[1:], two[1:], strict=True)]
    ),
    "divided by all layers": lambda one, two: (
        sum(rid_of(a, b).total for a, b in zip(one[1:], two[1:], strict=True)) / len(one)
    ),
    "rank alone": lambda one, two: np.mean(
        [abs(erank(a) - erank(b)) / 2 for a, b in zip(one[1:], two[1:], strict=True)]
    ),
}  # fmt: skip

RESIZE = {
    "over the state before": lambda x, d, s: float(s * x.norm() / d.norm()),
    "over the state after": lambda x, d, s: float(s * (x + d).norm() / d.norm()),
    "as if orthogonal": lambda x, d, s: float(s * x.norm() / d.norm() / math.sqrt(1 - s**2)),
    "the size itself": lambda x, d, s: s,
    "squares": lambda x, d, s: float(s * x.square().sum() / d.square().sum()),
    "half of the middle term": lambda x, d, s: (
        (lambda m, q, n: (s**2 * m / 2 + math.sqrt((s**2 * m / 2) ** 2 + (1 - s**2) * s**2 * q * n))
         / ((1 - s**2) * q))(float((x * d).sum()), float(d.square().sum()), float(x.square().sum()))
    ),
}  # fmt: skip


def patterns(count):
    """An answer to `sign_flip_p` from all sums and the one that was found."""

    def answer(differences):
        signs = np.array(list(product((1, -1), repeat=len(differences))))
        return float(count(signs @ np.array(differences), sum(differences)))

    return answer


SIGN_FLIP = {
    "one side": patterns(lambda sums, found: (sums >= found - 1e-9).mean()),
    "no ties": patterns(lambda sums, found: (abs(sums) > abs(found) + 1e-9).mean()),
    "twice one side": patterns(lambda sums, found: 2 * (sums >= abs(found) - 1e-9).mean()),
    "one minus p": patterns(lambda sums, found: 1 - (abs(sums) >= abs(found) - 1e-9).mean()),
    "sign test": lambda d: binomtest(sum(x > 0 for x in d), sum(x != 0 for x in d)).pvalue,
    "the found one left out": patterns(
        lambda sums, found: ((abs(sums) >= abs(found) - 1e-9).sum() - 1) / (len(sums) - 1)
    ),
}


def kept(energy, count):
    """An answer to `directions_kept` from energies and how cumulated shares are counted."""
    return lambda sigma, share: int(count(energy(sigma).cumsum(0) / energy(sigma).sum(), share))


def falling(sigma):
    return sigma.sort(descending=True).values


KEPT = {
    "sums, not squares": kept(falling, lambda c, s: (c < s - 1e-12).sum() + 1),
    "one too few": kept(lambda x: falling(x) ** 2, lambda c, s: (c < s - 1e-12).sum()),
    "one too many": kept(lambda x: falling(x) ** 2, lambda c, s: (c <= s + 1e-12).sum() + 1),
    "smallest first": kept(lambda x: x.sort().values ** 2, lambda c, s: (c < s - 1e-12).sum() + 1),
    "in the order given": kept(lambda x: x**2, lambda c, s: (c < s - 1e-12).sum() + 1),
    "each above the share": lambda x, s: int((x**2 >= (1 - s) * (x**2).max()).sum()),
    "a share of the directions": lambda x, s: math.ceil(s * len(x)),
}


def released(power=8, row=lambda p: p[-1], over=lambda n: math.log(n)):
    """An answer to `released_entropy` with one choice made in another way."""

    def answer(x):
        x = x / x.norm(dim=1, keepdim=True)
        w = ((1 + x @ x.T) / 2).clamp(min=0) ** power
        p = w / w.sum(1, keepdim=True)
        return float(row(torch.special.entr(p).sum(1))) / over(len(x))

    return answer


RELEASED = {
    "power left out": released(power=1),
    "another power": released(power=4),
    "first row": released(row=lambda h: h[0]),
    "mean over rows": released(row=lambda h: h.mean()),
    "not over log S": released(over=lambda n: 1),
    "over S": released(over=lambda n: n),
    "the paper's own": token_mixing_entropy,
    "over log 2": released(over=lambda n: math.log(2)),
}


def parted(steps, lows, highs, holds):
    found = math.inf
    for step, low, high in reversed(list(zip(steps, lows, highs, strict=True))):
        if not holds(low, high):
            break
        found = step
    return found


def after_last_open(steps, lows, highs):
    """Whichever side: a change from one to the other is not seen."""
    return parted(steps, lows, highs, lambda low, high: low > 0 or high < 0)


PARTING = {
    "the first clear step": lambda t, low, high: next(
        (s for s, a, b in zip(t, low, high, strict=True) if a > 0 or b < 0), math.inf
    ),
    "whichever side": after_last_open,
    "above zero alone": lambda t, low, high: parted(t, low, high, lambda a, b: a > 0),
    "by the middle": lambda t, low, high: parted(
        t, low, high, lambda a, b: (a + b) * (low[-1] + high[-1]) > 0
    ),
    "one step late": lambda t, low, high: dict(zip(t, [*t[1:], math.inf], strict=True)).get(
        parted(t, low, high, lambda a, b: a > 0 if low[-1] > 0 else b < 0), math.inf
    ),
    "one step early": lambda t, low, high: dict(zip(t, [t[0], *t], strict=False)).get(
        parted(t, low, high, lambda a, b: a > 0 if low[-1] > 0 else b < 0), math.inf
    ),
    "the place, not the step": lambda t, low, high: parted(
        range(len(t)), low, high, lambda a, b: a > 0 if low[-1] > 0 else b < 0
    ),
}


def resampled(draw, ends=(0.025, 0.975)):
    """An answer to `bootstrap_interval` from a function that draws one mean."""

    def answer(values, images, seed):
        random = np.random.default_rng(seed)
        images = np.asarray(images)
        groups = [values[images == name] for name in np.unique(images)]
        means = [draw(values, groups, random) for _ in range(1000)]
        return tuple(np.quantile(means, ends))

    return answer


def of_images(values, groups, random):
    return np.concatenate(
        [groups[i] for i in random.integers(len(groups), size=len(groups))]
    ).mean()


BOOTSTRAP = {
    "questions": resampled(lambda v, g, r: v[r.integers(len(v), size=len(v))].mean()),
    "ends of 90%": resampled(of_images, (0.05, 0.95)),
    "spread of values": lambda v, i, seed: tuple(np.quantile(v, [0.025, 0.975])),
    "one question an image": resampled(
        lambda v, g, r: np.mean([r.choice(g[i]) for i in r.integers(len(g), size=len(g))])
    ),
    "mean of the images' means": resampled(
        lambda v, g, r: np.mean([g[i].mean() for i in r.integers(len(g), size=len(g))])
    ),
    "without replacement": resampled(
        lambda v, g, r: np.concatenate([g[i] for i in r.permutation(len(g))]).mean()
    ),
    "ends swapped": lambda v, i, seed: resampled(of_images)(v, i, seed)[::-1],
    "the seed forgotten": lambda v, i, seed: resampled(of_images)(
        v, i, int(np.random.default_rng().integers(10**9))
    ),
    "half the images": resampled(
        lambda v, g, r: np.concatenate([g[i] for i in r.integers(len(g), size=len(g) // 2)]).mean()
    ),
}


def causal(scores):
    later = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(later, -torch.inf)


def replaced(scores, visual, prior):
    scores = scores.clone()
    scores[:, visual] = prior
    return scores


def replaced_rows(scores, visual, prior):
    scores = scores.clone()
    scores[visual] = prior[:, None]
    return scores


PRIOR_ROWS = {
    "replaced behind the softmax": lambda s, v, p: replaced(causal(s).softmax(1), v, p.softmax(0)),
    "not causal": lambda s, v, p: replaced(s, v, p).softmax(1),
    "masked behind the softmax": lambda s, v, p: replaced(s, v, p).softmax(1).tril(),
    "over queries": lambda s, v, p: causal(replaced(s, v, p)).softmax(0),
    "rows, not columns": lambda s, v, p: causal(replaced_rows(s, v, p)).softmax(1),
    "added": lambda s, v, p: causal(replaced(s, v, s[:, v] + p)).softmax(1),
    "exponentials that overflow": lambda s, v, p: (
        (w := causal(replaced(s, v, p)).exp()) / w.sum(1, keepdim=True)
    ),
    "itself hidden too": lambda s, v, p: replaced(s, v, p).masked_fill(
        torch.ones_like(s, dtype=torch.bool).triu(0), -torch.inf
    ).softmax(1),
}  # fmt: skip


def changed(count):
    """An answer to `mcnemar_p` from the answers lost, those gained, and how many there are."""

    def answer(one, other):
        lost, gained = int((one > other).sum()), int((other > one).sum())
        return float(count(lost, gained, len(one)))

    return answer


MCNEMAR = {
    "one side": changed(
        lambda b, c, n: binomtest(c, b + c, alternative="greater").pvalue if b + c else 1.0
    ),
    "all questions": changed(lambda b, c, n: binomtest(c, n).pvalue if n else 1.0),
    "chi squared": changed(lambda b, c, n: chi2.sf((b - c) ** 2 / max(b + c, 1), 1)),
    "corrected chi squared": changed(
        lambda b, c, n: chi2.sf(max(abs(b - c) - 1, 0) ** 2 / max(b + c, 1), 1)
    ),
    "unpaired": lambda one, other: (
        float(ttest_ind(one, other).pvalue) if len(one) > 1 and np.ptp(one) + np.ptp(other) else 1.0
    ),
    "nothing changed is no evidence of 0": changed(
        lambda b, c, n: binomtest(c, b + c).pvalue if b + c else 0.0
    ),
    "twice one tail": changed(
        lambda b, c, n: (
            2 * binomtest(c, b + c, alternative="greater").pvalue if b + c else 1.0
        )
    ),
}  # fmt: skip


def band(key, stands, holds=lambda low, share, high: low - 1e-9 <= share <= high + 1e-9):
    """An answer to `heads_in_band` from the order of the heads and where a rank stands."""

    def answer(shares, low, high):
        n = len(shares)
        order = sorted(range(n), key=lambda head: key(shares[head]))
        return [head for rank, head in enumerate(order) if holds(low, stands(rank, n), high)]

    return answer


def at(rank, n):
    return rank / (n - 1)


BAND = {
    "least text first": band(lambda s: s, at),
    "rank over n": band(lambda s: -s, lambda r, n: r / n),
    "ranks from 1": band(lambda s: -s, lambda r, n: (r + 1) / n),
    "ends left out": band(lambda s: -s, at, lambda low, s, high: low < s < high),
    "upper end left out": band(lambda s: -s, at, lambda low, s, high: low <= s < high - 1e-9),
    "lower end left out": band(lambda s: -s, at, lambda low, s, high: low + 1e-9 < s <= high),
    "the shares themselves": lambda s, low, high: [
        h for h, share in enumerate(s) if low <= share <= high
    ],
    "ranks, not heads": lambda s, low, high: [
        r for r in range(len(s)) if low - 1e-9 <= at(r, len(s)) <= high + 1e-9
    ],
}  # fmt: skip


def leads(choose, against=lambda shares, best: shares.mean()):
    """An answer to `chosen_and_honest` from how a band is chosen, here and elsewhere."""

    def answer(correct, first):
        here, there = correct[:, first].mean(1), correct[:, ~first].mean(1)
        one, other = choose(here, there)
        return here[one] - against(here, one), there[other] - against(there, other)

    return answer


CHOSEN = {
    "best on each half": leads(lambda h, t: (h.argmax(), t.argmax())),
    "chosen elsewhere": leads(lambda h, t: (t.argmax(), t.argmax())),
    "chosen on all": leads(lambda h, t: ((h + t).argmax(), (h + t).argmax())),
    "the worst": leads(lambda h, t: (h.argmin(), h.argmin())),
    "over the other bands": leads(
        lambda h, t: (h.argmax(), h.argmax()), lambda s, best: np.delete(s, best).mean()
    ),
    "over the best of the others": leads(
        lambda h, t: (h.argmax(), h.argmax()), lambda s, best: np.delete(s, best).max()
    ),
    "the accuracies": leads(lambda h, t: (h.argmax(), h.argmax()), lambda s, best: 0),
    "halves swapped": lambda c, f: leads(lambda h, t: (h.argmax(), h.argmax()))(c, f)[::-1],
}

FLOPS = {
    "a factor of two": lambda s, t, h, r, d: d * ((h - r) * s * s + r * s * t),
    "no features": lambda s, t, h, r, d: 2 * ((h - r) * s * s + r * s * t),
    "text queries alone": lambda s, t, h, r, d: 2 * d * ((h - r) * s * s + r * t * t),
    "visual keys kept": lambda s, t, h, r, d: 2 * d * ((h - r) * s * s + r * s * (s - t)),
    "nothing left": lambda s, t, h, r, d: 2 * d * (h - r) * s * s,
    "heads swapped": lambda s, t, h, r, d: 2 * d * (r * s * s + (h - r) * s * t),
    "mean over heads": lambda s, t, h, r, d: 2 * d * ((h - r) * s * s + r * s * t) / h,
    "causal half": lambda s, t, h, r, d: d * ((h - r) * s * (s + 1) + r * t * (s + 1)),
}


def prefix(weights, values):
    return (weights * values).cumsum(0) / weights.cumsum(0)


AVERAGE = {
    "no exponential": lambda p, v: prefix(p[:, None], v),
    "overflow": lambda p, v: prefix(p.exp()[:, None], v),
    "all tokens": lambda p, v: (p.softmax(0) @ v).expand_as(v),
    "itself left out": lambda p, v: torch.cat(
        [v[:1], prefix((p - p.max()).exp()[:, None], v)[:-1]]
    ),
    "plain mean": lambda p, v: prefix(torch.ones(len(p), 1, dtype=v.dtype), v),
    "one sum for all": lambda p, v: (p.softmax(0)[:, None] * v).cumsum(0),
    "written out": lambda p, v: causal(p.expand(len(p), len(p))).softmax(1) @ v,
    "from the end": lambda p, v: prefix((p - p.max()).exp()[:, None].flip(0), v.flip(0)).flip(0),
}


def edges(matrix, flip=True, keep=lambda w, t: w >= t):
    """An answer to `attention_edges` from one matrix for all heads."""

    def answer(weights, threshold):
        pairs = keep(matrix(weights), threshold).nonzero().tolist()
        return [(j, i) if flip else (i, j) for i, j in pairs]

    return answer


EDGES = {
    "target first": edges(lambda w: w.mean(0), flip=False),
    "threshold left out": edges(lambda w: w.mean(0), keep=lambda w, t: w > t),
    "any head": edges(lambda w: w.amax(0)),
    "all heads": edges(lambda w: w.amin(0)),
    "sum of heads": edges(lambda w: w.sum(0)),
    "first head": edges(lambda w: w[0]),
    "rows made to sum to one": edges(
        lambda w: w.mean(0) / w.mean(0).sum(1, keepdim=True).clamp(min=1e-9)
    ),
    "no self-edges": edges(lambda w: w.mean(0).fill_diagonal_(0)),
}


def chained(layers, start):
    found = {start}
    for pairs in layers:
        for source, target in sorted(pairs):
            if source in found:
                found.add(target)
    return found


def moved(layers, start):
    """The residual stream forgotten: only what was written in the last layer is left."""
    found = {start}
    for pairs in layers:
        found = {target for source, target in pairs if source in found}
    return found


def forwards(layers, start):
    found = {start}
    for pairs in layers:
        found |= {target for source, target in pairs if source in found}
    return found


REACHED = {
    "two steps in one layer": chained,
    "no residual stream": moved,
    "layers from the end": lambda layers, start: forwards(layers[::-1], start),
    "all layers as one": lambda layers, start: forwards(
        [list(chain(*layers))] * len(layers), start
    ),
    "one layer alone": lambda layers, start: forwards(layers[:1], start),
    "backwards along edges": lambda layers, start: forwards(
        [[(j, i) for i, j in pairs] for pairs in layers], start
    ),
    "the start left out": lambda layers, start: forwards(layers, start) - {start},
}  # fmt: skip


def touching(count):
    """An answer to `region_ratio` from how one edge counts."""
    return lambda pairs, region: (
        sum(count(j in region, i in region) for j, i in pairs) / len(pairs) if pairs else math.nan
    )


RATIO = {
    "both ends": touching(lambda j, i: j and i),
    "each end counts": touching(lambda j, i: j + i),
    "half an edge an end": touching(lambda j, i: (j + i) / 2),
    "target alone": touching(lambda j, i: i),
    "source alone": touching(lambda j, i: j),
    "one end exactly": touching(lambda j, i: j != i),
    "no self-edges": lambda pairs, region: touching(lambda j, i: j or i)(
        [(j, i) for j, i in pairs if j != i], region
    ),
    "no edges are zero": lambda pairs, region: (
        touching(lambda j, i: j or i)(pairs, region) if pairs else 0.0
    ),
}  # fmt: skip
UNIFORM = {
    "share of the tokens": lambda n, k: k / n,
    "twice the share": lambda n, k: min(2 * k / n, 1),
    "any two tokens": lambda n, k: 1 - ((n - k) / n) ** 2,
    "no self-edges": lambda n, k: 1 - (n - k) * (n - k - 1) / (n * (n - 1)) if n > 1 else 1,
    "both ends": lambda n, k: k * (k + 1) / (n * (n + 1)),
    "off by one": lambda n, k: 1 - (n - k - 1) * (n - k) / (n * (n + 1)),
    "the others": lambda n, k: (n - k) * (n - k + 1) / (n * (n + 1)),
}


def without(rows):
    """An answer to `rank_without_sinks` from a mask of the rows that go."""
    return lambda x, times: erank(x[~rows(x, times)])


SINKS = {
    "the longest row": lambda x, times: erank(x[x.norm(dim=1) < x.norm(dim=1).max()]),
    "sign forgotten": without(lambda x, t: x.amax(1) >= t * x.abs().median()),
    "signed median": without(lambda x, t: x.abs().amax(1) >= t * x.median().abs()),
    "times the mean": without(lambda x, t: x.abs().amax(1) >= t * x.abs().mean()),
    "median of lengths": without(lambda x, t: x.norm(dim=1) >= t * x.norm(dim=1).median()),
    "the length of the row": without(lambda x, t: x.norm(dim=1) >= t * x.abs().median()),
    "the feature": lambda x, t: erank(x[:, x.abs().amax(0) < t * x.abs().median()]),
    "one entry set to zero": lambda x, t: erank(
        x.masked_fill(x.abs() >= t * x.abs().median(), 0)
    ),
    "only one of them": lambda x, t: erank(
        x[torch.arange(len(x)) != x.abs().amax(1).argmax()]
        if x.abs().max() >= t * x.abs().median() else x
    ),
    "all tokens": lambda x, t: erank(x),
}  # fmt: skip
LAYER_SHARE = {
    "mean of shares": lambda g, n: float((g[:, n] / g.sum(1)).mean()),
    "absolute values": lambda g, n: float(g[:, n].abs().sum() / g.abs().sum()),
    "over the mean": lambda g, n: float(g[:, n].mean() / g.mean()),
    "over the others": lambda g, n: float(g[:, n].sum() / (g.sum() - g[:, n].sum())),
    "the difference itself": lambda g, n: float(g[:, n].mean()),
    "one layer off": lambda g, n: float(g[:, n - 1].sum() / g.sum()),
    "passages for layers": lambda g, n: float(g[min(n, len(g) - 1)].sum() / g.sum()),
    "squares": lambda g, n: float(g[:, n].square().sum() / g.square().sum()),
}


WHOLE = {
    "equal numbers": lambda p, n: p * n / 100 == round(p * n / 100),
    "rounded down": lambda p, n: abs(100 * math.floor(p * n / 100) / n - p) <= 0.005 + 1e-9,
    "a whole hundredth": lambda p, n: abs(100 * round(p * n / 100) / n - p) <= 0.01 + 1e-9,
    "a tenth": lambda p, n: abs(100 * round(p * n / 100) / n - p) <= 0.05,
    "near a count": lambda p, n: abs(p * n / 100 - round(p * n / 100)) < 0.01,
    "a share, not a percentage": lambda p, n: abs(round(p * n) / n - p) <= 0.005 + 1e-9,
    "everything": lambda p, n: True,
}


def distance(means, join=lambda gaps: gaps.abs().max()):
    """An answer to `largest_gap` from the means of a table by model and band."""
    keys = ["model", "head_min", "head_max"]

    def answer(table):
        printed = table[table["dataset"] == "AVG"].set_index(keys)["accuracy"]
        return float(join(printed - means(table, keys)))

    return answer


def plain(table, keys):
    return table[table["dataset"] != "AVG"].groupby(keys)["accuracy"].mean()


def by_category(table, keys):
    rows = table[table["dataset"] != "AVG"]
    return rows.groupby([*keys, "category"])["accuracy"].mean().groupby(keys).mean()


GAP = {
    "the average among the data sets": distance(lambda t, k: t.groupby(k)["accuracy"].mean()),
    "by category": distance(by_category),
    "with its sign": distance(plain, lambda gaps: gaps.max()),
    "mean of the distances": distance(plain, lambda gaps: gaps.abs().mean()),
    "the smallest": distance(plain, lambda gaps: gaps.abs().min()),
    "the median for the mean": distance(
        lambda t, k: t[t["dataset"] != "AVG"].groupby(k)["accuracy"].median()
    ),
    "all bands together": distance(
        lambda t, k: plain(t, k).groupby("model").transform("mean")
    ),
}  # fmt: skip

BY_CHECK = {
    residual_stream.check_update_sizes: STREAM,
    layerwise_curves.check_depth_weights: DEPTH,
    layerwise_curves.check_gains_by_module: GAINS,
    modulewise.check_feature_noise: FEATURE_NOISE,
    modulewise.check_paired_interval: PAIRED,
    rope_tolerance.check_rotate: ROTATE,
    rope_tolerance.check_tolerance: TOLERANCE,
    size_or_novelty.check_resize_factor: RESIZE,
    size_or_novelty.check_sign_flip_p: SIGN_FLIP,
    readings.check_directions_kept: KEPT,
    readings.check_released_entropy: RELEASED,
    training_dynamics.check_parting_step: PARTING,
    training_dynamics.check_bootstrap_interval: BOOTSTRAP,
    sap.check_prior_rows: PRIOR_ROWS,
    sap.check_mcnemar_p: MCNEMAR,
    sap_where.check_heads_in_band: BAND,
    sap_where.check_chosen_and_honest: CHOSEN,
    sap_cost.check_score_flops: FLOPS,
    sap_cost.check_running_average: AVERAGE,
    tracing.check_attention_edges: EDGES,
    tracing.check_reached: REACHED,
    key_region_ratio.check_region_ratio: RATIO,
    key_region_ratio.check_uniform_share: UNIFORM,
    sink.check_rank_without_sinks: SINKS,
    sink.check_layer_share: LAYER_SHARE,
    audit.check_is_whole_count: WHOLE,
    audit.check_largest_gap: GAP,
}
# The answers above with nothing wrong in them: each of those is wrong in one thing only.
RIGHT = {
    residual_stream.check_update_sizes: RIGHT_SIZES,
    layerwise_curves.check_depth_weights: weights(
        lambda n: min(1 / 28, 1 / n), lambda n: (1 - 2 * min(1 / 28, 1 / n)) / (n - 2)
    ),
    layerwise_curves.check_gains_by_module: gains(lambda d: (d[0::2].sum(), d[1::2].sum())),
    modulewise.check_feature_noise: noise(lambda x: x.mean(0), lambda x: x.std(0)),
    modulewise.check_paired_interval: lambda f, a, i: interval(
        (f - a).mean(), by_image(f - a, i).std(ddof=1) / len(set(i)) ** 0.5
    ),
    rope_tolerance.check_rotate: turned(usual),
    size_or_novelty.check_sign_flip_p: patterns(
        lambda sums, found: (abs(sums) >= abs(found) - 1e-9).mean()
    ),
    readings.check_directions_kept: kept(
        lambda x: falling(x) ** 2, lambda c, s: (c < s - 1e-12).sum() + 1
    ),
    readings.check_released_entropy: released(),
    training_dynamics.check_parting_step: lambda t, low, high: parted(
        t, low, high, lambda a, b: (a > 0 and low[-1] > 0) or (b < 0 and high[-1] < 0)
    ),
    training_dynamics.check_bootstrap_interval: resampled(of_images),
    sap.check_prior_rows: lambda s, v, p: causal(replaced(s, v, p)).softmax(1),
    sap.check_mcnemar_p: changed(
        lambda b, c, n: binomtest(c, b + c).pvalue if b + c else 1.0
    ),
    sap_where.check_heads_in_band: band(lambda s: -s, at),
    sap_where.check_chosen_and_honest: leads(lambda h, t: (h.argmax(), h.argmax())),
    sap_cost.check_running_average: lambda p, v: prefix((p - p.max()).exp()[:, None], v),
    tracing.check_attention_edges: edges(lambda w: w.mean(0)),
    tracing.check_reached: forwards,
    key_region_ratio.check_region_ratio: touching(lambda j, i: j or i),
    sink.check_rank_without_sinks: without(lambda x, t: x.abs().amax(1) >= t * x.abs().median()),
    audit.check_largest_gap: distance(plain),
}  # fmt: skip
WRONG = [(check, name, answer) for name, (check, answer) in THEORY.items()]
WRONG += [
    (check, name, answer) for check, answers in BY_CHECK.items() for name, answer in answers.items()
]


@pytest.mark.parametrize(
    ("check", "answer"),
    [pytest.param(c, a, id=f"{c.__name__.removeprefix('check_')}, {n}") for c, n, a in WRONG],
)
def test_wrong_answers_fail(check, answer):
    with pytest.raises(CheckFailed):
        check(answer)


@pytest.mark.parametrize("check", RIGHT, ids=lambda c: c.__name__.removeprefix("check_"))
def test_the_same_answers_without_their_error_pass(check):
    check(RIGHT[check])
