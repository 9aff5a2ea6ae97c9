"""How do two things lie to each other, and which is larger? Questions in 3DSRBench's schema."""

from lost_in_attention.pictures.facts import clearly_larger
from lost_in_attention.pictures.scenes import PlacedPicture
from lost_in_attention.worlds.relations import Kind, Question, above, beside, two


def larger(one: PlacedPicture, other: PlacedPicture, swap: bool) -> Question | None:
    """Which of two things is larger; None where that is not clear."""
    if not clearly_larger(one, other) and not clearly_larger(other, one):
        return None
    answer = one.noun if clearly_larger(one, other) else other.noun
    text = f"Which is larger in the image, the {one.noun} or the {other.noun}?"
    return two(text, (one.noun, other.noun), answer, "height_larger", swap)


KINDS: tuple[Kind, ...] = (beside, above, larger)
