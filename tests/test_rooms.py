"""The library's rooms: what each may import, and that each says its one idea."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import lost_in_attention

LIBRARY = Path(lost_in_attention.__file__).parent
# From what knows least to what knows most.  Commands stand above all.
ORDER = (
    "metrics", "statistics", "images", "runs", "benchmarks", "models", "worlds", "digits",
    "pictures", "texts", "residual", "sap", "evaluation", "trace", "publishing", "teaching",
    "training", "__main__",
)  # fmt: skip
MODULES = [path for path in sorted(LIBRARY.rglob("*.py")) if path.parent != LIBRARY]
OUTSIDE = {
    "metrics": {"torch", "jaxtyping"},
    "statistics": {"numpy", "scipy", "pandas", "jaxtyping"},
}
DOCUMENTED = (
    "metrics", "statistics", "runs", "models", "residual", "sap", "evaluation", "trace",
    "publishing",
)  # fmt: skip
STANDARD = {"__future__", "collections", "dataclasses", "functools", "itertools", "math", "typing"}


def room_of(path: Path) -> str:
    return path.relative_to(LIBRARY).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """The dotted names of the modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_imported(path: Path) -> set[str]:
    own = [name.split(".") for name in imported(path) if name.startswith("lost_in_attention.")]
    return {parts[1] for parts in own} & set(ORDER) - {room_of(path)}


def test_every_room_is_listed():
    found = {room_of(path) for path in LIBRARY.rglob("*.py")} - {"__init__"}
    assert found == set(ORDER)


@pytest.mark.parametrize(
    "path", sorted(LIBRARY.rglob("*.py")), ids=lambda p: str(p.relative_to(LIBRARY))
)
def test_imports_go_down(path):
    if path == LIBRARY / "__init__.py":
        assert not rooms_imported(path)
        return
    above = [
        room for room in rooms_imported(path) if ORDER.index(room) > ORDER.index(room_of(path))
    ]
    assert not above, f"{path.name} in {room_of(path)} imports from {above}"


@pytest.mark.parametrize("room", OUTSIDE)
def test_the_lowest_rooms_need_little(room):
    for path in [*MODULES, LIBRARY / "statistics.py"]:
        if room_of(path) == room:
            outside = (
                {name.split(".")[0] for name in imported(path)} - STANDARD - {"lost_in_attention"}
            )
            assert outside <= OUTSIDE[room], path


def test_every_module_says_what_it_is_for():
    for path in LIBRARY.rglob("*.py"):
        text = ast.get_docstring(ast.parse(path.read_text()))
        assert text and text.partition("\n\n")[0].strip().endswith((".", "?", ":")), path


def is_public(node: ast.AST) -> bool:
    named = isinstance(node, ast.FunctionDef | ast.ClassDef)
    return named and not node.name.startswith("_")


def overrides(owner: type, name: str) -> bool:
    return any(name in vars(base) for base in owner.__mro__[1:])


def undocumented(path: Path) -> Iterator[str]:
    """The public functions, classes, methods and properties of a file that say nothing.

    What overrides a base's method needs no words of its own.
    """
    place = path.relative_to(LIBRARY.parent).with_suffix("")
    module = import_module(".".join(place.parts))
    for node in filter(is_public, ast.parse(path.read_text()).body):
        members = [node]
        if isinstance(node, ast.ClassDef):
            owner = getattr(module, node.name)
            own = filter(is_public, node.body)
            members += [each for each in own if not overrides(owner, each.name)]
        yield from (each.name for each in members if not ast.get_docstring(each))


@pytest.mark.parametrize("room", DOCUMENTED)
def test_what_is_public_says_what_it_is(room):
    paths = [path for path in LIBRARY.rglob("*.py") if room_of(path) == room]
    silent = {str(path.relative_to(LIBRARY)): list(undocumented(path)) for path in paths}
    assert not {path: names for path, names in silent.items() if names}
