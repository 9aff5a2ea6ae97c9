"""Several names as one option: parted by commas, or a word for all of them."""

from collections.abc import Collection


def names_in(option: str, chosen: str, everything: str, known: Collection[str]) -> list[str]:
    """The names in a comma-separated list; `everything` stands for all that are known.

    Raises ValueError that names `option` on an unknown or repeated name.
    """
    if chosen == everything:
        return list(known)
    names = [name.strip() for name in chosen.split(",")]
    if not set(names) <= set(known) or len(set(names)) < len(names):
        raise ValueError(
            f"{option}: expected {everything!r} or different names among {list(known)}, "
            f"got {chosen!r}"
        )
    return names
