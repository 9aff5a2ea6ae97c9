"""Write the embedded benchmarks of pictures."""

from functools import partial
from pathlib import Path

from lost_in_attention.pictures.coco import instances
from lost_in_attention.pictures.drawings import load_drawings
from lost_in_attention.pictures.layouts import make_scenes
from lost_in_attention.pictures.sets import SETS
from lost_in_attention.worlds.writing import check_request, write_sets


def write(
    output: Path, *, split: str = "heldout", images: int = 167, questions: int = 1000, seed: int = 0
) -> list[Path]:
    """Write the seven sets of a split's drawings under `output`, and POPE's annotations.

    POPE has `images` scenes of 18 questions, every other set at least `questions` questions.
    The same arguments give the same bytes.  Files appear only once all are complete.  Returns
    their paths.
    Raises ValueError on an unknown split, if fewer than one image or question is asked for, `seed`
    is negative, or `output` cannot be written.
    """
    load_drawings(split)
    check_request(output, images=images, questions=questions, seed=seed)
    scenes = list(make_scenes(images, split=split, seed=seed))
    sets = {name: partial(rows, seed=seed, split=split) for name, rows in SETS.items()}
    prefixes = [f"pictures_{split}{'' if name == 'pope' else f'_{name}'}" for name in SETS]
    return write_sets(
        output,
        (f"instances_{split}", instances(scenes, split)),
        sets,
        prefixes,
        images=images,
        questions=questions,
    )
