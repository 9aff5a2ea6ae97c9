"""The page on how to cite agrees with CITATION.cff, the references and the one address."""

import re
import shutil

import pytest
import yaml

from conftest import ROOT
from lost_in_attention.publishing.citation import paper_entry, software_entry, write_citation

CITATION = ROOT / "CITATION.cff"
REFERENCES = (ROOT / "book/references.bib").read_text()
ABOUT = yaml.safe_load(CITATION.read_text())


@pytest.fixture(params=["", "https://github.com/someone/companion"])
def page(request, tmp_path) -> tuple[str, str]:
    """The page and the address that the book's settings give."""
    config = yaml.safe_load((ROOT / "book/_config.yml").read_text())
    config["repository"]["url"] = request.param
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(config))
    shutil.copy(ROOT / "book/references.bib", tmp_path)
    write_citation(CITATION, tmp_path)
    return (tmp_path / "cite.md").read_text(), request.param


def test_both_entries_stand_on_the_page(page):
    text, _ = page
    paper, companion = re.findall(r"```bibtex\n(.*?)\n```", text, re.DOTALL)
    assert paper in REFERENCES
    assert paper.startswith("@article{tian2026lost,")
    for said in (ABOUT["title"], ABOUT["version"], ABOUT["authors"][0]["name"]):
        assert f"{{{said}}}" in companion


def test_the_repository_is_linked_to_where_it_has_an_address(page):
    text, url = page
    links = re.findall(r"https?://github[^\s)}]*", text)
    assert links == ([url, url, f"{url}/releases"] if url else [])


def test_the_two_sources_say_the_same_of_the_paper():
    (paper,) = ABOUT["references"]
    entry = paper_entry(REFERENCES)
    names = [f"{each['family-names']}, {each['given-names']}" for each in paper["authors"]]
    assert f"{{{' and '.join(names)}}}" in entry
    assert f"{{{paper['title']}}}" in entry
    assert f"{{{paper['year']}}}" in entry


def test_authors_that_are_people_are_parted_by_and():
    people = [{"given-names": "A", "family-names": "B"}, {"name": "The C"}]
    entry = software_entry({"title": "T U", "version": "1", "authors": people}, "")
    assert entry.splitlines()[:2] == ["@software{t-u,", "  author  = {A B and {The C}},"]


def test_references_without_the_paper_are_refused():
    with pytest.raises(ValueError, match="references: expected an entry tian2026lost, got none"):
        paper_entry("@article{other,\n}\n")
