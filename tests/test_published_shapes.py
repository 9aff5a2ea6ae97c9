"""Pixels, tokens and prompts at the published shapes.

What a token sees is read off the tower's own patch embedding and the model's own packing.
"""

import re

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.models.patch_boxes import patch_boxes
from lost_in_attention.models.token_patches import token_patches
from published_shapes import TEMPLATES, published

SIZES = [(640, 480), (480, 640), (1000, 300), (333, 500), (200, 200)]
# More than OneVision's nine tiles: it mixes neighbouring patches.
LARGE = (1700, 1500)


@pytest.fixture(scope="module", params=TEMPLATES)
def vlm(request) -> VisionLanguageModel:
    return published(request.param)


@pytest.fixture(scope="module")
def onevision() -> VisionLanguageModel:
    return published("llava-onevision")


def prepared(vlm, image):
    return vlm.prepare([image], ["look"])


@torch.inference_mode()
def colours(vlm, inputs) -> Tensor:
    """Mean red, green and blue that each visual token sees, [tokens, 3], NaN for newlines."""
    model, processor = vlm.model.model, vlm.processor.image_processor
    if vlm.name == "qwen2.5-vl":
        projection = model.visual.patch_embed.proj
    else:
        projection = model.vision_tower.embeddings.patch_embedding
    projection.weight.zero_()
    for channel in range(3):
        projection.weight[channel, channel] = 1 / projection.weight[0, 0].numel()
    if getattr(projection, "bias", None) is not None:
        projection.bias.zero_()
    pixels = inputs["pixel_values"]
    if vlm.name == "qwen2.5-vl":
        seen = model.visual.patch_embed(pixels)[:, :3].unflatten(0, (-1, 4)).mean(1)
    else:
        maps = projection(pixels.flatten(0, -4))[:, :3].flatten(2).mT
        seen = maps[0] if vlm.name == "llava" else packed(model, inputs, maps)
    return seen * torch.tensor(processor.image_std) + torch.tensor(processor.image_mean)


def packed(model, inputs, maps):
    options = (
        {"vision_aspect_ratio": "anyres_max_9"}
        if hasattr(model.config, "vision_aspect_ratio")
        else {"vision_feature_select_strategy": "default"}
    )
    [tokens], _ = model.pack_image_features(
        [maps], inputs["image_sizes"], image_newline=torch.full((3,), torch.nan), **options
    )
    return tokens


def corners(boxes) -> np.ndarray:
    """Left, top, right and bottom of each token, NaN for newlines."""
    x, y, wide, high = np.array([box or [np.nan] * 4 for box in boxes]).T
    return np.stack([x, y, x + wide, y + high], 1)


def slope(width: int, height: int) -> Image.Image:
    """Red grows from left to right, green from top to bottom."""
    pixels = np.zeros((height, width, 3))
    pixels[..., 0] = (np.arange(width) + 0.5) / width
    pixels[..., 1] = ((np.arange(height) + 0.5) / height)[:, None]
    return Image.fromarray(np.rint(255 * pixels).astype(np.uint8))


def test_a_slope_of_colour_says_where_each_token_looks(vlm):
    """The mean colour of what a token sees is that of its box's middle."""
    for size in SIZES:
        image = slope(*size)
        inputs = prepared(vlm, image)
        seen = colours(vlm, inputs)[:, :2].numpy() * size
        edges = corners(patch_boxes(vlm, inputs, [image])[0])
        assert np.array_equal(np.isnan(edges[:, :2]), np.isnan(seen))
        # At the border padding darkens what is seen.
        inside = ((edges[:, :2] > 1) & (edges[:, 2:] < np.array(size) - 1)).all(1)
        assert inside.sum() > 300 or vlm.name == "qwen2.5-vl"
        middle = (edges[:, :2] + edges[:, 2:]) / 2
        assert np.abs(middle - seen)[inside].max() < max(size) / 400


def test_mixed_patches_are_all_inside_the_box(onevision):
    """What a token of a large image sees changes with every patch that its box goes around."""
    image = slope(*LARGE)
    inputs = prepared(onevision, image)
    seen = colours(onevision, inputs)[:, :2].numpy() * LARGE
    left, top, right, bottom = corners(patch_boxes(onevision, inputs, [image])[0]).T
    assert (np.unique(np.round(right[729:] - left[729:])) > 20).any()
    inside = (left > 1) & (top > 1) & (right < LARGE[0] - 1) & (bottom < LARGE[1] - 1)
    for low, high, value in ((left, right, seen[:, 0]), (top, bottom, seen[:, 1])):
        assert (low - 2 < value)[inside].all() and (value < high + 2)[inside].all()


@pytest.mark.parametrize("size", [(640, 480), (333, 500), LARGE])
def test_the_tokens_that_change_are_those_whose_boxes_meet_the_change(vlm, size):
    """Up to the few pixels by which resizing blurs."""
    if size == LARGE and vlm.name != "llava-onevision":
        pytest.skip("only OneVision mixes patches")
    left, top, side = size[0] // 2 + 5, size[1] // 3, 40
    grey = np.full((size[1], size[0], 3), 128, np.uint8)
    marked = grey.copy()
    marked[top : top + side, left : left + side] = 255
    pictures = [Image.fromarray(pixels) for pixels in (grey, marked)]
    before, after = (colours(vlm, prepared(vlm, picture)) for picture in pictures)
    changed = ((after - before).abs().max(1).values > 1e-4).numpy()
    edges = corners(patch_boxes(vlm, prepared(vlm, pictures[0]), pictures[:1])[0])
    blur = 2 * size[0] / 336 + 2
    for slack, agrees in ((blur, np.less_equal), (-blur, np.greater_equal)):
        meets = (
            (edges[:, 0] < left + side + slack) & (edges[:, 2] > left - slack)
            & (edges[:, 1] < top + side + slack) & (edges[:, 3] > top - slack)
        )  # fmt: skip
        assert meets.any() and agrees(changed, meets).all()


def test_the_strip_behind_onevisions_last_patch_is_not_seen(onevision):
    """27 patches of 14 pixels end at pixel 378 of 384, which is 630 of 640."""
    image = slope(640, 480)
    inputs = prepared(onevision, image)
    [boxes] = patch_boxes(onevision, inputs, [image])
    assert boxes[26] == pytest.approx((606.667, 0, 23.333, 17.5), abs=1e-3)
    assert boxes[728] == pytest.approx((606.667, 455, 23.333, 17.5), abs=1e-3)
    strip = np.asarray(image).copy()
    strip[:, 634:] = 255
    other = colours(onevision, prepared(onevision, Image.fromarray(strip)))
    assert torch.equal(other[:729], colours(onevision, inputs)[:729])


def test_what_priors_measure_is_what_the_tower_sees(vlm):
    """Patch by patch, mixed ones too."""
    sizes = [LARGE, (640, 480)] if vlm.name == "llava-onevision" else [(640, 480), (333, 500)]
    for size in sizes:
        noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        inputs = prepared(vlm, Image.fromarray(noise))
        [red] = token_patches(vlm, inputs, lambda patches: patches[..., 0, :, :].mean((-2, -1)))
        torch.testing.assert_close(
            red, colours(vlm, inputs)[:, 0], equal_nan=True, atol=1e-5, rtol=0
        )


def test_a_processor_that_pads_to_a_square_crops_nothing():
    vlm = published("llava")
    vlm.processor.image_processor = LlavaImageProcessorPil(
        do_pad=True, size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}
    )
    image = slope(640, 480)
    [boxes] = patch_boxes(vlm, prepared(vlm, image), [image])
    assert boxes[4 * 24] == pytest.approx((0, 80 / 3, 80 / 3, 80 / 3))
    assert boxes[0] == pytest.approx((0, 0, 80 / 3, 0))


# --- Prompts --------------------------------------------------------------------------------

QUESTION = "Compare <image 1> with <image 2>.\nA. <image 2>\nB. neither"


def rendered(vlm, prompt, count):
    """The prompt as the model reads it, each image as one token."""
    images = [Image.new("RGB", (96, 96))] * count
    text = vlm.processor.tokenizer.decode(vlm.prepare([images], [prompt])["input_ids"][0])
    token = vlm.processor.image_token
    return re.sub(f"({re.escape(token)})+", token, text)


def test_references_to_several_images_stay(vlm):
    text = rendered(vlm, QUESTION, 2)
    if vlm.name == "qwen2.5-vl":
        image = "<|vision_start|><|image_pad|><|vision_end|>"
        assert f"Compare {image} with {image}.\nA. {image}\nB. neither<|im_end|>" in text
        assert "<image" not in text
    else:
        assert QUESTION in text
        images, question = text.index("<image>"), text.index("Compare")
        assert images < question and "<image>" not in text[question:]


def test_an_image_in_front_is_no_reference(vlm):
    """ "<image 1> look" is "look" with its image; elsewhere the marker stays."""
    assert rendered(vlm, "<image 1> look", 1) == rendered(vlm, "look", 1)
    assert rendered(vlm, "<image 1>\nlook", 1) == rendered(vlm, "look", 1)
    inside = rendered(vlm, "Here <image 1> look", 1)
    if vlm.name == "qwen2.5-vl":
        image = "<|vision_start|><|image_pad|><|vision_end|>"
        assert f"Here {image} look" in inside
        assert f"{image} and {image} here" in rendered(vlm, "<image 2> and <image 1> here", 2)
    else:
        assert "Here <image 1> look" in inside


def test_images_come_in_the_order_that_the_text_refers_to(vlm):
    """Images first: by number, each once.  Otherwise: as they are marked."""
    red, blue = (Image.new("RGB", (336, 336), colour) for colour in ("red", "blue"))
    inputs = vlm.prepare([[red, blue]], ["<image 2> and <image 1> or <image 2>"])
    pixels = inputs["pixel_values"].float()
    if vlm.name == "qwen2.5-vl":
        first, *_, last = pixels.view(3, -1, 3, 392)
        assert first[0, 2].mean() > first[0, 0].mean() and last[0, 2].mean() > last[0, 0].mean()
    else:
        first, second = pixels.view(2, -1, 3, *pixels.shape[-2:])[:, 0]
        assert first[0].mean() > first[2].mean() and second[2].mean() > second[0].mean()


def test_a_marker_without_its_image_is_refused(vlm):
    for prompt in ("<image 2>", "look <image 0>"):
        with pytest.raises(ValueError, match="prompt: expected markers of its 1 images, got <im"):
            vlm.prepare([Image.new("RGB", (96, 96))], [prompt])


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_picture_is_refused(vlm):
    for bad, got in ((Image.new("RGB", (0, 5)), "0 x 5"), ("a.png", "str"), ([None], "NoneType")):
        with pytest.raises(ValueError, match=f"image: expected .*, got {got}"):
            vlm.prepare([bad], ["look"])
