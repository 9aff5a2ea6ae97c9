"""Tables that are kept are taken up where they were made with what is asked for, not elsewhere."""

import pandas as pd
import pytest

from lost_in_attention.runs.tables import read_table, table_made_with, write_table

FACTS = {"weights": "abc", "layers": (1, 2), "cases": 100}


@pytest.fixture
def path(tmp_path):
    write_table(tmp_path / "t.parquet", pd.DataFrame({"a": [1, 2]}), FACTS)
    return tmp_path / "t.parquet"


def test_a_table_with_the_same_facts_is_taken(path):
    table, facts = table_made_with(path, {"weights": "abc", "layers": (1, 2)}, {"cases": 100})
    assert table["a"].tolist() == [1, 2] and facts["rows"] == 2
    assert table_made_with(path, {}, {"cases": 40})


@pytest.mark.parametrize(
    ("same", "least"),
    [({"weights": "abd"}, {}), ({"layers": (1, 3)}, {}), ({"seed": 0}, {}),
     ({}, {"cases": 101}), ({}, {"questions": 1})],
)  # fmt: skip
def test_one_with_others_is_not(path, same, least):
    assert table_made_with(path, same, least) is None
    assert table_made_with(path.with_name("other.parquet"), {}) is None


def test_a_table_that_its_facts_are_not_about_is_refused(path):
    pd.DataFrame({"a": [3]}).to_parquet(path)
    for read in (lambda: read_table(path), lambda: table_made_with(path, {})):
        with pytest.raises(ValueError, match="results: expected rows that t.json is about"):
            read()
