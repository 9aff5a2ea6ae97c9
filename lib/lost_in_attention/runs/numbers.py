"""Numbers that a caller gives: whole ones, seeds, and rates."""

import math

_LARGEST_SEED = 2**63 - 1


def check_whole(name: str, value: int, *, least: int) -> None:
    """Raises ValueError unless `value` is a whole number and at least `least`."""
    if type(value) is not int:
        raise ValueError(f"{name}: expected a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{name}: expected at least {least}, got {value}")


def check_seed(name: str, value: int) -> None:
    """Raises ValueError unless `value` is a whole number that torch takes as a seed."""
    check_whole(name, value, least=0)
    if value > _LARGEST_SEED:
        raise ValueError(f"{name}: expected at most {_LARGEST_SEED}, got {value}")


def check_rate(name: str, value: float) -> None:
    """Raises ValueError unless `value` is a number that is positive and finite."""
    if type(value) not in (int, float) or not 0 < value < math.inf:
        raise ValueError(f"{name}: expected a positive, finite number, got {value!r}")
