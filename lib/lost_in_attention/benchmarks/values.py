"""Values that a row may hold; others are refused with the row and the column that hold them."""

from collections.abc import Callable, Iterable, Sequence

import datasets

from lost_in_attention.benchmarks.rows import Rows


def check_values(
    table: Rows | datasets.Dataset,
    columns: Iterable[str],
    right: Callable[[object], bool],
    expected: str,
) -> None:
    """Raise ValueError on the first value that is not `right`; columns may be missing."""
    for column in set(columns) & set(table.column_names):
        for index, value in enumerate(table[column][:]):
            if not right(value):
                raise ValueError(
                    f"row {index}, column {column!r}: expected {expected}, got {value!r:.80}"
                )


def is_text(value: object) -> bool:
    """Text."""
    return isinstance(value, str) and bool(value.strip())


def is_name(value: object) -> bool:
    """Text or a whole number."""
    return is_text(value) or (isinstance(value, int) and not isinstance(value, bool))


def is_option(value: object) -> bool:
    """Where an option is missing, tables hold none, "nan" or not a number."""
    return value is None or isinstance(value, str) or value != value


def expect(value: object, allowed: Sequence[str], index: int, column: str) -> str:
    """`value` as text.  Raises ValueError that names row and column if it is not allowed."""
    text = str(value).strip()
    if text not in allowed:
        raise ValueError(
            f"row {index}, column {column!r}: expected one of {list(allowed)}, got {value!r}"
        )
    return text
