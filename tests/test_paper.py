"""The paper's numbers are read, not typed."""

import re

import pytest

from conftest import NOTEBOOKS
from lost_in_attention.publishing.paper import claimed, published, table1, table1_words


def test_numbers_of_the_text_and_of_tables():
    assert claimed("C012") == 0.062
    assert (claimed("C060"), claimed("C061")) == (4.2, 13.1)
    assert table1().loc["ffn", "rid"] == 0.21
    assert set(published("table2_sap")["model"]) == {
        "Qwen-2.5-VL-3B", "Qwen-2.5-VL-7B", "LLaVA-1.5-7B", "LLaVA-OneVision-7B",
    }  # fmt: skip


def test_table1_as_claims_quote_it():
    modules = table1_words("attention", "ffn", "against")
    assert modules == "RID 0.06 against 0.21, MixIG 0.61 against 0.02"
    noise = table1_words("noise_delta", "noise_qkv", "and")
    assert noise == "RID 0.61 and 0.44, MixIG -0.80 and -0.50"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: published("table3"), r"name: expected one of \[.*'table1_modules'.*got 'table3'"),
        (lambda: claimed("C081"), "claim_id: expected one of C001 to C080, got 'C081'"),
        (lambda: claimed("C070"), r"expected a claim with one number, got C070 \('qualitative'\)"),
    ],
)
def test_what_the_paper_does_not_print_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("source", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_notebook_types_a_number_of_the_paper_in_code(source):
    code = re.sub(r"^#.*$", "", source.read_text(), flags=re.M)
    assert not re.search(r"0\.062|\b0\.06 against|\b13\.1\b|\b0\.61\b|-0\.80", code)
    assert "data/paper" not in code and '"paper" /' not in code
