"""The book's page on how to cite, from what the repository says of itself in one place each.

The companion's title, authors and version are those of CITATION.cff, the paper's entry is that of
the book's references.bib, and the address is the one setting in its _config.yml, if it has one.

`python -m lost_in_attention.publishing.citation CITATION.cff book` writes book/cite.md.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from lost_in_attention.publishing.myst import plain
from lost_in_attention.runs.files import replaced_when_complete
from lost_in_attention.runs.refusals import run

PAPER = "tian2026lost"
PAGE = """# How to cite

## The paper

Its ideas, definitions and claims are the paper's, {{cite:t}}`{key}`:

```bibtex
{paper}
```

## This companion

Its measurements, its code, its text and its figures: {authors}, *{title}*, version {version}.

```bibtex
{companion}
```

A version that ends in *dev* is not released: name the commit too. What changed between versions is
in the {{doc}}`changelog`. Of a figure say its chapter and its number; the provenance under it names
the run. Code is under the MIT License, text and figures are under CC BY 4.0.
"""
REPOSITORY = """
The [repository]({url}) holds the code, the notebooks and the data; its
[releases]({url}/releases) are the versions.
"""


def write_citation(citation: Path, book: Path) -> None:
    """Write cite.md into the folder `book`, about the software that the CFF file describes.

    Raises:
        ValueError: references.bib has no entry of the paper.
        KeyError: CITATION.cff lacks its title, version or authors.
    """
    about = yaml.safe_load(citation.read_text())
    url = yaml.safe_load((book / "_config.yml").read_text())["repository"]["url"]
    text = PAGE.format(
        key=PAPER,
        paper=paper_entry((book / "references.bib").read_text()),
        companion=software_entry(about, url),
        authors=plain(", ".join(map(_name, about["authors"]))),
        title=plain(about["title"]),
        version=plain(about["version"]),
    )
    with replaced_when_complete(book / "cite.md") as part:
        part.write_text(text + (REPOSITORY.format(url=url) if url else ""))


def paper_entry(references: str) -> str:
    """The paper's entry among those of a BibTeX file; raises ValueError if it has none."""
    found = re.search(rf"^@\w+{{{PAPER},.*?^}}", references, re.DOTALL | re.MULTILINE)
    if not found:
        raise ValueError(f"references: expected an entry {PAPER}, got none")
    return found[0]


def software_entry(about: Mapping[str, Any], url: str) -> str:
    """A BibTeX entry of the software that a CFF file describes, at `url` if that is not empty."""
    fields = {
        "author": " and ".join(map(_bibtex_name, about["authors"])),
        "title": about["title"],
        "version": about["version"],
        "url": url,
    }
    lines = [f"  {name:<7} = {{{value}}}," for name, value in fields.items() if value]
    key = about["title"].lower().replace(" ", "-")
    return "\n".join([f"@software{{{key},", *lines, "}"])


def _name(author: Mapping[str, str]) -> str:
    """A group has a name, a person two."""
    return author.get("name") or f"{author['given-names']} {author['family-names']}"


def _bibtex_name(author: Mapping[str, str]) -> str:
    """Braces keep a group's name in one piece."""
    return f"{{{author['name']}}}" if "name" in author else _name(author)


app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def cite(
    citation: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    book: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
) -> None:
    """Write the page on how to cite."""
    write_citation(citation, book)


if __name__ == "__main__":
    run(app)
