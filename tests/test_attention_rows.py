"""The mathematics of replaced rows: two ways of the library against the formula written out."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lost_in_attention.sap import attention_rows
from lost_in_attention.sap.attention_rows import (
    Collapsed,
    TextKeys,
    merged_rows,
    replaced_rows,
    visual_part,
)

FEATURES, SCALING = 8, 0.4


def straight(query, key, value, prior, visual, not_padding, first):
    """softmax over the keys up to each row's own; a row without any key is zero."""
    positions = torch.arange(query.shape[2]) + first
    seen = (torch.arange(key.shape[2]) <= positions[:, None]) & not_padding[:, None, None]
    scores = torch.where(
        visual[:, None, None], prior[:, None, None], query @ key.mT * SCALING
    ).masked_fill(~seen, -torch.inf)
    return scores.softmax(-1).nan_to_num() @ value


@st.composite
def problems(draw):
    """Random states; text, images and padding in any order, rows from any position on."""
    batch, groups, kv_heads = (draw(st.integers(1, 3)) for _ in range(3))
    keys = draw(st.integers(1, 40))
    first = draw(st.integers(0, keys - 1))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    query = torch.randn(batch, groups * kv_heads, keys - first, FEATURES, generator=random)
    key, value = torch.randn(2, batch, kv_heads, keys, FEATURES, generator=random)
    spread = draw(st.sampled_from([0.0, 1.0, 7.0]))
    prior = spread * torch.randn(batch, keys, generator=random)
    kinds = torch.tensor(
        draw(st.lists(st.lists(st.sampled_from("tiv"), min_size=keys, max_size=keys),
                      min_size=batch, max_size=batch)
             .map(lambda all_of: [["tiv".index(kind) for kind in own] for own in all_of]))
    )  # fmt: skip
    padding = torch.arange(keys) < draw(st.integers(0, keys - 1))
    padding = padding & (torch.arange(batch)[:, None] == 0)
    visual = (kinds > 0) & ~padding
    return query, key, value, prior.masked_fill(~visual, 0), visual, ~padding, first


def heads_of(query, key):
    groups = query.shape[1] // key.shape[1]
    return (torch.arange(query.shape[1]) // groups).expand(query.shape[0], -1)


def written_out(query, key, value, prior, visual, not_padding, first):
    groups = query.shape[1] // key.shape[1]
    return replaced_rows(
        query, key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1),
        prior=prior[:, None], visual=visual, not_padding=not_padding,
        first=first, blend=1.0, scaling=SCALING,
    )  # fmt: skip


def merged(query, key, value, prior, visual, not_padding, first):
    text = TextKeys.of(not_padding & ~visual)
    part = visual_part(value, prior, visual, by_row=True)
    return merged_rows(
        query, text.take(key), text.take(value), text, part,
        kv_heads=heads_of(query, key), first=first, scaling=SCALING,
    )  # fmt: skip


@settings(deadline=None)
@given(problems(), st.sampled_from([3, 512]))
def test_both_ways_are_the_formula(problem, chunk):
    """Also in chunks."""
    query, key, value, prior, visual, not_padding, first = problem
    sees = (not_padding.cumsum(1) > 0)[:, first:]
    expanded = [x.repeat_interleave(query.shape[1] // key.shape[1], 1) for x in (key, value)]
    expected = straight(query, *expanded, prior, visual, not_padding, first)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_rows, "CHUNK", chunk)
        one, other = merged(*problem), written_out(*problem)
    close = {"rtol": 1e-4, "atol": 2e-5}
    torch.testing.assert_close(one, expected, **close)
    sees = sees[:, None, :, None].expand_as(one)
    torch.testing.assert_close(other[sees], expected[sees], **close)


@settings(deadline=None)
@given(problems(), st.integers(1, 4), st.booleans())
def test_collapsed_is_the_last_row(problem, further, by_row):
    """One vector and one number stand for all visual keys of the prompt, in any batch."""
    query, key, value, prior, visual, not_padding, _ = problem
    prompt = key.shape[2] - further
    if prompt < 1:
        return
    visual = visual & (torch.arange(key.shape[2]) < prompt)
    prior, query = prior.masked_fill(~visual, 0), query[:, :, -1:]
    text = TextKeys.of((not_padding & ~visual)[:, :prompt])
    part = visual_part(value[:, :, :prompt], prior[:, :prompt], visual[:, :prompt], by_row=by_row)
    collapsed = Collapsed.of(text.take(key), text.take(value), text, part)
    got = collapsed.attend(
        query,
        key[:, :, prompt:],
        value[:, :, prompt:],
        not_padding=not_padding[:, prompt:],
        scaling=SCALING,
    )
    expanded = [x.repeat_interleave(query.shape[1] // key.shape[1], 1) for x in (key, value)]
    expected = straight(query, *expanded, prior, visual, not_padding, key.shape[2] - 1)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=2e-5)


def test_a_head_takes_its_own_key_value_head():
    """Chosen heads of different samples read different keys."""
    query = torch.randn(2, 1, 3, FEATURES)
    key, value = torch.randn(2, 2, 2, 3, FEATURES)
    visual, not_padding = torch.tensor([[False, True, False]] * 2), torch.ones(2, 3).bool()
    prior, text = torch.zeros(2, 3), TextKeys.of(~visual)
    part = visual_part(value, prior, visual, by_row=True)
    got = merged_rows(
        query, text.take(key), text.take(value), text, part,
        kv_heads=torch.tensor([[1], [0]]), first=0, scaling=SCALING,
    )  # fmt: skip
    own = [torch.stack([x[0, 1], x[1, 0]])[:, None] for x in (key, value)]
    torch.testing.assert_close(got, straight(query, *own, prior, visual, not_padding, 0))


def test_blend_moves_scores_linearly():
    """With own scores all zero, half a prior is the prior of half the size."""
    query, key = torch.zeros(1, 1, 4, FEATURES), torch.randn(1, 1, 4, FEATURES)
    value = torch.randn(1, 1, 4, FEATURES)
    visual = torch.tensor([[True, True, False, True]])
    prior = torch.tensor([[[2.0, -1.0, 0.0, 3.0]]])
    common = {"visual": visual, "not_padding": torch.ones(1, 4).bool(), "first": 0, "scaling": 1.0}
    half = replaced_rows(query, key, value, prior=prior, blend=0.5, **common)
    whole = replaced_rows(query, key, value, prior=prior / 2, blend=1.0, **common)
    torch.testing.assert_close(half, whole)


@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_a_large_prior_picks_its_token(shift):
    """By hand: weight e^20 on the second key, so its value comes out once it is seen.

    A large common part takes the weight from the text key behind it.
    """
    query, value = torch.randn(1, 1, 3, FEATURES), torch.randn(1, 1, 3, FEATURES)
    visual = torch.tensor([[True, True, False]])
    prior = torch.tensor([[shift, shift + 20, 0.0]])
    got = merged(query, value, value, prior, visual, torch.ones(1, 3).bool(), 0)
    torch.testing.assert_close(got[0, 0, 0], value[0, 0, 0])
    torch.testing.assert_close(got[0, 0, 1], value[0, 0, 1], rtol=0, atol=1e-6)
    if shift:
        torch.testing.assert_close(got[0, 0, 2], value[0, 0, 1], rtol=0, atol=1e-6)
