"""Exercises of the chapters: checks that a learner runs, and the student version.

How a chapter writes an exercise, in its py:percent source:

1. A markdown cell with the `{exercise}` directive (label, difficulty, minutes, task, hint) and,
   after it, the `{solution}` directive of class dropdown with the solution in words.
2. A code cell tagged ["solution", "hide-input"]: imports and functions, nothing else.  Each
   public function has a docstring that says what it takes and returns.
3. A code cell tagged ["exercise-check"]: it imports check_<function> from
   `lost_in_attention.teaching.<chapter>` and calls it with the function.

A solution uses only what it imports itself: it runs without a model, and in a notebook of its own.
`student.student_version` keeps of a solution the imports, signatures and docstrings, and leaves
its words out; `nbgrader.assignment` makes of the exercises alone what nbgrader grades.

A check tells a right function from a wrong one by properties (closed forms, invariances, bounds)
on inputs that it draws itself; it never computes the answer the way the solution does.  It is
decorated by `exercise_check`, which refuses None in plain words and says that all went well.

A hint is a `:::{dropdown} Hint` inside the exercise.  A research project has a rubric instead of
a check: a paragraph "Rubric (10 points): ..." whose parts end in their points.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class CheckFailed(AssertionError):
    """What a learner's function returned contradicts a property that it should have."""


def exercise_check(check: Callable[[Callable], None]) -> Callable[[Callable], None]:
    """A check that refuses None before any property does, and prints that all of them hold."""
    name = check.__name__.removeprefix("check_")

    @wraps(check)
    def run(function: Callable) -> None:
        check(_answering(name, function))
        print(f"{name}: every check passed")

    return run


def require(condition: bool, message: str) -> None:
    """Raise CheckFailed with `message`, which names what was expected, unless `condition`."""
    if not condition:
        raise CheckFailed(message)


def require_close(what: str, got: object, expected: float, *, tolerance: float = 1e-8) -> None:
    """Raise CheckFailed unless the number `got` is `expected`, up to `tolerance` (absolute)."""
    try:
        number = float(got)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckFailed(f"{what}: expected a number, got {got!r}") from error
    # A comparison with nan is false, so nan fails.
    close = abs(number - expected) <= tolerance
    require(close, f"{what}: expected {_apart(expected, number)}")


def require_equal(what: str, got: object, expected: Tensor, *, tolerance: float = 1e-9) -> None:
    """Raise CheckFailed unless `got` has the shape of `expected` and, nearly, its numbers."""
    found = numbers(what, got, *expected.shape)
    # nan is no gap that could be compared.
    gaps = (found - expected).abs().nan_to_num(nan=torch.inf)
    if gaps.numel() and float(gaps.max()) > tolerance:
        place = tuple(int(i) for i in torch.unravel_index(gaps.argmax(), gaps.shape))
        pair = _apart(float(expected[place]), float(found[place]))
        raise CheckFailed(f"{what}: at {list(place)} expected {pair}")


def numbers(what: str, got: object, *shape: int) -> Tensor:
    """`got` in double precision.  Raises CheckFailed unless these are numbers of this shape."""
    try:
        found = torch.as_tensor(got, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckFailed(f"{what}: expected numbers of shape {shape}, got {got!r}") from error
    require(found.shape == shape, f"{what}: expected shape {shape}, got {tuple(found.shape)}")
    return found


class Watched(TorchFunctionMode):
    """What torch makes within the block: number formats, and the most entries of one tensor.

    `left` tells whether numbers were taken out of it, to where their format is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.formats: set[torch.dtype] = set()
        self.largest = 0
        self.left = False

    def __torch_function__(self, func, types, args=(), kwargs=None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.left |= isinstance(made, np.ndarray) or func is Tensor.tolist
        for each in made if isinstance(made, tuple | list) else (made,):
            if isinstance(each, Tensor):
                self.formats.add(each.dtype)
                self.largest = max(self.largest, each.numel())
        return made


def _answering(name: str, function: Callable) -> Callable:
    def answer(*arguments: Any) -> Any:
        got = function(*arguments)
        require(got is not None, f"{name} returned None: does every way through it `return`?")
        return got

    return answer


def _apart(expected: float, got: float) -> str:
    """Both numbers, with as many digits as it takes to tell them apart."""
    for digits in range(6, 18):
        pair = f"{expected:.{digits}g}", f"{got:.{digits}g}"
        if pair[0] != pair[1]:
            break
    return f"{pair[0]}, got {pair[1]}"
