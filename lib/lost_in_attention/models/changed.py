"""A model that a block has changed is told apart from the model as it was loaded.

Contexts that put a part of a model out of action change the one model that all handles share.
So the model carries what is being done to it, the handle that a block yields carries the same
under a name that says so, and whoever runs a model first compares the two.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lost_in_attention.models import VisionLanguageModel

_MARK = "_changes"


@dataclass(frozen=True, eq=False)
class Change:
    """One entry into one block; equal to nothing but itself, so that no later block is meant."""

    what: str


@dataclass(frozen=True)
class ChangedModel(VisionLanguageModel):
    """What a block yields: the shared model, and the changes that this handle stands for."""

    changes: tuple[Change, ...] = ()


@contextmanager
def changing(vlm: VisionLanguageModel, what: str) -> Iterator[ChangedModel]:
    """Within the block the model counts as changed by `what`; yields the handle that names it.

    Blocks may be nested: the inner one takes what the outer one yields.  Enter it before the
    model is changed, so that a failure leaves no change without its mark.

    Raises ValueError as `check_named` does, if `vlm` is not what the model is now.
    """
    check_named(vlm)
    before = _active(vlm)
    changes = (*before, Change(what))
    setattr(vlm.model, _MARK, changes)
    try:
        yield ChangedModel(
            vlm.model, vlm.processor, f"{vlm.name} ({what})", vlm.revision, changes=changes
        )
    finally:
        if before:
            setattr(vlm.model, _MARK, before)
        else:
            delattr(vlm.model, _MARK)


def check_named(vlm: VisionLanguageModel) -> None:
    """Raise ValueError unless the handle names the changes that are active on its model."""
    named, active = getattr(vlm, "changes", ()), _active(vlm)
    if named == active and all(f"({change.what})" in vlm.name for change in active):
        return
    if not active:
        raise ValueError(
            f"vlm: expected a model as it is now, got {vlm.name!r}, whose block has ended; "
            "use it inside the block that yields it"
        )
    inside = " and ".join(repr(change.what) for change in active)
    raise ValueError(
        f"vlm: expected a model as it is named, got {vlm.name!r} inside a block of {inside}; "
        "leave the block or use what it yields"
    )


def _active(vlm: VisionLanguageModel) -> tuple[Change, ...]:
    return getattr(vlm.model, _MARK, ())
