"""What must be known about things to answer: kinds, uses and abilities.

Each property lists the nouns that have it, and those of which it could be disputed: a question is
asked only where none of these is concerned.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from lost_in_attention.pictures.drawings import groups

# What is called by either name; neither is asked for where the other is.
_ALIKE = (
    {"boat", "ship"}, {"shoe", "boot"}, {"car", "ambulance"}, {"truck", "ambulance"},
    {"glasses", "magnifying glass"}, {"whale", "dolphin"}, {"bear", "panda"},
    {"sun", "star"}, {"burger", "bread"},
)  # fmt: skip


@dataclass(frozen=True)
class Property:
    """`asked` goes on after "Which thing in the image": "can fly"; `subject` is one of MMMU's.

    `plural` names all that has it ("animals"), where that can be counted.
    """

    subject: str
    field: str
    asked: str
    nouns: frozenset[str]
    disputed: frozenset[str]
    plural: str | None = None

    def singles_out(self, present: Iterable[str]) -> str | None:
        """The one thing of `present` that has the property; None if that is not clear."""
        nouns = list(present)
        holders = [noun for noun in nouns if noun in self.nouns]
        if len(holders) != 1 or self.disputed & set(nouns):
            return None
        return holders[0]

    def lacking(self, nouns: Iterable[str]) -> list[str]:
        """Those that certainly do not have the property."""
        return [noun for noun in nouns if noun not in self.nouns | self.disputed]


def may_be_named(noun: str, present: Iterable[str]) -> bool:
    """Whether an absent noun can be asked for: nothing that is there goes by its name."""
    there = set(present)
    return not any(noun in alike and alike & there - {noun} for alike in _ALIKE)


def _group(*names: str) -> set[str]:
    return {noun for noun, group in groups().items() if group in names}


def _property(
    subject: str,
    field: str,
    asked: str,
    nouns: set[str],
    disputed: set[str],
    plural: str | None = None,
) -> Property:
    return Property(subject, field, asked, frozenset(nouns), frozenset(disputed), plural)


@lru_cache
def properties() -> tuple[Property, ...]:
    """All of them; some are kinds of drawings, so that the data folder is read on first use."""
    return (
        _property("Biology", "Zoology", "is an animal", _group("animal"), {"snowman", "egg"},
                  "animals"),
        _property("Biology", "Zoology", "can fly",
                  {"bird", "bee", "airplane", "helicopter", "rocket"},
                  {"chicken", "balloon", "cloud", "leaf", "ant", "penguin", "star", "sun", "moon"}),
        _property("Biology", "Marine biology", "lives in the sea", {"whale", "dolphin", "octopus"},
                  {"fish", "turtle", "penguin", "frog", "boat", "ship", "anchor", "snail", "bear"}),
        _property("Agriculture", "Crops", "is a fruit",
                  {"apple", "banana", "lemon", "strawberry", "grapes", "cherry", "watermelon",
                   "pineapple"},
                  {"tomato", "corn", "cake", "burger", "mushroom", "cactus", "cookie"}, "fruits"),
        _property("Agriculture", "Livestock", "gives milk", {"cow", "goat"},
                  _group("animal") - {"bird", "fish", "bee", "ant", "snail", "snake", "frog",
                                      "octopus", "chicken", "turtle", "penguin"}
                  - {"cow", "goat"}),
        _property("Music", "Instruments", "is a musical instrument", _group("instrument"),
                  {"microphone", "radio", "bottle", "bow", "telephone", "cup"},
                  "musical instruments"),
        _property("Music", "Instruments", "is an instrument with strings", {"guitar", "violin"},
                  {"piano", "bow"}),
        _property("Music", "Instruments", "is an instrument that is blown",
                  {"trumpet", "saxophone"}, {"bottle", "whale"}),
        _property("Mechanical_Engineering", "Transport", "is a vehicle", _group("vehicle"),
                  {"balloon", "horse", "camel", "anchor"}, "vehicles"),
        _property("Mechanical_Engineering", "Transport", "drives on a road",
                  {"car", "bus", "bicycle", "truck", "ambulance"},
                  {"tractor", "train", "airplane"}),
        _property("Mechanical_Engineering", "Tools", "is used to cut", {"scissors", "knife"},
                  {"wrench", "hammer", "fork", "key"}),
        _property("Electronics", "Devices", "needs electricity",
                  {"laptop", "camera", "telephone", "television", "radio", "printer", "microphone"},
                  {"battery", "lamp", "clock", "traffic light", "guitar", "piano", "microscope",
                   "bell", "telescope", "factory", "glasses"} | _group("vehicle", "place")),
        _property("Design", "Fashion", "is worn on the body", _group("clothing") - {"bag"},
                  {"bag", "medal", "umbrella", "balloon"}),
        _property("Design", "Fashion", "is worn on the head", {"hat", "crown"},
                  {"glasses", "umbrella", "ring"}),
        _property("Architecture_and_Engineering", "Buildings", "is a building",
                  {"house", "castle", "church", "factory"}, {"tent", "door", "volcano"},
                  "buildings"),
        _property("Physics", "Light", "gives light", {"sun", "fire", "candle", "lamp"},
                  {"moon", "star", "laptop", "television", "traffic light", "volcano", "camera",
                   "ambulance", "car", "truck", "bus", "train", "cake", "rocket", "telephone",
                   "bicycle", "tractor", "airplane", "helicopter", "printer", "radio", "house"}),
    )  # fmt: skip


@lru_cache
def countable_properties() -> tuple[Property, ...]:
    """Those whose holders can be counted."""
    return tuple(each for each in properties() if each.plural)
