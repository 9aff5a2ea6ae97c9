"""Scenes of drawn things by several artists, their annotations and the questions on them."""

from lost_in_attention.pictures.coco import instances
from lost_in_attention.pictures.drawings import ARTISTS, SPLITS, Drawings, groups, load_drawings
from lost_in_attention.pictures.layouts import make_scenes
from lost_in_attention.pictures.pope import existence_question, existence_questions
from lost_in_attention.pictures.scenes import IMAGE_SIZE, PlacedPicture, Scene
from lost_in_attention.pictures.write import write

__all__ = [
    "ARTISTS",
    "IMAGE_SIZE",
    "SPLITS",
    "Drawings",
    "PlacedPicture",
    "Scene",
    "existence_question",
    "existence_questions",
    "groups",
    "instances",
    "load_drawings",
    "make_scenes",
    "write",
]
