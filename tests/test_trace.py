"""Tracing: the model is not changed, graphs and regions are what their definitions say."""

import copy
import json
import math
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from families import FAMILIES, build
from lost_in_attention.benchmarks import Sample, load_benchmark
from lost_in_attention.digits import make_scenes
from lost_in_attention.digits.coco import annotated_boxes
from lost_in_attention.models import VisionLanguageModel, attention_functions
from lost_in_attention.models.decoder_attention import LayerAttention, reading_attention
from lost_in_attention.trace import (
    Annotations,
    Trace,
    asked_object,
    degree_ratios,
    interaction_edges,
    key_patches,
    key_regions,
    rollout_step,
    trace,
    uniform_ratio,
)
from lost_in_attention.training import recipe

# --- Attention ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer():
    return recipe.train_tokenizer(recipe._corpus())


@pytest.fixture(scope="module", params=FAMILIES)
def vlm(request, tokenizer):
    model, processor = build(request.param, copy.deepcopy(tokenizer))
    return VisionLanguageModel(model.eval(), processor, request.param)


@pytest.fixture(scope="module")
def scenes():
    return list(make_scenes(3, split="train", seed=2))


@pytest.fixture
def inputs(vlm, scenes):
    """A batch with padding, and for the families that cut tiles one wide picture."""
    images = [scenes[0].image, scenes[1].image.resize((150, 80))]
    return vlm.prepare(images, ["one", "a longer question than the other one"])


@pytest.fixture
def samples():
    return list(load_benchmark("pope").draw(3, seed=1))


def logits(vlm, inputs):
    with torch.inference_mode():
        return vlm.model(**inputs, use_cache=False).logits


def means(vlm, inputs, tokens):
    """The head means by (layer, sample)."""
    seen = {}

    def keep(attention):
        seen[attention.layer, attention.sample] = attention.mean()

    with reading_attention(vlm, tokens, keep):
        logits(vlm, inputs)
    return seen


def eager_maps(vlm, inputs):
    """Logits and weights of the model's own eager attention, [batch, heads, S, S] a layer."""
    maps = []
    handles = [
        layer.self_attn.register_forward_hook(lambda _, __, out: maps.append(out[1]))
        for layer in vlm.layers
    ]
    vlm.model.set_attn_implementation({"text_config": "eager"})
    try:
        return logits(vlm, inputs), maps
    finally:
        vlm.model.set_attn_implementation({"text_config": "sdpa"})
        for handle in handles:
            handle.remove()


def test_maps_are_the_models_own(vlm, inputs):
    """Among the visual tokens, in every layer, for padded samples too."""
    visual = vlm.visual_mask(inputs)
    assert visual.sum(1).min() > 16
    _, expected = eager_maps(vlm, inputs)
    seen = means(vlm, inputs, visual)
    assert list(seen) == list(product(range(len(vlm.layers)), range(2)))
    for (layer, sample), mean in seen.items():
        block = expected[layer][sample].mean(0)[visual[sample]][:, visual[sample]]
        torch.testing.assert_close(mean, block, atol=1e-6, rtol=1e-4)


def test_single_heads_are_the_models_own(vlm, inputs):
    visual = vlm.visual_mask(inputs)
    _, expected = eager_maps(vlm, inputs)

    def compare(seen):
        block = expected[seen.layer][seen.sample][:, visual[seen.sample]][..., visual[seen.sample]]
        torch.testing.assert_close(torch.stack(list(seen.heads())), block, atol=1e-6, rtol=1e-4)

    with reading_attention(vlm, visual, compare):
        logits(vlm, inputs)


def test_reading_changes_no_logit(vlm, inputs):
    """Bit for bit where the model runs SDPA, up to rounding where it does not."""
    before = logits(vlm, inputs)
    with reading_attention(vlm, vlm.visual_mask(inputs), lambda seen: seen.mean()):
        during = logits(vlm, inputs)
    assert torch.equal(before, during) and torch.equal(before, logits(vlm, inputs))
    # Fully masked rows of padding have no defined attention, and kernels differ there.
    real = inputs["attention_mask"].bool()
    eager, _ = eager_maps(vlm, inputs)
    torch.testing.assert_close(during[real], eager[real], atol=1e-4, rtol=1e-4)


def test_bf16_logits_do_not_change(vlm, inputs):
    half = replace(vlm, model=vlm.model.to(torch.bfloat16))
    try:
        before = logits(half, inputs.to(torch.bfloat16))
        with reading_attention(half, half.visual_mask(inputs), lambda seen: seen.mean()):
            assert torch.equal(before, logits(half, inputs.to(torch.bfloat16)))
    finally:
        vlm.model.to(torch.float32)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_model_is_restored_after_a_failure(vlm, inputs, error):
    before = logits(vlm, inputs)

    def fail(seen):
        raise error("stop here")

    with pytest.raises(error), reading_attention(vlm, vlm.visual_mask(inputs), fail):
        logits(vlm, inputs)
    assert vlm.decoder.config._attn_implementation == "sdpa"
    assert not attention_functions._ASKED
    assert torch.equal(before, logits(vlm, inputs))


def test_the_vision_tower_keeps_its_attention(vlm, inputs):
    with reading_attention(vlm, vlm.visual_mask(inputs), lambda seen: None):
        assert vlm.model.config.vision_config._attn_implementation == "sdpa"
        assert vlm.decoder.config._attn_implementation != "sdpa"


def test_generation_shows_the_prompt_alone(vlm, inputs):
    seen = []
    with (
        torch.inference_mode(),
        reading_attention(vlm, vlm.visual_mask(inputs), lambda a: seen.append((a.layer, a.sample))),
    ):
        vlm.model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert seen == list(product(range(len(vlm.layers)), range(2)))


def test_an_intervention_is_not_read_as_the_model(vlm, inputs, samples):
    AttentionInterface.register("test_intervention", sdpa_attention_forward)
    AttentionMaskInterface.register("test_intervention", sdpa_mask)
    vlm.model.set_attn_implementation({"text_config": "test_intervention"})
    try:
        with pytest.raises(ValueError, match="vlm: expected .*'sdpa'.* got 'test_intervention'"):
            trace(vlm, samples)
    finally:
        vlm.model.set_attn_implementation({"text_config": "sdpa"})
    with (
        reading_attention(vlm, vlm.visual_mask(inputs), lambda seen: None),
        pytest.raises(ValueError, match="vlm: expected"),
        reading_attention(vlm, vlm.visual_mask(inputs), lambda seen: None),
    ):
        pass


class LargestTensor(TorchDispatchMode):
    """Records the size of the largest tensor that an operation returned."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.largest = max(self.largest, result.numel())
        return result


def test_no_tensor_grows_with_the_heads():
    sizes = []
    for heads in (2, 16):
        query, key = torch.randn(heads, 40, 4), torch.randn(heads // 2, 40, 4)
        tokens = torch.arange(40) >= 10
        causal = torch.ones(40, 40, dtype=torch.bool).tril()
        with LargestTensor() as mode:
            LayerAttention(0, 0, query, key, causal[tokens], tokens, 0.5).mean()
        sizes.append(mode.largest)
    assert sizes == [30 * 40, 30 * 40]


def graph_of(found, sample, layer, head=0):
    """The edges of one graph."""
    return found.edges.query("sample == @sample and layer == @layer and head == @head")


def dense_weights(found, sample, layer):
    """Row i holds the weights of the edges j -> i."""
    edges = graph_of(found, sample, layer)
    dense = np.zeros(2 * (found.visual_tokens[sample],), dtype=np.float32)
    dense[edges["target"], edges["source"]] = edges["weight"]
    return torch.from_numpy(dense)


# --- Rollout --------------------------------------------------------------------------------


def causal_attention(tokens, seed):
    scores = torch.randn(tokens, tokens, generator=torch.Generator().manual_seed(seed))
    hidden = torch.ones(tokens, tokens, dtype=torch.bool).triu(1)
    return (3 * scores).masked_fill(hidden, -torch.inf).softmax(-1).double()


def test_rollout_is_the_product_of_the_mixed_layers():
    maps = [causal_attention(6, seed) for seed in range(3)]
    rolled = None
    for layer in maps:
        rolled = rollout_step(layer, rolled)
    mixed = [(layer + torch.eye(6)) / 2 for layer in maps]
    torch.testing.assert_close(rolled, mixed[2] @ mixed[1] @ mixed[0])
    torch.testing.assert_close(rolled.sum(1), torch.ones(6, dtype=torch.float64))


@pytest.mark.usefixtures("unchecked")
def test_rollout_without_attention_stays_in_place():
    """Tokens that attend to themselves alone, and rows that lack weight."""
    assert torch.equal(rollout_step(torch.eye(4)), torch.eye(4))
    assert torch.equal(rollout_step(0.5 * torch.eye(4), torch.eye(4)), torch.eye(4))
    with pytest.raises(ValueError, match="expected square matrices of one size, got"):
        rollout_step(torch.eye(4), torch.eye(3))


def test_traced_rollout_follows_all_tokens(vlm, samples):
    """The product over all tokens, restricted to visual ones at the end."""
    sample = samples[0]
    inputs = vlm.prepare([sample.images], [sample.prompt])
    [visual] = vlm.visual_mask(inputs)
    _, maps = eager_maps(vlm, inputs)
    expected = None
    for layer in maps:
        expected = rollout_step(layer[0].mean(0), expected)
    got = trace(vlm, [sample], weights="rollout", threshold=1e-4)
    dense = dense_weights(got, sample.id, got.layers - 1)
    torch.testing.assert_close(dense, expected[visual][:, visual], atol=1.1e-4, rtol=0)


# --- Graphs ---------------------------------------------------------------------------------

matrices = st.integers(1, 6).flatmap(
    lambda n: st.lists(st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n),
                       min_size=n, max_size=n)
)  # fmt: skip


@given(matrices, st.floats(2**-6, 1, width=32))
def test_edges_are_the_entries_above_the_threshold(rows, threshold):
    source, target, weight = interaction_edges(torch.tensor(rows), threshold)
    got = set(zip(target.tolist(), source.tolist(), weight.tolist(), strict=True))
    assert got == {
        (i, j, value) for i, row in enumerate(rows) for j, value in enumerate(row)
        if value >= threshold
    }  # fmt: skip


def test_a_weight_of_tau_makes_an_edge():
    source, target, _ = interaction_edges(torch.tensor([[0.0, 0.1], [0.0999, 0.0]]), 0.1)
    assert (source.tolist(), target.tolist()) == ([1], [0])


def test_a_trace_holds_the_maps_entries(vlm, samples):
    found = trace(vlm, samples, threshold=0.02, batch_size=2)
    assert list(found.edges.columns) == ["sample", "layer", "head", "source", "target", "weight"]
    assert len(found.edges) and (found.edges["source"] <= found.edges["target"]).all()
    inputs = vlm.prepare([s.images for s in samples], [s.prompt for s in samples])
    for (layer, number), mean in means(vlm, inputs, vlm.visual_mask(inputs)).items():
        assert len(mean) == found.visual_tokens[samples[number].id]
        clear = (mean - 0.02).abs() > 1e-5
        dense = dense_weights(found, samples[number].id, layer)
        expected = torch.where(mean >= 0.02, mean, 0)
        torch.testing.assert_close(dense[clear], expected[clear], atol=1e-5, rtol=1e-3)


def test_graphs_of_single_heads(vlm, samples):
    found = trace(vlm, samples[:1], threshold=0.03, weights="heads")
    assert found.heads == vlm.decoder.config.num_attention_heads
    inputs = vlm.prepare([samples[0].images], [samples[0].prompt])
    visual = vlm.visual_mask(inputs)
    _, maps = eager_maps(vlm, inputs)
    for head in range(found.heads):
        block = maps[1][0, head][visual[0]][:, visual[0]]
        sure = ((block - 0.03) > 1e-5).sum(), ((block - 0.03) > -1e-5).sum()
        assert sure[0] <= len(graph_of(found, samples[0].id, 1, head)) <= sure[1]


def test_a_higher_threshold_needs_no_second_pass(vlm, samples):
    low = trace(vlm, samples, threshold=0.02)
    high = trace(vlm, samples, threshold=0.04)
    pd.testing.assert_frame_equal(low.at(0.04).edges, high.edges)
    assert low.at(0.04).threshold == 0.04 and len(high.edges) < len(low.edges)
    with pytest.raises(ValueError, match="threshold: expected 0.02 to 1, got 0.01"):
        low.at(0.01)


@pytest.mark.parametrize("weights", ["mean", "heads", "rollout"])
def test_weights_that_are_not_finite_name_sample_and_layer(vlm, samples, weights):
    """A broken layer shows in the next one's attention."""
    broken = vlm.layers[1].mlp.down_proj.weight
    kept = broken.detach().clone()
    torch.nn.init.constant_(broken, torch.nan)
    try:
        with pytest.raises(
            ValueError, match=f"finite attention weights, got .*{samples[0].id!r} in layer 2"
        ):
            trace(vlm, samples, weights=weights)
    finally:
        broken.data.copy_(kept)


@pytest.mark.parametrize("part", ["last layer", "embeddings"])
def test_what_no_attention_shows_is_read_off_the_logits(vlm, samples, part):
    """The last layer's output, and the row of a word that the prompt does not hold."""
    last = vlm.layers[-1].mlp.down_proj.weight
    broken = last if part == "last layer" else vlm.model.get_input_embeddings().weight[:1]
    kept = broken.detach().clone()
    broken.data.fill_(torch.nan)
    try:
        with pytest.raises(ValueError, match=f"finite logits, got .*{samples[0].id!r} after"):
            trace(vlm, samples)
    finally:
        broken.data.copy_(kept)


@pytest.mark.usefixtures("unchecked")
def test_bad_requests_are_refused_before_the_model_runs(samples):
    with pytest.raises(ValueError, match="samples: expected at least one"):
        trace(None, [])
    with pytest.raises(ValueError, match="threshold: expected more than 0 .* got 0"):
        trace(None, samples, threshold=0)
    with pytest.raises(ValueError, match="weights: expected one of .* got 'values'"):
        trace(None, samples, weights="values")
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        trace(None, samples, batch_size=0)
    with pytest.raises(ValueError, match=f"different ids, got '{samples[0].id}' twice"):
        trace(None, [*samples, samples[0]])


def toy_trace(edges, tokens, layers=1):
    """A trace of one sample from (layer, source, target)."""
    table = pd.DataFrame(edges, columns=["layer", "source", "target"]).astype(int)
    table = table.assign(sample="a", head=0, weight=np.float32(0.5))
    return Trace(table, {"a": tokens}, layers, 1, 0.1)


# --- Key patches ----------------------------------------------------------------------------

SIZE, PATCH, GRID = (96, 96), 12, 8
PATCHES = [(PATCH * x, PATCH * y, PATCH, PATCH) for y in range(GRID) for x in range(GRID)]
pixels = st.integers(0, 95)
# Quarters of pixels are exact in floating point.
boxes = st.tuples(pixels, pixels, st.integers(1, 384), st.integers(1, 384)).map(
    lambda b: (b[0], b[1], min(b[2] / 4, 96 - b[0]), min(b[3] / 4, 96 - b[1]))
)


def grid(region):
    return region.reshape(GRID, GRID)


@given(boxes)
def test_a_box_meets_the_patches_of_its_pixels(box):
    """Each corner of the grid's cells that the box covers, counted by hand."""
    x, y, width, height = box
    columns = range(int(x // PATCH), math.ceil((x + width) / PATCH))
    rows = range(int(y // PATCH), math.ceil((y + height) / PATCH))
    expected = {GRID * row + column for row in rows for column in columns}
    assert set(key_patches(PATCHES, [box], SIZE).nonzero()[0]) == expected


@given(boxes, st.integers(-7, 7), st.integers(-7, 7))
def test_a_box_moved_by_whole_patches_moves_its_region(box, right, down):
    x, y, width, height = box[0] + PATCH * right, box[1] + PATCH * down, *box[2:]
    assume(min(x, y) >= 0 and x + width <= 96 and y + height <= 96)
    moved = grid(key_patches(PATCHES, [(x, y, width, height)], SIZE))
    here = grid(key_patches(PATCHES, [box], SIZE))
    assert (moved == np.roll(here, (down, right), (0, 1))).all()


@given(boxes, st.sampled_from([0.25, 0.5, 2.0, 8.0]))
def test_a_scaled_image_has_the_same_region(box, scale):
    def scaled(each):
        return tuple(scale * value for value in each)

    got = key_patches([scaled(p) for p in PATCHES], [scaled(box)], scaled(SIZE))
    assert (got == key_patches(PATCHES, [box], SIZE)).all()


@given(st.lists(boxes, min_size=1, max_size=4))
def test_several_boxes_make_a_union(several):
    each = [key_patches(PATCHES, [box], SIZE) for box in several]
    assert (key_patches(PATCHES, several, SIZE) == np.any(each, axis=0)).all()


@given(boxes, st.integers(0, 64))
def test_newlines_belong_to_no_region(box, place):
    region = key_patches([*PATCHES[:place], None, *PATCHES[place:]], [box], SIZE)
    assert not region[place]
    assert (np.delete(region, place) == key_patches(PATCHES, [box], SIZE)).all()


def test_boxes_at_the_borders():
    everything = key_patches(PATCHES, [(0, 0, 96, 96)], SIZE)
    assert everything.all()
    corner = grid(key_patches(PATCHES, [(84, 84, 12, 12)], SIZE))
    assert corner[7, 7] and corner.sum() == 1
    # By rounding, annotations pass the border by less than a pixel.
    beyond = grid(key_patches(PATCHES, [(84.5, -0.4, 12.2, 5)], SIZE))
    assert beyond[0, 7] and beyond.sum() == 1


def test_touching_is_not_meeting():
    assert key_patches(PATCHES, [(12, 12, 12, 12)], SIZE).sum() == 1
    assert key_patches(PATCHES, [(12, 12, 12 + 1e-9, 12)], SIZE).sum() == 1
    assert key_patches(PATCHES, [(12, 12, 12.01, 12)], SIZE).sum() == 2


@given(boxes, st.sampled_from([(-100, 0), (100, 0), (0, -100), (0, 100)]))
def test_boxes_outside_the_image_are_refused(box, shift):
    outside = (box[0] + shift[0], box[1] + shift[1], *box[2:])
    with pytest.raises(ValueError, match="objects: expected boxes within the image of 96 x 96"):
        key_patches(PATCHES, [outside], SIZE)


@pytest.mark.parametrize("box", [(0, 0, -1, 5), (0, 0, 5, math.nan), (math.inf, 0, 1, 1)])
def test_impossible_boxes_are_refused(box):
    with pytest.raises(ValueError, match="objects: expected finite boxes of no negative extent"):
        key_patches(PATCHES, [box], SIZE)


# --- Annotations ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def annotations():
    return Annotations.read("digits")


def test_the_asked_object():
    assert asked_object("Is there a sports ball in the image?") == "sports ball"
    assert asked_object("Is there an umbrella in the image?") == "umbrella"
    assert asked_object("Is there an oven in the imange?") == "oven"
    with pytest.raises(ValueError, match="question: expected 'Is there a .* got 'How many\\?'"):
        asked_object("How many?")


def test_embedded_boxes_agree_with_the_answers(annotations, samples):
    for sample in [*samples, *load_benchmark("pope").draw(60, seed=3)]:
        name = asked_object(sample.question)
        expected = [b for n, b in annotated_boxes(sample.image_source) if n.split()[1] == name]
        assert annotations.boxes(sample.image_source, name) == expected
        assert bool(expected) == (sample.answer == "yes")
        assert annotations.size(sample.image_source) == sample.image.size


@pytest.fixture
def coco_file(tmp_path):
    """Instances as COCO publishes them: names with a split, boxes with fractions, a crowd."""
    content = {
        "images": [{"id": 42, "file_name": "COCO_val2014_000000000042.jpg",
                    "width": 640, "height": 478}],
        "annotations": [
            {"id": 1, "image_id": 42, "category_id": 18, "bbox": [214.15, 41.29, 348.26, 243.78],
             "area": 1.0, "iscrowd": 0},
            {"id": 2, "image_id": 42, "category_id": 18, "bbox": [0, 0, 10, 10],
             "area": 1.0, "iscrowd": 1},
        ],
        "categories": [{"id": 18, "name": "dog"}, {"id": 37, "name": "sports ball"}],
    }  # fmt: skip
    path = tmp_path / "instances_val2014.json"
    path.write_text(json.dumps(content))
    return path


def test_cocos_own_file_is_read(coco_file, capsys):
    found = Annotations.read(coco_file)
    assert capsys.readouterr().out == ""
    assert found.size("COCO_val2014_000000000042") == (640, 478)
    assert found.boxes("COCO_val2014_000000000042", "dog") == [
        (214.15, 41.29, 348.26, 243.78), (0, 0, 10, 10)
    ]  # fmt: skip
    assert found.boxes("COCO_val2014_000000000042", "sports ball") == []
    with pytest.raises(ValueError, match="name: expected one of .*'dog'.* got 'seven'"):
        found.boxes("COCO_val2014_000000000042", "seven")
    with pytest.raises(ValueError, match="image: expected one that is annotated, got '42'"):
        found.boxes("42", "dog")


OBJECT = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5]}


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"images": [], "annotations": []}))
    with pytest.raises(ValueError, match=r"annotations: expected a .* \['categories'\] missing"):
        Annotations.read(path)
    for place in (tmp_path / "none.json", tmp_path):
        with pytest.raises(
            ValueError, match="annotations: expected a file of COCO's instances, got"
        ):
            Annotations.read(place)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: [],
        lambda content: content | {"images": 3},
        lambda content: content | {"images": [{"id": 1}]},
        lambda content: content | {"annotations": [{"image_id": 1, "category_id": 1}]},
        lambda content: content | {"annotations": [OBJECT | {"bbox": [0, 0, 5]}]},
        lambda content: content | {"annotations": [OBJECT | {"bbox": [0, 0, 5, float("nan")]}]},
        lambda content: content | {"annotations": [OBJECT | {"bbox": "wide"}]},
    ],
)
def test_annotations_of_another_form_are_refused(tmp_path, change):
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [OBJECT],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    assert Annotations.read(path).boxes("a", "dog") == [(0, 0, 5, 5)]
    path.write_text(json.dumps(change(content)))
    with pytest.raises(ValueError, match="annotations: expected a file of COCO's instances"):
        Annotations.read(path)


def test_regions_of_the_embedded_questions(vlm, annotations):
    """As long as the visual tokens; what is absent is left out and counted."""
    samples = list(load_benchmark("pope").draw(12, seed=5))
    found = key_regions(vlm, samples, annotations)
    assert set(found.regions) == {s.id for s in samples if s.answer == "yes"}
    assert found.excluded == {s.id: "absent" for s in samples if s.answer == "no"}
    assert found.regions and found.excluded
    for sample in samples:
        if sample.id in found.regions:
            region = found.regions[sample.id]
            inputs = vlm.prepare([sample.image], [sample.prompt])
            assert len(region) == int(vlm.visual_mask(inputs).sum())
            assert region.any() and not region.all()
    ratios = degree_ratios(trace(vlm, samples, threshold=0.02), found.regions)
    assert len(ratios) == len(found.regions) * len(vlm.layers) * 3
    assert ratios["ratio"].dropna().between(0, 1).all() and ratios["ratio"].notna().any()


def wide_sample(tmp_path, box):
    """A question on a picture of 192 x 96 pixels with one dog, and its annotations."""
    content = {
        "images": [{"id": 1, "file_name": "wide.png", "width": 192, "height": 96}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 18, "bbox": box, "iscrowd": 0}],
        "categories": [{"id": 18, "name": "dog"}],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    question = "Is there a dog in the image?"
    image = Image.new("RGB", (192, 96))
    sample = Sample("wide", (image,), question, question, "yes", "random", "wide")
    return sample, Annotations.read(path)


def test_what_the_processor_crops_away_is_unseen(vlm, tmp_path):
    """LLaVA-1.5 cuts the middle out of a wide picture; the other families show all of it."""
    sample, wide = wide_sample(tmp_path, [0, 0, 40, 96])
    found = key_regions(vlm, [sample], wide)
    if vlm.name == "llava":
        assert not found.regions and found.excluded == {"wide": "unseen"}
    else:
        assert found.regions["wide"].any() and not found.excluded


def test_the_whole_image_is_every_patch(vlm, tmp_path):
    """All tokens but those that end a row of tiles."""
    sample, wide = wide_sample(tmp_path, [0, 0, 192, 96])
    [region] = key_regions(vlm, [sample], wide).regions.values()
    # Two tiles side by side have 8 rows of patches in common, and each ends with a newline.
    newlines = {"llava-next": 8, "llava-onevision": 8}.get(vlm.name, 0)
    assert (~region).sum() == newlines


@pytest.mark.usefixtures("unchecked")
def test_an_image_of_another_size_is_refused(annotations, samples):
    other = replace(samples[0], images=(Image.new("RGB", (100, 96)),))
    with pytest.raises(ValueError, match=r"to be \(96, 96\) as annotated, got \(100, 96\)"):
        key_regions(None, [other], annotations)


# --- Degree ratio ---------------------------------------------------------------------------


def region_of(tokens, *chosen):
    region = np.zeros(tokens, bool)
    region[list(chosen)] = True
    return region


@st.composite
def graphs(draw):
    tokens = draw(st.integers(2, 9))
    pairs = [(j, i) for i in range(tokens) for j in range(i + 1)]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True))
    key = draw(st.sets(st.integers(0, tokens - 1), min_size=1))
    return tokens, edges, key


@given(graphs())
def test_the_ratio_counts_edges_with_an_end_in_the_region(case):
    tokens, edges, key = case
    region = region_of(tokens, *key)
    table = degree_ratios(toy_trace([(0, *e) for e in edges], tokens), {"a": region})
    kinds = {
        "all": edges,
        "between": [e for e in edges if e[0] != e[1]],
        "self": [e for e in edges if e[0] == e[1]],
    }
    for row in table.itertuples():
        touching = [e for e in kinds[row.kind] if key & set(e)]
        assert (row.edges, row.key_edges) == (len(kinds[row.kind]), len(touching))
        if kinds[row.kind]:
            assert row.ratio == pytest.approx(len(touching) / len(kinds[row.kind]))
        else:
            assert math.isnan(row.ratio) and math.isnan(row.normalised)


@given(st.integers(2, 9), st.data())
def test_uniform_edges_have_a_normalised_ratio_of_one(tokens, data):
    """The graph with every pair that causality allows, wherever the key tokens lie."""
    key = data.draw(st.sets(st.integers(0, tokens - 1), min_size=1))
    edges = [(0, j, i) for i in range(tokens) for j in range(i + 1)]
    table = degree_ratios(toy_trace(edges, tokens), {"a": region_of(tokens, *key)})
    assert table["normalised"].to_numpy() == pytest.approx(1)


def test_uniform_ratio_in_closed_form():
    assert uniform_ratio(4, 4) == uniform_ratio(4, 4, "between") == 1
    assert uniform_ratio(4, 1, "self") == 1 / 4
    assert uniform_ratio(4, 1, "between") == 1 - 3 / 6
    assert uniform_ratio(4, 1) == 1 - 6 / 10
    assert math.isnan(uniform_ratio(1, 1, "between"))
    with pytest.raises(ValueError, match="key_tokens: expected 1 to 4, got 5"):
        uniform_ratio(4, 5)
    with pytest.raises(ValueError, match="kind: expected one of .* got 'some'"):
        uniform_ratio(4, 1, "some")


def test_random_edges_approach_the_uniform_ratio():
    rng = np.random.default_rng(0)
    targets, sources = np.tril_indices(30)
    drawn = rng.integers(len(targets), size=20_000)
    edges = [(0, j, i) for j, i in zip(sources[drawn], targets[drawn], strict=True)]
    table = degree_ratios(toy_trace(edges, tokens=30), {"a": region_of(30, 3, 4, 17)})
    # Four standard errors of a share of 20,000 draws.
    ratio = table.set_index("kind")["ratio"]["all"]
    assert ratio == pytest.approx(uniform_ratio(30, 3), abs=0.012)


def test_empty_layers_stay_in_the_table():
    found = toy_trace([(1, 0, 1), (1, 1, 1)], tokens=3, layers=3)
    table = degree_ratios(found, {"a": region_of(3, 0)})
    assert list(table["layer"].unique()) == [0, 1, 2] and len(table) == 9
    whole = table[table["kind"] == "all"].set_index("layer")["ratio"]
    assert math.isnan(whole[0]) and whole[1] == 0.5 and math.isnan(whole[2])


def test_a_subset_of_the_tokens():
    """Edges to tokens that are left out do not count, nor do those tokens."""
    found = toy_trace([(0, 0, 1), (0, 0, 3), (0, 1, 2), (0, 3, 3)], tokens=4)
    among = {"a": region_of(4, 0, 1, 2)}
    table = degree_ratios(found, {"a": region_of(4, 0, 3)}, tokens=among).set_index("kind")
    assert tuple(table.loc["all", ["tokens", "key_tokens", "edges", "key_edges"]]) == (3, 1, 2, 1)
    assert table.loc["all", "expected"] == uniform_ratio(3, 1)


@pytest.mark.usefixtures("unchecked")
def test_masks_that_do_not_fit_are_refused():
    found = toy_trace([(0, 0, 2)], tokens=3)
    with pytest.raises(ValueError, match="regions: expected 3 tokens for 'a', got 2"):
        degree_ratios(found, {"a": region_of(2, 0)})
    with pytest.raises(ValueError, match="tokens: expected 3 tokens for 'a', got 2"):
        degree_ratios(found, {"a": region_of(3, 0)}, tokens={"a": region_of(2, 0)})
    with pytest.raises(ValueError, match="regions: expected samples that were traced, got 'b'"):
        degree_ratios(found, {"b": region_of(3, 0)})
    with pytest.raises(ValueError, match="region: expected at least one key token, got none"):
        degree_ratios(found, {"a": region_of(3)})


def test_no_regions_are_refused():
    with pytest.raises(ValueError, match="regions: expected at least one, got none"):
        degree_ratios(toy_trace([(0, 0, 2)], tokens=3), {})
