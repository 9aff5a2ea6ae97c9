"""Write the embedded benchmarks of digits."""

from functools import partial
from pathlib import Path

from lost_in_attention.digits.coco import instances
from lost_in_attention.digits.scenes import make_scenes
from lost_in_attention.digits.sets import SETS
from lost_in_attention.worlds.writing import check_request, write_sets


def write(output: Path, *, images: int = 500, questions: int = 1000, seed: int = 0) -> list[Path]:
    """Write the seven sets under `output`, and the annotations of POPE's scenes.

    POPE has `images` scenes of 18 questions, every other set at least `questions` questions.
    The same arguments give the same bytes.  Files appear only once all are complete.  Returns
    their paths.
    Raises ValueError if fewer than one image or question is asked for, `seed` is negative, or
    `output` cannot be written.
    """
    check_request(output, images=images, questions=questions, seed=seed)
    scenes = list(make_scenes(images, split="heldout", seed=seed))
    sets = {name: partial(rows, seed=seed) for name, rows in SETS.items()}
    prefixes = [f"digits_{'heldout' if name == 'pope' else name}" for name in SETS]
    return write_sets(
        output,
        ("instances_heldout", instances(scenes)),
        sets,
        prefixes,
        images=images,
        questions=questions,
    )
