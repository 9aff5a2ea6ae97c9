"""Scenes of other kinds: mirrored pictures, and twins that differ in one thing."""

from dataclasses import replace

from lost_in_attention.pictures.drawings import Drawing, rasterised
from lost_in_attention.pictures.scenes import IMAGE_SIZE, Sketch, as_stamp, placed
from lost_in_attention.worlds import scenery
from lost_in_attention.worlds.scenery import Box


def mirrored(sketch: Sketch) -> Sketch:
    """The whole picture from right to left."""
    return replace(
        sketch,
        canvas=sketch.canvas[:, ::-1],
        stamps=tuple(stamp[:, ::-1] for stamp in sketch.stamps),
        things=scenery.mirrored(sketch.things, IMAGE_SIZE),
    )


def exchanged(sketch: Sketch, index: int, drawing: Drawing) -> Sketch:
    """The same sketch with another drawing, as large as fits, in the middle of a thing's box."""
    x, y, width, height = sketch.things[index].box
    picture = rasterised(drawing)
    scale = min(width / picture.width, height / picture.height)
    stamp = as_stamp(picture, int(scale * max(picture.size)))
    high, wide = stamp.shape[:2]
    box: Box = (x + (width - wide) // 2, y + (height - high) // 2, wide, high)
    stamps, pictures = list(sketch.stamps), list(sketch.things)
    stamps[index], pictures[index] = stamp, placed([drawing], [box])[0]
    return replace(sketch, stamps=tuple(stamps), things=tuple(pictures))
