"""Scenes of real handwritten digits, their annotations and the questions on them."""

from lost_in_attention.digits.coco import instances
from lost_in_attention.digits.glyphs import SPLITS, Glyphs, load_glyphs
from lost_in_attention.digits.pope import existence_question, existence_questions
from lost_in_attention.digits.scenes import (
    COLOURS,
    DIGIT_NAMES,
    IMAGE_SIZE,
    PlacedDigit,
    Scene,
    make_scene,
    make_scenes,
)
from lost_in_attention.digits.write import write

__all__ = [
    "COLOURS",
    "DIGIT_NAMES",
    "IMAGE_SIZE",
    "SPLITS",
    "Glyphs",
    "PlacedDigit",
    "Scene",
    "existence_question",
    "existence_questions",
    "instances",
    "load_glyphs",
    "make_scene",
    "make_scenes",
    "write",
]
