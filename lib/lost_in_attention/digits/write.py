"""Write the embedded benchmarks of digits."""

from pathlib import Path

from lost_in_attention.digits.coco import instances
from lost_in_attention.digits.scenes import make_scenes
from lost_in_attention.digits.sets import SETS
from lost_in_attention.worlds.existence import PER_SCENE
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
    annotations = Path(output) / "annotations" / "instances_heldout.json"
    sets = {
        Path(output) / name / f"{each.split}.parquet": each.rows(
            images * PER_SCENE if name == "pope" else questions, seed
        )
        for name, each in SETS.items()
    }
    prefixes = [f"digits_{'heldout' if name == 'pope' else name}" for name in SETS]
    return write_sets((annotations, instances(scenes)), sets, prefixes)
