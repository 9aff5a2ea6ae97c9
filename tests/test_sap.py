"""The intervention on all families: it does what the formula says, and nothing else."""

import copy
from dataclasses import replace

import pytest
import torch
from transformers import AttentionInterface, BatchFeature

from families import FAMILIES, received, untrained
from lost_in_attention.digits import make_scenes
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.token_patches import token_patches
from lost_in_attention.sap import MODES, SharedAttentionPrior, encoded, paper, released
from lost_in_attention.sap import shared_attention_prior as under
from lost_in_attention.sap.priors import patch_complexity, uniform_prior
from lost_in_attention.sap.ranking import chosen_heads

LAYERS = (2, 5)
GENERATION = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
PLANS = [
    SharedAttentionPrior("encoder", LAYERS),
    SharedAttentionPrior("encoder", LAYERS, heads=(0.3, 0.7)),
    SharedAttentionPrior("complexity", LAYERS, heads=(0.0, 0.4), queries="last"),
    SharedAttentionPrior("uniform", LAYERS, heads=(0.6, 1.0), blend=0.5),
]
# A row for each way through the engine.
ALL_WAYS = [
    *PLANS,
    SharedAttentionPrior("noise", LAYERS, heads=(0.2, 0.8)),
    SharedAttentionPrior("noise", LAYERS, queries="last", version="released", blend=0.3),
    SharedAttentionPrior(
        "encoder", LAYERS, heads=(0.3, 0.7), ranking="two_sided_scores", queries="last",
        value_scale="matched", version="released",
    ),
]  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def vlm(request) -> VisionLanguageModel:
    return untrained(request.param)


@pytest.fixture(scope="module")
def images():
    first, second, third = (scene.image for scene in make_scenes(3, split="train", seed=1))
    return [first, second.resize((150, 96)), third]


@pytest.fixture(scope="module")
def inputs(vlm, images):
    """Prompts of three lengths, so that two of them are padded."""
    return vlm.prepare(images, ["look", "look one two three", "red look"])


def logits(vlm, inputs, plan=None):
    with torch.inference_mode():
        if plan is None:
            return vlm.model(**inputs).logits
        with under(vlm, plan) as changed:
            return changed.model(**inputs).logits


def generated(vlm, inputs, plan, **options):
    """New tokens, and the logits that each was chosen by."""
    with under(vlm, plan) as changed:
        output = changed.model.generate(
            **encoded(vlm, inputs), **GENERATION | options,
            return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
    return output.sequences[:, inputs["input_ids"].shape[1] :], torch.stack(output.logits, 1)


def straight_logits(vlm, inputs, plan, prior_of_tokens, prompt=None):
    """By the formula: every score computed, overwritten, masked; ranks read off the weights.

    `prompt` tokens are the prompt; each later row ranks by itself, or as the prompt's last did.
    """
    visual, real = vlm.visual_mask(inputs), inputs["attention_mask"].bool()
    length = visual.shape[1]
    prompt = length if prompt is None else prompt
    prior = torch.zeros(visual.shape).masked_scatter(visual, prior_of_tokens)[:, None, None]
    causal = torch.ones(length, length).tril().bool()
    rows = torch.ones(length, 1).bool()
    rows[: prompt - 1] = plan.queries == "all"
    judge = torch.arange(length).clamp(min=prompt - 1)
    judge = judge if plan.reranks else judge.clamp(max=prompt - 1)

    def attend(module, query, key, value, attention_mask, scaling=None, **kwargs):
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
        hidden = ~(causal & real[:, None, None])
        scores = (query @ key.transpose(-1, -2) * scaling).masked_fill(hidden, -1e30)
        if plan.layers[0] <= module.layer_idx <= plan.layers[1]:
            text = real & ~visual & (torch.arange(length) < prompt)
            look = (scores.softmax(-1) * text[:, None, None]).sum(-1)[:, :, judge]
            ranks = plan.ranks(query.shape[1])
            heads = look.argsort(1, descending=True)[:, ranks.start : ranks.stop]
            chosen = torch.zeros(look.shape).bool().scatter(1, heads, True)[..., None]
            mixed = (1 - plan.blend) * scores + plan.blend * prior
            scores = mixed.where(chosen & rows & visual[:, None, None], scores)
        weights = scores.masked_fill(hidden, -1e30).softmax(-1)
        return (weights @ value).transpose(1, 2).contiguous(), None

    AttentionInterface.register("straight", attend)
    vlm.model.set_attn_implementation({"text_config": "straight"})
    try:
        return logits(vlm, inputs)
    finally:
        vlm.model.set_attn_implementation({"text_config": "sdpa"})


def straight_prior(vlm, inputs, images, mode):
    """The prior of all visual tokens in order, each image encoded by itself."""
    if mode == "uniform":
        counts = vlm.visual_mask(inputs).sum(1).tolist()
        return torch.cat([uniform_prior(count) for count in counts])
    if mode == "encoder":
        values = [received(vlm, [image])[0] for image in images]
    else:
        values = token_patches(vlm, inputs, patch_complexity)
    return torch.cat([each.nan_to_num(nan=float(each.nanmean())) for each in values])


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.mode)
def test_it_is_the_formula(vlm, inputs, images, plan):
    real = inputs["attention_mask"].bool()
    prior = straight_prior(vlm, inputs, images, plan.mode)
    expected = straight_logits(vlm, inputs, plan, prior)[real]
    got = logits(vlm, inputs, plan)[real]
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(got, logits(vlm, inputs)[real], atol=1e-3)


@pytest.mark.parametrize("reranks", [True, False])
def test_every_step_is_the_formula(vlm, inputs, images, reranks):
    """Heads are chosen anew by each token's own row (C.3), or as the prompt chose them."""
    if vlm.name == "qwen2.5-vl":
        pytest.skip("its positions need the image grids in every first pass")
    plan = SharedAttentionPrior("encoder", (0, 7), heads=(0.3, 0.7), reranks=reranks)
    tokens, steps = generated(vlm, inputs, plan)
    whole = dict(inputs) | {
        "input_ids": torch.cat([inputs["input_ids"], tokens[:, :-1]], 1),
        "attention_mask": torch.nn.functional.pad(
            inputs["attention_mask"], (0, tokens.shape[1] - 1), value=1
        ),
    }
    prompt = inputs["input_ids"].shape[1]
    prior = straight_prior(vlm, inputs, images, plan.mode)
    expected = straight_logits(vlm, BatchFeature(whole), plan, prior, prompt)[:, prompt - 1 :]
    torch.testing.assert_close(steps, expected, rtol=1e-4, atol=1e-4)


def test_the_two_rankings_part_after_the_first_token(vlm, inputs):
    plans = [
        SharedAttentionPrior("encoder", (0, 7), heads=(0.3, 0.7), reranks=reranks)
        for reranks in (True, False)
    ]
    one, other = (generated(vlm, inputs, plan)[1] for plan in plans)
    assert torch.equal(one[:, 0], other[:, 0]) and not torch.equal(one[:, 1:], other[:, 1:])


@pytest.mark.parametrize("ranking", ["scores", "two_sided_scores"])
def test_the_release_counts_generated_tokens_as_text(ranking):
    """One sample, two heads: only the second looks at the token behind the prompt."""
    query = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    key = torch.tensor([[[[0.0, 0.0], [0.1, 0.0], [9.0, 9.0], [0.1, 0.0], [0.0, 5.0]]]])
    visual = torch.tensor([[False, False, True, False, False]])
    given = {"visual": visual, "not_padding": torch.ones(1, 5).bool(), "prompt": 4, "scaling": 1.0}
    released = chosen_heads(query, key, ranking=ranking, ranks=range(1), **given)
    as_the_paper = chosen_heads(query, key, ranking="weights", ranks=range(1), **given)
    assert (released.item(), as_the_paper.item()) == (1, 0)


def test_the_encoders_prior_is_its_last_layer(vlm, images):
    """Also where the decoder sees the layer before (LLaVA-1.5, LLaVA-NeXT)."""
    attention = vlm.family.last_attention
    before = received(vlm, images[:1])[0]
    with torch.no_grad():
        projection = attention.qkv if hasattr(attention, "qkv") else attention.k_proj
        kept = projection.weight.clone()
        projection.weight.mul_(3)
        try:
            after = received(vlm, images[:1])[0]
        finally:
            projection.weight.copy_(kept)
    assert not torch.allclose(before.nan_to_num(), after.nan_to_num(), atol=1e-6)


def test_several_images_in_a_prompt(vlm, images):
    """Each image brings its own prior to its own place."""
    small = [image.resize((96, 96)) for image in images]
    inputs = vlm.prepare([small[:2], small[2:]], ["<image 1> look <image 2> one", "look"])
    plan = SharedAttentionPrior("complexity", LAYERS)
    expected = straight_logits(vlm, inputs, plan, straight_prior(vlm, inputs, small, plan.mode))
    real = inputs["attention_mask"].bool()
    torch.testing.assert_close(
        logits(vlm, inputs, plan)[real], expected[real], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("mode", MODES)
def test_blend_0_is_the_model_bit_by_bit(vlm, inputs, mode):
    plan = SharedAttentionPrior(mode, LAYERS, heads=(0.3, 0.7), blend=0.0)
    assert torch.equal(logits(vlm, inputs, plan), logits(vlm, inputs))
    tokens, scores = generated(vlm, inputs, plan)
    vanilla = vlm.model.generate(
        **inputs, **GENERATION, return_dict_in_generate=True, output_logits=True
    )
    assert torch.equal(tokens, vanilla.sequences[:, inputs["input_ids"].shape[1] :])
    assert torch.equal(scores, torch.stack(vanilla.logits, 1))


@pytest.mark.parametrize("plan", ALL_WAYS, ids=range(len(ALL_WAYS)))
def test_no_token_sees_a_later_one(vlm, inputs, plan):
    """Heads are ranked by the last query: with all heads replaced no rank can change."""
    plan = replace(plan, heads=(0.0, 1.0))
    other = dict(inputs) | {"input_ids": inputs["input_ids"].clone()}
    other["input_ids"][:, -1] = vlm.processor.tokenizer.convert_tokens_to_ids("a")
    before, after = logits(vlm, inputs, plan), logits(vlm, other, plan)
    real = inputs["attention_mask"].bool()[:, :-1]
    torch.testing.assert_close(before[:, :-1][real], after[:, :-1][real], rtol=0, atol=1e-5)
    assert not torch.allclose(before[:, -1], after[:, -1], atol=1e-3)


class Watch:
    """What goes into each layer, and into each layer's output projection, in one pass."""

    def __init__(self, vlm, inputs, plan=None):
        self.states, self.heads, hooks = [], [], []
        for layer in vlm.layers:
            hooks.append(layer.register_forward_pre_hook(lambda m, a: self.states.append(a[0])))
            project = layer.self_attn.o_proj
            hooks.append(
                project.register_forward_pre_hook(
                    lambda m, a: self.heads.append(a[0].unflatten(-1, (4, -1)))
                )
            )
        logits(vlm, inputs, plan)
        for hook in hooks:
            hook.remove()


def test_nothing_changes_before_the_first_layer(vlm, inputs):
    """Bit by bit, the vision tower's tokens included."""
    usual, changed = Watch(vlm, inputs), Watch(vlm, inputs, SharedAttentionPrior("encoder", LAYERS))
    same = [torch.equal(a, b) for a, b in zip(usual.states, changed.states, strict=True)]
    assert same == [layer <= LAYERS[0] for layer in range(8)]


def test_layers_behind_the_last_one_compute_what_they_did(vlm, inputs):
    """They see other states, so their module is asked again with those."""
    seen = {}
    last = vlm.layers[LAYERS[1] + 1].self_attn
    hook = last.register_forward_hook(
        lambda m, a, k, out: seen.update(kwargs=k, out=out[0]), with_kwargs=True
    )
    logits(vlm, inputs, SharedAttentionPrior("encoder", LAYERS))
    hook.remove()
    with torch.inference_mode():
        again = last(**seen["kwargs"] | {"past_key_values": None})[0]
    assert torch.equal(again, seen["out"])


@pytest.mark.parametrize("queries", ["all", "last"])
def test_other_heads_and_queries_stay(vlm, inputs, queries):
    """In the first of the layers: two of four heads change in each sample, the others do not."""
    plan = SharedAttentionPrior("encoder", LAYERS, heads=(0.3, 0.7), queries=queries)
    usual, changed = Watch(vlm, inputs).heads[LAYERS[0]], Watch(vlm, inputs, plan).heads[LAYERS[0]]
    assert len(plan.ranks(4)) == 2
    close = torch.isclose(usual, changed, rtol=0, atol=1e-6).all(-1)
    assert close[:, -1].sum(-1).tolist() == [2, 2, 2]
    real = inputs["attention_mask"].bool()
    unchanged = close.masked_fill(~real[..., None], True).all(1)
    assert torch.equal(unchanged, close[:, -1])
    if queries == "last":
        assert torch.equal(usual[:, :-1], changed[:, :-1])


def everything(vlm):
    """What a block could leave behind: weights, hooks, attributes, implementations."""
    model = vlm.model
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    modules = {
        name: (sorted(m.__dict__), len(m._forward_pre_hooks), len(m._forward_hooks))
        for name, m in model.named_modules()
    }
    names = [config._attn_implementation for config in (
        model.config, model.config.text_config, model.config.vision_config
    )]  # fmt: skip
    return weights, modules, names


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_behind(vlm, inputs, error):
    weights, modules, names = everything(vlm)
    before = logits(vlm, inputs)

    def interrupt(module, args):
        raise error

    hook = None
    if error:
        hook = vlm.layers[LAYERS[0] + 1].mlp.register_forward_pre_hook(interrupt)
        with pytest.raises(error):
            logits(vlm, inputs, ALL_WAYS[0])
        hook.remove()
    else:
        logits(vlm, inputs, ALL_WAYS[0])
    after = everything(vlm)
    assert all(torch.equal(value, after[0][name]) for name, value in weights.items())
    assert (modules, names) == after[1:]
    assert torch.equal(before, logits(vlm, inputs))


@pytest.mark.parametrize("plan", ALL_WAYS, ids=range(len(ALL_WAYS)))
def test_the_cache_changes_nothing(vlm, inputs, plan):
    tokens, scores = generated(vlm, inputs, plan)
    again, scores_again = generated(vlm, inputs, plan, use_cache=False)
    assert torch.equal(tokens, again)
    torch.testing.assert_close(scores, scores_again, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("plan", ALL_WAYS, ids=range(len(ALL_WAYS)))
def test_the_batch_changes_nothing(vlm, images, inputs, plan):
    """Padding and neighbours: each prompt by itself gives what it gave in the batch."""
    tokens, scores = generated(vlm, inputs, plan)
    prompts = ["look", "look one two three", "red look"]
    for index, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
        alone, own = generated(vlm, vlm.prepare([image], [prompt]), plan)
        torch.testing.assert_close(own[0], scores[index], rtol=1e-4, atol=1e-4)
        assert torch.equal(alone[0], tokens[index])


@pytest.mark.parametrize("plan", [PLANS[1], ALL_WAYS[4]], ids=lambda plan: plan.mode)
def test_a_cache_filled_by_a_longer_pass_or_cut_back(vlm, inputs, plan):
    """Decoding goes on from any cache of the block, not only from one of the bare prompts."""
    if vlm.name == "qwen2.5-vl":
        pytest.skip("its positions need the image grids in every first pass")
    further = inputs["input_ids"].new_full((3, 4), vlm.processor.tokenizer.encode("a")[0])
    ids = torch.cat([inputs["input_ids"], further], 1)
    mask = torch.cat([inputs["attention_mask"], torch.ones_like(further)], 1)
    with torch.inference_mode(), under(vlm, plan) as changed:
        changed.model(**inputs)
        expected = changed.model(input_ids=ids, attention_mask=mask).logits[:, -1]
        cache = changed.model(
            input_ids=ids[:, :-1], attention_mask=mask[:, :-1], use_cache=True
        ).past_key_values
        last = {"input_ids": ids[:, -1:], "attention_mask": mask, "past_key_values": cache}
        steps = [changed.model(**last).logits[:, -1]]
        if plan.mode != "noise":  # Its rows are drawn one after another, and one is drawn.
            cache.crop(-1)
            steps.append(changed.model(**last).logits[:, -1])
    for step in steps:
        torch.testing.assert_close(step, expected, rtol=1e-4, atol=1e-4)


def test_beams_share_their_prompt(vlm, inputs):
    """Two beams of which each step keeps the same two best replies, cache or not."""
    plan = SharedAttentionPrior("noise", LAYERS, heads=(0.2, 0.8))
    tokens, _ = generated(vlm, inputs, plan, num_beams=2)
    again, _ = generated(vlm, inputs, plan, num_beams=2, use_cache=False)
    assert torch.equal(tokens, again)


@pytest.mark.parametrize("version", ["paper", "released"])
def test_noise_is_its_seeds(vlm, inputs, version):
    plans = [
        SharedAttentionPrior("noise", LAYERS, version=version, seed=seed) for seed in (0, 0, 1)
    ]
    one, again, other = (logits(vlm, inputs, plan) for plan in plans)
    assert torch.equal(one, again) and not torch.allclose(one, other, atol=1e-4)


def test_bfloat16(vlm, inputs):
    half = VisionLanguageModel(copy.deepcopy(vlm.model).bfloat16(), vlm.processor, vlm.name)
    rounded = copy.copy(inputs).to(dtype=torch.bfloat16)
    real = inputs["attention_mask"].bool()
    for plan in (plan for plan in ALL_WAYS if plan.mode != "noise"):  # Drawn from the pixels.
        whole = replace(plan, heads=(0.0, 1.0))  # Rounding may swap two ranks.
        exact, got = logits(vlm, inputs, whole)[real], logits(half, rounded, whole)[real]
        vanilla = logits(half, rounded)[real] - logits(vlm, inputs)[real]
        assert got.dtype == torch.bfloat16
        assert (got - exact).norm() < 3 * vanilla.norm()
    still = SharedAttentionPrior("encoder", LAYERS, blend=0.0)
    assert torch.equal(logits(half, rounded, still), logits(half, rounded))


def test_a_block_serves_many_batches(vlm, inputs, images):
    """Heads, noise and images of one batch do not leak into the next."""
    plan = ALL_WAYS[4]
    second = vlm.prepare(images[1:2], ["blue look"])
    with torch.inference_mode(), under(vlm, plan) as changed:
        changed.model.generate(**encoded(vlm, inputs), **GENERATION)
        got = changed.model(**second).logits
    assert torch.equal(got, logits(vlm, second, plan))


def test_the_name_says_the_plan(vlm):
    with under(vlm, released("llava", "noise", depth=8)) as changed:
        assert changed.model is vlm.model
        assert changed.name == (
            f"{vlm.name} (SAP noise released, layers 4-5, heads 0.2-0.8 by scores at each step, "
            "last queries, blend 1, scale matched, seed 0)"
        )


def test_presets():
    """The settings of definitions.md: what the paper says, and what its code does."""
    assert paper("qwen2.5-vl") == SharedAttentionPrior("encoder", (1, 27), (0.3, 0.6))
    assert paper("llava", "noise") == SharedAttentionPrior("noise", (18, 23), (0.2, 0.8))
    assert released("qwen2.5-vl", "complexity") == SharedAttentionPrior(
        "complexity", (1, 27), (0.3, 0.6), ranking="scores", queries="last", version="released"
    )
    onevision = released("llava-onevision")
    assert (onevision.ranking, onevision.value_scale) == ("two_sided_scores", "matched")
    assert (onevision.layers, onevision.heads) == ((21, 27), (0.3, 0.6))
    assert released("llava-next") == released("llava")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("depth", [2, 8, 28, 32, 64])
def test_presets_fit_any_depth(family, depth):
    first, last = paper(family, depth=depth).layers
    assert 0 <= first <= last < depth
    assert released(family, depth=depth).layers == (first, last)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "other"}, "mode: expected one of"),
        ({"layers": (1.0, 2)}, r"layers: expected two whole numbers, got \(1.0, 2\)"),
        ({"layers": (False, True)}, "layers: expected two whole numbers"),
        ({"layers": (1,)}, r"layers: expected two whole numbers, got \(1,\)"),
        ({"layers": None}, "layers: expected two whole numbers, got None"),
        ({"heads": ("a", "b")}, "heads: expected two numbers, got"),
        ({"blend": "1"}, "blend: expected a number between 0 and 1, got '1'"),
        ({"reranks": "no"}, "reranks: expected True or False, got 'no'"),
        ({"layers": (3, 2)}, r"layers: expected 0 <= first <= last, got \(3, 2\)"),
        ({"heads": (0.5, 1.5)}, r"heads: expected a band within \[0, 1\]"),
        ({"ranking": "norms"}, "ranking: expected one of .* got 'norms'"),
        ({"queries": "first"}, "queries: expected one of"),
        ({"blend": 1.5}, "blend: expected a number between 0 and 1, got 1.5"),
        ({"blend": float("nan")}, "blend: expected a number between 0 and 1, got nan"),
        ({"value_scale": "half"}, "value_scale: expected one of"),
        ({"value_scale": "matched"}, "needs queries 'last', got 'all'"),
        ({"version": "own"}, "version: expected one of"),
        ({"seed": -1}, "seed: expected a whole number, 0 or more, got -1"),
    ],
)
def test_settings_that_are_none(settings, message):
    with pytest.raises(ValueError, match=message):
        SharedAttentionPrior(**{"mode": "encoder", "layers": (0, 1)} | settings)


@pytest.mark.parametrize("depth", [28, 36, 64])
def test_qwens_layers_are_those_of_table_8_at_any_depth(depth):
    assert paper("qwen2.5-vl", depth=depth).layers == (1, 27)
    assert paper("qwen2.5-vl", depth=8).layers == (1, 7)


def test_presets_know_their_families():
    with pytest.raises(ValueError, match="family: expected one of .* got 'gpt'"):
        paper("gpt")


@pytest.fixture
def passes(vlm):
    """A list that grows with each pass of the decoder's layers or of the vision tower."""
    seen = []
    hooks = [
        module.register_forward_pre_hook(lambda *_: seen.append(1))
        for module in (vlm.family.tower, vlm.layers[0])
    ]
    yield seen
    for hook in hooks:
        hook.remove()


def test_plans_that_do_not_fit_the_model(vlm, inputs, passes):
    for plan, message in (
        (SharedAttentionPrior("noise", (2, 8)), r"plan: expected layers within 0-7, got \(2, 8\)"),
        (SharedAttentionPrior("noise", LAYERS, heads=(0.4, 0.6)), "at least one of 4 heads"),
    ):
        with pytest.raises(ValueError, match=message), under(vlm, plan):
            vlm.model(**inputs)
    assert not passes and everything(vlm)[2] == ["sdpa"] * 3


def test_models_that_cannot_serve_a_plan(vlm, inputs, passes):
    plan, config = ALL_WAYS[0], vlm.decoder.config
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "sliding_window", 16, raising=False)
        with pytest.raises(ValueError, match="keeps all keys, got a sliding window of 16"):
            logits(vlm, inputs, plan)
    for part, message in (
        ("text_config", "a decoder that runs on 'sdpa', got 'eager'"),
        ("vision_config", "the vision tower to run on 'sdpa', got 'eager'"),
    ):
        vlm.model.set_attn_implementation({part: "eager"})
        try:
            with pytest.raises(ValueError, match=message), under(vlm, plan):
                pass
        finally:
            vlm.model.set_attn_implementation({part: "sdpa"})
    with under(vlm, plan), pytest.raises(ValueError, match="'sdpa', got 'shared_attention_prior'"):
        logits(vlm, inputs, plan)
    assert not passes


@pytest.mark.parametrize("plan", ALL_WAYS, ids=range(len(ALL_WAYS)))
def test_prompts_without_images(vlm, images, plan):
    """Nothing there to replace: bit by bit among themselves, to rounding beside others."""
    texts = vlm.prepare([[], []], ["look", "look one two"])
    assert torch.equal(logits(vlm, texts, plan), logits(vlm, texts))
    mixed = vlm.prepare([[], images[0]], ["look", "look"])
    usual, changed = logits(vlm, mixed), logits(vlm, mixed, plan)
    real = mixed["attention_mask"][0].bool()
    torch.testing.assert_close(changed[0][real], usual[0][real], rtol=0, atol=1e-5)
    assert not torch.allclose(changed[1], usual[1], atol=1e-3)


def test_caches_and_images_from_outside(vlm, inputs):
    with torch.inference_mode():
        cache = vlm.model(**inputs, use_cache=True).past_key_values
        ids = {"input_ids": inputs["input_ids"][:, -1:]}
        with (
            under(vlm, ALL_WAYS[0]),
            pytest.raises(ValueError, match="a cache that was filled within the block"),
        ):
            vlm.model(**ids, past_key_values=cache)
        with (
            under(vlm, ALL_WAYS[0]),
            pytest.raises(ValueError, match=r"generate from encoded\(vlm, inputs\)"),
        ):
            vlm.model.generate(**inputs, **GENERATION)
        with (
            under(vlm, ALL_WAYS[0]),
            pytest.raises(ValueError, match="expected input_ids, got none"),
        ):
            vlm.model(inputs_embeds=torch.zeros(1, 2, 128))
        with (
            under(vlm, ALL_WAYS[0]),
            pytest.raises(ValueError, match="images encoded within the block that fill"),
        ):
            vlm.model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
