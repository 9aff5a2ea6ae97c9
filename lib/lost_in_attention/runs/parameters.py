"""The parameters of a notebook: what they are worth, and whether papermill set those alone.

papermill takes any name: a mistyped one leaves the default as it is, and all runs, with a warning
at most.  It sets them in a cell of its own behind the notebook's; IPython keeps the source of both.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from itertools import dropwhile, pairwise
from typing import Any

from IPython import get_ipython

from lost_in_attention.runs.provenance import Scalar

# The first line of papermill's cell, and how a notebook's own begins.
_INJECTED, _OWN = "# Parameters\n", "tier = "
_BEGINS_OWN = re.compile(r"\s*tier *(:[^=\n]*)?= ")


def executed_cells() -> Sequence[str]:
    """The sources of the cells that were executed so far; none outside of IPython."""
    shell = get_ipython()
    return shell.user_ns.get("In", []) if shell else []


def own_parameters(values: Mapping[str, Any], cells: Sequence[str]) -> dict[str, Any]:
    """Of a notebook's global names its parameters, with what they are worth now.

    They are those of the cell that begins with the tier; a cell that was edited and executed again
    counts as it is now.  Where no cells are kept, as nbval keeps none and Python knows none, they
    are the scalars from `tier` on.

    Raises ValueError where no cell begins so, or on a name that is gone or not assigned alone.
    """
    if not any(cells):
        behind = dropwhile(lambda item: item[0] != "tier", values.items())
        return {name: value for name, value in behind if isinstance(value, Scalar)}
    own = [cell for cell in cells if _BEGINS_OWN.match(cell)]
    if not own:
        raise ValueError(f"parameters: expected a cell that begins with {_OWN!r}, got none")
    names = _assigned(own[-1])
    if gone := sorted(names.keys() - values.keys()):
        raise ValueError(f"parameters: expected all of {list(names)} to be there, {gone} missing")
    return {name: values[name] for name in names}


def check_injected(cells: Sequence[str]) -> None:
    """Raises ValueError on a parameter that the notebook does not have, or of another type.

    The notebook's own parameters are those of the cell before papermill's.
    """
    found = [pair for pair in pairwise(cells) if pair[1].startswith(_INJECTED)]
    if not found:
        return
    own, given = map(_assigned, found[0])
    if unknown := sorted(given.keys() - own.keys()):
        raise ValueError(f"parameters: expected names among {list(own)}, got {unknown}")
    for name, value in given.items():
        if not _of_one_type(own[name], value):
            raise ValueError(
                f"{name}: expected {type(own[name]).__name__} such as {own[name]!r}, got {value!r}"
            )


def _assigned(source: str) -> dict[str, Any]:
    """Names and values of a cell's assignments; of a value that is no literal the source.

    Raises ValueError on an assignment to anything but one name.
    """
    statements = [
        each
        for each in ast.parse(source).body
        if isinstance(each, ast.Assign | ast.AnnAssign) and each.value
    ]
    return {_name(each): _value(each.value) for each in statements}


def _name(statement: ast.Assign | ast.AnnAssign) -> str:
    annotated = isinstance(statement, ast.AnnAssign)
    targets = [statement.target] if annotated else statement.targets
    if len(targets) == 1 and isinstance(targets[0], ast.Name):
        return targets[0].id
    raise ValueError(
        f"parameters: expected one name in each assignment, got {ast.unparse(statement)!r}"
    )


def _value(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)


def _of_one_type(default: Any, value: Any) -> bool:
    # A whole number will do where a float is expected; True is no number here.
    return type(value) is type(default) or (type(default) is float and type(value) is int)
