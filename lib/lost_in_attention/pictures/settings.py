"""Which things like to appear together.

A setting is a group of nouns that photographs show together.  Most things of a scene come from its
setting, and settings have different weights: so some things are common and some predict others, a
model can guess from habit, and adversarial questions can catch it guessing.
"""

SETTINGS = {
    "farm": ("cow", "horse", "sheep", "pig", "chicken", "goat", "dog", "tractor", "corn"),
    "street": (
        "car", "bus", "truck", "bicycle", "traffic light", "ambulance", "house", "church", "tree",
    ),
    "table": ("bread", "egg", "knife", "fork", "cup", "bottle", "pizza", "lemon", "tomato"),
    "desk": (
        "laptop", "pencil", "book", "printer", "telephone", "envelope", "lamp", "scissors",
    ),
    "sea": ("boat", "ship", "whale", "dolphin", "fish", "octopus", "anchor", "turtle"),
    "concert": (
        "guitar", "drum", "violin", "trumpet", "saxophone", "piano", "microphone", "radio",
    ),
    "garden": ("flower", "tree", "bee", "ant", "snail", "mushroom", "leaf", "frog", "bird"),
    "wardrobe": ("hat", "shoe", "dress", "shirt", "ring", "boot", "bag", "tie", "umbrella"),
    "party": ("cake", "balloon", "gift", "candle", "cookie", "crown", "trophy", "cherry"),
    "camp": ("tent", "fire", "moon", "star", "wolf", "bear", "telescope", "volcano"),
    "zoo": ("elephant", "tiger", "monkey", "camel", "panda", "snake", "penguin", "banana"),
}  # fmt: skip
WEIGHTS = (0.17, 0.15, 0.13, 0.11, 0.10, 0.08, 0.07, 0.06, 0.05, 0.04, 0.04)
SHARE = 0.75
