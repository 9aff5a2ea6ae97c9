"""SmolVLM, which has no small model: tokens, boxes and the tower's map at the published shape."""

import copy
import math

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    BertConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    SmolVLMForConditionalGeneration,
    SmolVLMProcessor,
)
from transformers.models.smolvlm import processing_smolvlm

from families import received, smolvlm, untrained
from lost_in_attention.benchmarks import Sample
from lost_in_attention.models import VisionLanguageModel, families, load
from lost_in_attention.models.families.llava_onevision import LlavaOnevision
from lost_in_attention.models.families.smolvlm import ImageByImageIdefics3Processor, SmolVLM
from lost_in_attention.models.patch_boxes import patch_boxes
from lost_in_attention.models.tower_attention import recorded_attention
from lost_in_attention.residual.measure import measure
from lost_in_attention.sap import MODES, SharedAttentionPrior, again, encoded, paper, released
from lost_in_attention.sap import shared_attention_prior as under
from lost_in_attention.trace import trace
from published_shapes import published
from standins import change_json, name_image_processor

# A photo, a banner, a strip that is stretched, a stamp; rows and columns of their tiles.
TILES = {(640, 427): (3, 4), (300, 1000): (4, 2), (5000, 100): (1, 4), (64, 64): (4, 4)}
GENERATION = {
    "max_new_tokens": 4, "do_sample": False, "eos_token_id": None, "pad_token_id": 0,
    "return_dict_in_generate": True, "output_logits": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def vlm() -> VisionLanguageModel:
    return published("smolvlm")


@pytest.fixture(scope="module")
def small() -> VisionLanguageModel:
    return untrained("smolvlm")


@pytest.fixture(scope="module")
def unsplit(small) -> VisionLanguageModel:
    """One tile of 128 pixels an image, 64 tokens."""
    config, processor = smolvlm(small.processor.tokenizer, side=128, patch_size=8, split=False)
    torch.manual_seed(0)
    return VisionLanguageModel(SmolVLMForConditionalGeneration(config).eval(), processor, "one")


@pytest.fixture(scope="module")
def blind_tower(vlm) -> VisionLanguageModel:
    return blind(VisionLanguageModel(copy.deepcopy(vlm.model), vlm.processor, "smolvlm"))


def blind(vlm) -> VisionLanguageModel:
    """The tower's patches see nothing of each other."""
    for layer in vlm.family.tower.encoder.layers:
        torch.nn.init.zeros_(layer.self_attn.out_proj.weight)
        torch.nn.init.zeros_(layer.self_attn.out_proj.bias)
    return vlm


def noise(size, seed=0):
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


# --- Tiles, tokens, boxes -------------------------------------------------------------------


def test_tiles_and_tokens_are_those_of_the_prompt(vlm):
    """Several images in a prompt: rows and columns as the text around the tokens names them."""
    images = [noise(size) for size in TILES]
    inputs = vlm.prepare([images[:3], images[3:]], ["look", "look"])
    assert vlm.family.tile_counts(inputs) == [math.prod(tiles) + 1 for tiles in TILES.values()]
    assert vlm.family.grids(inputs) == [(8, 8)] * 4
    boxes = patch_boxes(vlm, inputs, images)
    placeholders = vlm.visual_mask(inputs).sum(1).tolist()
    assert placeholders == [sum(map(len, boxes[:3])), len(boxes[3])]
    text = "".join(map(vlm.processor.tokenizer.decode, inputs["input_ids"]))
    for part in text.split("<global-img>")[:-1]:
        rows, columns = TILES[images.pop(0).size]
        assert f"<row_{rows}_col_{columns}>" in part and f"<row_{rows + 1}_col" not in part
        assert f"col_{columns + 1}>" not in part


def test_a_features_row_is_an_image(vlm):
    images = [noise(size) for size in TILES]
    with torch.inference_mode():
        apart = [len(features) for features in vlm.encode_images(images)]
    assert apart == [64 * (math.prod(tiles) + 1) for tiles in TILES.values()]
    inputs = vlm.prepare([images[:3], images[3:]], ["look", "look"])
    assert encoded(vlm, inputs)["mm_encoder_outputs"]["image"].images.counts == apart


@pytest.mark.parametrize("size", TILES)
def test_what_the_connector_gives_changes_where_the_boxes_meet_the_change(blind_tower, size):
    """A part of the second of two images in a prompt turns white.

    Each resizing blurs by three pixels of the coarser grid: to 2048 pixels, to a tile.
    """
    width, height = size
    left, top, right, bottom = width // 3, height // 8, 3 * width // 4, 5 * height // 8
    image, first = noise(size), noise((200, 100), seed=1)
    marked = np.asarray(image).copy()
    marked[top:bottom, left:right] = 255
    with torch.inference_mode():
        before, after = (
            torch.cat(blind_tower.encode_images([first, each]))
            for each in (image, Image.fromarray(marked))
        )
    changed = ((after - before).abs().amax(1) > 1e-6).numpy()
    inputs = blind_tower.prepare([[first, image]], ["look"])
    boxes = patch_boxes(blind_tower, inputs, [first, image])
    assert not changed[: len(boxes[0])].any()
    x, y, wide, high = np.array(boxes[1]).T
    grid = max(1, max(size) / 2048)
    across, down = (3 * (grid + max(grid, side / 512)) for side in size)
    for sign, agrees in ((1, np.less_equal), (-1, np.greater_equal)):
        meets = (
            (x < right + sign * across) & (x + wide > left - sign * across)
            & (y < bottom + sign * down) & (y + high > top - sign * down)
        )  # fmt: skip
        assert agrees(changed[len(boxes[0]) :], meets).all()
    assert 0 < meets.sum() < len(meets) / 2


@torch.inference_mode()
def test_a_pixel_changes_the_token_whose_box_holds_it(small):
    """Tiles of 40 pixels at their own resolution: patches of 6 leave 4 pixels unseen."""
    config, processor = smolvlm(small.processor.tokenizer, side=40, patch_size=6)
    vlm = VisionLanguageModel(SmolVLMForConditionalGeneration(config).eval(), processor, "strip")
    blind(vlm)
    image = noise((80, 80))
    [boxes] = patch_boxes(vlm, vlm.prepare([image], ["look"]), [image])
    [before] = vlm.encode_images([image])
    for x, y in ((0, 0), (11, 12), (35, 35), (36, 35), (40, 0), (75, 41), (79, 79)):
        marked = np.asarray(image).copy()
        marked[y, x] = 255 - marked[y, x]
        [after] = vlm.encode_images([Image.fromarray(marked)])
        # The last tile is smaller and blurred.
        changed = ((after - before).abs().amax(1) > 1e-6).tolist()[:-9]
        held = [a <= x < a + wide and b <= y < b + high for a, b, wide, high in boxes[:-9]]
        assert changed == held and sum(held) == (x % 40 < 36 and y % 40 < 36)


def test_the_whole_image_comes_last(vlm):
    image = noise((640, 427))
    [boxes] = patch_boxes(vlm, vlm.prepare([image], ["look"]), [image])
    assert boxes[0] == pytest.approx((0, 0, 640 / 32, 427 / 24))
    assert boxes[64] == pytest.approx((160, 0, 640 / 32, 427 / 24))
    assert boxes[-1] == pytest.approx((560, 7 * 427 / 8, 80, 427 / 8))


# --- The tower's map ------------------------------------------------------------------------


@torch.inference_mode()
def test_a_token_receives_what_its_shuffled_patches_receive(small):
    """Which patches a token collects is read off the connector's own shuffle."""
    image, side = noise((96, 96)), 16
    places = torch.arange(float(side**2)).view(1, side**2, 1)
    patches = small.model.model.connector.pixel_shuffle(places, 2)[0].long()
    assert patches[1].tolist() == [2, 3, 18, 19]
    tower = small.family.tower
    tower.set_attn_implementation("eager")
    maps = []
    hook = small.family.last_attention.register_forward_hook(lambda m, a, out: maps.append(out[1]))
    small.encode_images([image])
    hook.remove()
    tower.set_attn_implementation("sdpa")
    expected = maps[0].mean((1, 2))[:, patches].mean(-1).flatten()
    torch.testing.assert_close(received(small, [image])[0], expected)
    blocks = maps[0][:, :, patches][..., patches].amax((3, 5)).mean((1, 2))
    with recorded_attention(small) as recorded:
        small.encode_images([image])
    [largest] = recorded.in_decoder_order(small.pixels([image]), pooling="max")
    torch.testing.assert_close(largest, blocks.flatten())


# --- Loading and prompts --------------------------------------------------------------------


def saved(vlm, folder, images: str):
    """A folder as published ones are: the image processor in a file of its own."""
    vlm.model.save_pretrained(folder)
    vlm.processor.save_pretrained(folder)
    name_image_processor(folder, images)
    change_json(folder, "processor_config.json", video_processor=None)
    return folder


def idefics3(vlm) -> VisionLanguageModel:
    config = vlm.model.config.to_dict()
    kept = {key: config[key] for key in ("text_config", "scale_factor", "image_token_id")}
    kept["vision_config"] = config["vision_config"] | {"model_type": "idefics3_vision"}
    model = Idefics3ForConditionalGeneration(
        Idefics3Config(**kept, pad_token_id=config["text_config"]["pad_token_id"])
    )
    model.load_state_dict(vlm.model.state_dict())
    tokenizer = copy.deepcopy(vlm.processor.tokenizer)
    processor = ImageByImageIdefics3Processor(
        vlm.processor.image_processor, tokenizer, image_seq_len=64,
        chat_template=tokenizer.chat_template,
    )  # fmt: skip
    return VisionLanguageModel(model.eval(), processor, "idefics3")


@torch.inference_mode()
@pytest.mark.parametrize("kind", ["SmolVLM", "Idefics3"])
def test_a_folder_is_loaded_and_answers_as_the_model(vlm, kind, tmp_path):
    """Of both names, without the packages that videos need."""
    own = vlm if kind == "SmolVLM" else idefics3(vlm)
    loaded = load(saved(own, tmp_path / "model", f"{kind}ImageProcessor"))
    assert type(loaded.processor).__name__ == f"{kind}Processor"
    assert loaded.family.key == "smolvlm"
    given = ([[noise((640, 427)), noise((64, 64))], []], ["<image 1> look <image 2>", "look"])
    inputs = vlm.prepare(*given)
    other = loaded.prepare(*given)
    for name in ("input_ids", "attention_mask", "pixel_values", "pixel_attention_mask"):
        assert torch.equal(inputs[name], other[name])
    assert torch.equal(vlm.model(**inputs).logits, loaded.model(**other).logits)


@torch.inference_mode()
def test_a_folder_of_unsplit_images_and_tied_weights(unsplit, tmp_path):
    unsplit.model.save_pretrained(tmp_path)
    unsplit.processor.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    inputs, other = (each.prepare([noise((320, 200))], ["look"]) for each in (unsplit, loaded))
    assert torch.equal(unsplit.model(**inputs).logits, loaded.model(**other).logits)


class StockProcessor(SmolVLMProcessor):
    """The stock one without its video processor, which needs torchvision."""

    @classmethod
    def get_attributes(cls):
        return ["image_processor", "tokenizer"]


@torch.inference_mode()
def test_prompts_and_features_are_the_stock_processors(vlm, monkeypatch):
    monkeypatch.setattr(processing_smolvlm, "num2words", str)
    own = vlm.processor
    stock = StockProcessor(own.image_processor, own.tokenizer, None, image_seq_len=64)
    images = [[noise((640, 427)), noise((64, 64))], [noise((300, 1000))]]
    texts = ["<image> one <image> two", "three <image>"]
    made, other = (
        each(text=texts, images=images, padding=True, return_tensors="pt") for each in (own, stock)
    )
    assert made.keys() == other.keys() and torch.equal(made["input_ids"], other["input_ids"])
    assert made["pixel_values"].shape[:2] == (3, 17) and other["pixel_values"].shape[:2] == (2, 30)
    assert torch.equal(vlm.model(**made).logits, vlm.model(**other).logits)


def test_a_prompt_without_its_image_is_refused(vlm):
    with pytest.raises(ValueError, match="Found total 2 <image> tokens and 1 images"):
        vlm.processor(text=["<image>", "<image>"], images=[[noise((64, 64))]])


# --- Experiments ----------------------------------------------------------------------------


@pytest.mark.parametrize("preset", [paper, released])
@pytest.mark.parametrize("mode", MODES)
def test_every_preset_on_several_images(small, preset, mode):
    """With cache and beams; one encoding serves all."""
    images = [[noise((96, 96)), noise((60, 200))], [noise((150, 96))], []]
    inputs = small.prepare(images, ["look <image 1> one <image 2>", "look", "red look"])
    once = encoded(small, inputs)
    plan = preset("smolvlm", mode, depth=8)
    with torch.inference_mode(), under(small, plan) as changed:
        whole = changed.model(**inputs).logits[:, -1]
        steps = changed.model.generate(**again(once), **GENERATION).logits
        torch.testing.assert_close(steps[0], whole, rtol=1e-4, atol=1e-4)
        changed.model.generate(**again(once), **GENERATION, num_beams=2)
    usual = small.model.generate(**inputs, **GENERATION).logits
    assert not torch.allclose(steps[0][:2], usual[0][:2], atol=1e-3)
    torch.testing.assert_close(steps[0][2], usual[0][2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_one_unsplit_tile_an_image(unsplit, mode):
    """64 tokens whatever the image's shape, and blend 0 is the model bit by bit."""
    images = [noise((128, 128)), noise((320, 200))]
    inputs = unsplit.prepare(images, ["look", "look one"])
    assert unsplit.visual_mask(inputs).sum(1).tolist() == [64, 64]
    boxes = patch_boxes(unsplit, inputs, images)
    assert boxes[0][9] == (16, 16, 16, 16) and boxes[1][9] == (40, 25, 40, 25)
    usual = unsplit.model.generate(**inputs, **GENERATION)
    for blend, same in ((0.0, True), (1.0, False)):
        plan = SharedAttentionPrior(mode, (1, 6), blend=blend)
        with under(unsplit, plan) as changed:
            found = changed.model.generate(**encoded(unsplit, inputs), **GENERATION)
        assert torch.equal(torch.stack(found.logits), torch.stack(usual.logits)) == same


def test_it_is_traced_and_measured(unsplit):
    samples = [Sample("a", (noise((128, 128)),), "look", "look", "yes", "random", "a")]
    assert trace(unsplit, samples, threshold=0.01).visual_tokens == {"a": 64}
    table = measure(unsplit, samples, tokens="visual")
    assert len(table) == 16 and table.select_dtypes("number").notna().all(axis=None)


# --- The family -----------------------------------------------------------------------------


def test_published_layers_are_onevisions_at_the_same_share():
    own, other = SmolVLM.published, LlavaOnevision.published
    pairs = [(own.layers, other.layers), *zip(own.ranges, other.ranges, strict=True)]
    for (first, last), (start, end) in pairs:
        for layer, printed in ((first, start), (last + 1, end + 1)):
            assert abs(layer - printed * own.depth / other.depth) <= 0.5
    assert own.layers in own.ranges and (own.heads, own.ranking) == (other.heads, other.ranking)


def test_other_families_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="config: expected a model of type .*'smolvlm'.* 'bert'"):
        families.family_of(BertConfig())
    with pytest.raises(ValueError, match="family: expected one of .*'smolvlm'.*, got 'gpt'"):
        families.family_named("gpt")
