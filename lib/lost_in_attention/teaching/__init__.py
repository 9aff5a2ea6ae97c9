"""Exercises of the theory chapters: checks that a learner runs, and the student version.

How a chapter writes an exercise, in its py:percent source:

1. A markdown cell with the `{exercise}` directive (label, difficulty, minutes, task, hint) and,
   after it, the `{solution}` directive of class dropdown with the solution in words.
2. A code cell tagged ["solution", "hide-input"]: imports and functions, nothing else.  Each
   public function has a docstring that says what it takes and returns.
3. A code cell tagged ["exercise-check"]: it imports check_<function> from
   `lost_in_attention.teaching.<chapter>` and calls it with the function.

A solution uses only what it or the chapter's first code cell imports: it runs without a model.
`student.student_version` keeps of a solution the imports, signatures and docstrings, and leaves
its words out.

A check tells a right function from a wrong one by properties (closed forms, invariances, bounds)
on inputs that it draws itself; it never computes the answer the way the solution does.
"""


class CheckFailed(AssertionError):
    """What a learner's function returned contradicts a property that it should have."""


def require(condition: bool, message: str) -> None:
    """Raise CheckFailed with `message`, which names what was expected, unless `condition`."""
    if not condition:
        raise CheckFailed(message)


def require_close(what: str, got: object, expected: float, *, tolerance: float = 1e-8) -> None:
    """Raise CheckFailed unless the number `got` is `expected`, up to `tolerance` (absolute)."""
    try:
        number = float(got)
    except (TypeError, ValueError) as error:
        raise CheckFailed(f"{what}: expected a number, got {got!r}") from error
    # A comparison with nan is false, so nan fails.
    close = abs(number - expected) <= tolerance
    require(close, f"{what}: expected {expected:.6g}, got {number:.6g}")


def passed(function: str) -> None:
    """Tell the learner that every property holds."""
    print(f"{function}: every check passed")
