"""How the library's annotations are checked while tests run (`addopts` in pyproject.toml)."""

from beartype import BeartypeConf, beartype

# A whole number is a float, as type checkers have it (PEP 484).
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
