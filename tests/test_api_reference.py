"""Pages on the library: every module stands on one of them, and its docstring reads as written."""

import ast
from pathlib import Path

import docutils.core
import pytest
import yaml
from docutils import nodes
from numpy.typing import ArrayLike
from sphinx.util.typing import stringify_annotation

import lost_in_attention
from conftest import ROOT
from lost_in_attention.publishing.api_reference import markup, rooms, signature, write_pages

PACKAGE = Path(lost_in_attention.__file__).parent


def read(docstring: str) -> nodes.document:
    """What Sphinx's parser makes of a docstring; it stops at a warning."""
    settings = {"halt_level": 2, "report_level": 5}
    return docutils.core.publish_doctree(markup(docstring), settings_overrides=settings)


def test_every_module_stands_on_one_page(tmp_path):
    write_pages(tmp_path)
    pages = [tmp_path / "api.rst", *(tmp_path / "api").iterdir()]
    lines = [line for page in pages for line in page.read_text().splitlines()]
    shown = sorted(line.split()[-1] for line in lines if line.startswith(".. automodule::"))
    files = [path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py"]
    names = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in files]
    assert shown == sorted(name.removesuffix(".__init__") for name in names)


def test_a_room_has_a_page_and_is_on_the_first_one(tmp_path):
    write_pages(tmp_path)
    contents = (tmp_path / "api.rst").read_text()
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert {path.stem for path in (tmp_path / "api").iterdir()} == packages
    assert all(f":doc:`api/{room}`" in contents for room in packages)
    assert rooms().keys() == packages | {""}


def test_pages_of_rooms_that_are_gone_go(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "gone.rst").touch()
    write_pages(tmp_path)
    assert not (tmp_path / "api" / "gone.rst").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="book: expected a folder, got .*nowhere"):
        write_pages(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text",
    ["|X|_F is the norm of X_in * 2, and sigma_ too", r"a \ b", "**kwargs and *args", "1 ` 2"],
)
def test_signs_stand_for_themselves(text):
    assert read(text).astext() == text


def test_code_in_backticks_is_code_even_where_it_touches_text():
    document = read('Takes `how`="sum" or `a|b_`.')
    assert [code.astext() for code in document.findall(nodes.literal)] == ["how", "a|b_"]
    assert document.astext() == 'Takes how="sum" or a|b_.'


def test_errors_become_a_list_under_each_heading():
    document = read(
        "Does it.\n\n"
        "Raises, before:\n    ValueError: bad\n        arguments.\n    OSError: no file.\n"
        "and later:\n    TypeError: a kind."
    )
    lists = [
        [" ".join(item.astext().split()) for item in each.children]
        for each in document.findall(nodes.bullet_list)
    ]
    assert lists == [["ValueError: bad arguments.", "OSError: no file."], ["TypeError: a kind."]]
    headings = [each.astext() for each in document.children if isinstance(each, nodes.paragraph)]
    assert headings == ["Does it.", "Raises, before:", "and later:"]


def test_entries_with_further_lines_become_a_list():
    document = read("`layers`: the first\n    and the last.\n`seed`: of the noise.")
    items = [" ".join(item.astext().split()) for item in document.findall(nodes.list_item)]
    assert items == ["layers: the first and the last.", "seed: of the noise."]


def test_code_examples_and_numbered_lists_stay():
    document = read(
        "Like this:\n\n    call(a_b, *c)\n\n>>> f(a_b)\n|x|\n\n1. first\n   line\n2. last"
    )
    assert [block.astext() for block in document.findall(nodes.literal_block)] == ["call(a_b, *c)"]
    assert [block.astext() for block in document.findall(nodes.doctest_block)]
    assert len(list(document.findall(nodes.list_item))) == 2


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("(a: dict = <factory>, b: str = '<x>')", "(a: dict = ..., b: str = '<x>')"),
        ("(f: F = <function <lambda>>)", "(f: F = ...)"),
        ("(p: ~A[~P, <typer.ArgumentInfo object at 0x7f>])", "(p: ~A[~P, ...])"),
    ],
)
def test_signatures_hold_nothing_but_python(written, shown):
    assert signature(written) == shown


def test_array_like_has_its_name_in_signatures():
    written = f"(x: {stringify_annotation(ArrayLike, 'smart')}, y: int)"
    assert signature(written) == "(x: ArrayLike, y: int)"


def test_every_docstring_of_the_library_can_be_read():
    """Without a warning, as the book is built without one."""
    for path in sorted(PACKAGE.rglob("*.py")):
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, kinds) and (docstring := ast.get_docstring(node)):
                read(docstring)


def test_the_book_lists_the_pages():
    toc = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
    [listed] = [c for part in toc["parts"] for c in part["chapters"] if c["file"] == "api"]
    assert listed["sections"] == [{"glob": "api/*"}]
