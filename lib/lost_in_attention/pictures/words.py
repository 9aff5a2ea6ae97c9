"""How a noun stands in a sentence: its article and its plural."""

_MANY = {
    "sheep": "sheep", "fish": "fish", "mouse": "mice", "wolf": "wolves", "knife": "knives",
    "leaf": "leaves", "snowman": "snowmen", "tomato": "tomatoes", "volcano": "volcanoes",
}  # fmt: skip
# No plural, or nothing but a plural, or drawn in pairs: "how many" cannot be asked.
UNCOUNTED = frozenset(("bread", "corn", "honey", "grapes", "glasses", "jeans", "scissors", "dice"))


def a(noun: str) -> str:
    """ "a cow", "an apple"; "some bread" where no singular is in use."""
    if noun in UNCOUNTED:
        return f"some {noun}"
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def many(noun: str) -> str:
    """The plural: "cows", "cherries", "mice"."""
    if noun in _MANY:
        return _MANY[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh")) else f"{noun}s"
