"""The encoder's map and the boxes: every family's tokens stand for the pixels that they claim."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers import AttentionInterface

from families import FAMILIES, received, untrained
from lost_in_attention.digits import make_scenes
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.patch_boxes import patch_boxes
from lost_in_attention.models.token_patches import token_patches
from lost_in_attention.models.tower_attention import recorded_attention

TILED = ("llava-next", "llava-onevision")
# Where the whole image's tokens and those of its parts stand.
VIEWS = dict.fromkeys(TILED, (slice(64), slice(64, None)))
VIEWS["smolvlm"] = (slice(-64, None), slice(-64))
SIZES = [(96, 96), (150, 96), (60, 200), (301, 77)]


@pytest.fixture(scope="module", params=FAMILIES)
def vlm(request) -> VisionLanguageModel:
    return untrained(request.param)


@pytest.fixture(scope="module")
def images() -> list[Image.Image]:
    scenes = make_scenes(len(SIZES), split="train", seed=1)
    return [scene.image.resize(size) for scene, size in zip(scenes, SIZES, strict=True)]


def prepared(vlm, images):
    return vlm.prepare(images, ["look"] * len(images))


def whole_maps(vlm, images) -> list[torch.Tensor]:
    """Every map of the vision tower's attention, mean over heads, in the order of the calls."""
    maps = []

    def eager(module, query, key, value, attention_mask, scaling=None, **kwargs):
        weights = (query @ key.transpose(-1, -2) * scaling).softmax(-1)
        maps.append(weights.mean(1))
        return (weights @ value).transpose(1, 2).contiguous(), weights

    AttentionInterface.register("whole_maps", eager)
    vlm.model.set_attn_implementation({"vision_config": "whole_maps"})
    with torch.inference_mode():
        vlm.encode_images(images)
    vlm.model.set_attn_implementation({"vision_config": "sdpa"})
    return maps


def test_one_value_for_each_visual_token(vlm, images):
    """NaN stands where the decoder has a newline, and nowhere else."""
    found = received(vlm, images)
    with torch.inference_mode():
        features = vlm.encode_images(images)
    newline = getattr(vlm.model.model, "image_newline", None)
    for values, tokens in zip(found, features, strict=True):
        assert values.shape == tokens.shape[:1] and values.dtype == torch.float32
        ends = torch.zeros(len(tokens), dtype=torch.bool)
        if newline is not None:
            ends = (tokens == newline).all(1)
            assert ends.any()
        assert torch.equal(values.isnan(), ends)


def test_qwen_map_is_that_of_the_decoders_tokens(vlm, images):
    """The order is read off the features before and after the tower undoes its windows."""
    if vlm.name != "qwen2.5-vl":
        pytest.skip("windows are Qwen's")
    merged = []
    hook = vlm.model.model.visual.merger.register_forward_hook(lambda m, a, out: merged.append(out))
    with torch.inference_mode():
        features = torch.cat(vlm.encode_images(images))
    hook.remove()
    order = torch.cdist(features, merged[0]).argmin(1)
    assert sorted(order.tolist()) == list(range(len(features)))
    assert order.tolist() != list(range(len(features)))
    last = whole_maps(vlm, images)[-len(images) :]
    blocks = [each.mean((0, 1)).view(-1, 4).mean(1) for each in last]
    torch.testing.assert_close(torch.cat(received(vlm, images)), torch.cat(blocks)[order])


def test_llava_map_is_that_of_the_last_layer_without_cls(vlm, images):
    if vlm.name != "llava":
        pytest.skip("one tile an image and a CLS token are LLaVA-1.5's")
    maps = whole_maps(vlm, images)
    assert vlm.model.config.vision_feature_layer == -2  # The decoder sees the layer before.
    expected = maps[-1][:, 1:, 1:].mean(1)
    torch.testing.assert_close(torch.stack(received(vlm, images)), expected)


def test_onevision_tiles_give_all_their_attention(vlm, images):
    """No CLS token: what the tokens of a tile receive sums to 1; the first tile is whole."""
    if vlm.name != "llava-onevision":
        pytest.skip("the other towers have a CLS token or one tile")
    for values in received(vlm, images):
        assert float(values[:64].sum()) == pytest.approx(1, abs=1e-5)


def test_recording_changes_nothing(vlm, images):
    inputs = prepared(vlm, images)
    with torch.inference_mode():
        before = vlm.model(**inputs).logits
        with recorded_attention(vlm) as recorded:
            during = vlm.model(**inputs).logits
    assert torch.equal(before, during)
    assert len(recorded.in_decoder_order(inputs)) == len(images)


def test_max_pooling_is_never_less_than_mean_pooling(vlm, images):
    inputs = prepared(vlm, images)
    with torch.inference_mode(), recorded_attention(vlm) as recorded:
        vlm.model.model(**inputs)
    values = [
        torch.cat(recorded.in_decoder_order(inputs, pooling=pooling)).nan_to_num()
        for pooling in ("mean", "max")
    ]
    if vlm.family.merge > 1:
        assert (values[1] > values[0]).all()
    else:
        torch.testing.assert_close(values[0], values[1])


def test_an_error_leaves_no_recorder(vlm):
    with pytest.raises(KeyboardInterrupt), recorded_attention(vlm):
        raise KeyboardInterrupt
    assert vlm.model.config.vision_config._attn_implementation == "sdpa"
    assert not any("_attention_recorder" in module.__dict__ for module in vlm.model.modules())


def test_unknown_pooling_and_other_implementations_are_refused(vlm):
    with (
        recorded_attention(vlm) as recorded,
        pytest.raises(ValueError, match="pooling: expected one of"),
    ):
        recorded.in_decoder_order({}, pooling="sum")
    vlm.model.set_attn_implementation({"vision_config": "eager"})
    try:
        with pytest.raises(ValueError, match="expected the vision tower to run on 'sdpa'"):
            received(vlm, [Image.new("RGB", (96, 96))])
    finally:
        vlm.model.set_attn_implementation({"vision_config": "sdpa"})


def test_a_window_in_the_last_layer_is_refused(vlm):
    if vlm.name != "qwen2.5-vl":
        pytest.skip("windows are Qwen's")
    visual = vlm.model.model.visual
    usual, visual.fullatt_block_indexes = visual.fullatt_block_indexes, [1]
    try:
        with pytest.raises(ValueError, match="got one that attends within windows"):
            received(vlm, [Image.new("RGB", (96, 96))])
    finally:
        visual.fullatt_block_indexes = usual


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.tuples(st.integers(50, 220), st.integers(50, 220)),
    st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)),
)
def test_a_white_spot_lights_up_the_token_whose_box_holds_it(vlm, size, where):
    """From the pixels through each family's cutting and packing to the box, and back."""
    width, height = size
    x, y = int(where[0] * (width - 8)), int(where[1] * (height - 8))
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y : y + 8, x : x + 8] = 255
    image = Image.fromarray(pixels)
    inputs = prepared(vlm, [image])
    [light] = token_patches(vlm, inputs, lambda patches: patches.mean((-3, -2, -1)))
    [boxes] = patch_boxes(vlm, inputs, [image])
    assert len(boxes) == len(light) == int(vlm.visual_mask(inputs).sum())
    assert [box is None for box in boxes] == light.isnan().tolist()
    light = light.nan_to_num(nan=0.0)
    for view in VIEWS.get(vlm.name, [slice(None)]):
        brightest = int(light[view].argmax())
        if light[view][brightest] < 0.02:
            continue  # The spot was cropped away.
        left, top, wide, high = boxes[view][brightest]
        assert left - 1 < x + 8 and x < left + wide + 1
        assert top - 1 < y + 8 and y < top + high + 1


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.tuples(st.integers(50, 220), st.integers(50, 220)))
def test_boxes_lie_inside_the_image_and_cover_it(vlm, size):
    width, height = size
    image = Image.new("RGB", size)
    [boxes] = patch_boxes(vlm, prepared(vlm, [image]), [image])
    known = [box for box in boxes if box]
    for x, y, wide, high in known:
        assert x >= 0 and y >= 0 and wide >= 0 and high >= 0
        assert x + wide <= width + 1e-6 and y + high <= height + 1e-6
    whole = known[VIEWS.get(vlm.name, [slice(None)])[0]]
    area = sum(wide * high for _, _, wide, high in whole)
    covered = min(size) ** 2 if vlm.name == "llava" else width * height
    assert area == pytest.approx(covered, rel=0.05)


def test_boxes_of_llava_by_hand(vlm):
    """The middle square of a 192 x 96 image, at half resolution: tokens of 12 pixels."""
    if vlm.name != "llava":
        pytest.skip("only LLaVA-1.5 crops")
    image = Image.new("RGB", (384, 192))
    [boxes] = patch_boxes(vlm, prepared(vlm, [image]), [image])
    assert boxes[0] == (96, 0, 24, 24) and boxes[-1] == (264, 168, 24, 24)


def test_onevision_shows_several_images_of_a_prompt_whole(vlm):
    """Padded to a square: boxes are cut at the border of the image."""
    if vlm.name != "llava-onevision":
        pytest.skip("the other families cut every image alike")
    images = [Image.new("RGB", (96, 48)), Image.new("RGB", (96, 96))]
    inputs = vlm.prepare([images], ["look"])
    flat, square = patch_boxes(vlm, inputs, images)
    assert len(flat) == len(square) == 65 and flat[-1] is None
    assert flat[0] == (0, 0, 12, 0) and flat[16] == (0, 0, 12, 12) and square[9] == (12, 12, 12, 12)


def test_as_many_images_as_in_the_inputs(vlm, images):
    with pytest.raises(ValueError, match="images: expected the inputs' 1 images, got 2"):
        patch_boxes(vlm, prepared(vlm, images[:1]), images[:2])


def test_packing_keeps_the_first_tile_and_ends_rows(vlm):
    if vlm.name not in TILED:
        pytest.skip("one tile an image")
    image = Image.new("RGB", (192, 96))
    tiles = torch.arange(3 * 64.0).view(3, 64, 1)
    [packed] = vlm.family.pack(prepared(vlm, [image]), [tiles])
    assert packed[:64, 0].tolist() == list(range(64))
    first_row = packed[64 : 64 + 17, 0]
    assert first_row[:8].tolist() == list(range(64, 72))
    assert first_row[8:16].tolist() == list(range(128, 136)) and first_row[16].isnan()
