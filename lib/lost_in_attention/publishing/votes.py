"""Several models as witnesses to one claim: what each says, and what they say together.

An answer is yes (True), no (False) or open (None).  One model at several steps of its training is
several models too.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd

from lost_in_attention.publishing.evidence import Evidence


def side_of(low: float, high: float, border: float = 0) -> bool | None:
    """Whether an interval lies above (True) or below (False) `border`; None if it holds it."""
    if low > border:
        return True
    return False if high < border else None


def within(low: float, high: float, number: float, distance: float) -> bool | None:
    """Whether an interval lies no further than `distance` from a number, or wholly further.

    None where it does neither, or where there is no interval.
    """
    if number - distance <= low <= high <= number + distance:
        return True
    return False if high < number - distance or low > number + distance else None


def unanimous(answers: Iterable[bool | None]) -> bool | None:
    """Several questions as one: True if all say yes, False if one says no, None if one is open.

    What all *models* say together is `verdicts.together`.

    Raises ValueError if there are no answers.
    """
    answers = list(answers)
    if not answers:
        raise ValueError("answers: expected at least one, got none")
    if False in answers:
        return False
    return None if None in answers else True


def labour_divided(gaps: pd.DataFrame) -> pd.DataFrame:
    """Both halves of claim C073 model by model, from `module_gaps` of rid and mixig.

    Index model; columns rid (is the FFN's RID above attention's?), mixig (is attention's MixIG
    above the FFN's?) and both.
    """
    found = gaps.set_index(["quantity", "model"])[["low", "high"]]
    rows = {}
    for model in gaps["model"].unique():
        rid = side_of(*found.loc[("rid", model)])
        mixig = opposite(side_of(*found.loc[("mixig", model)]))
        rows[model] = {"rid": rid, "mixig": mixig, "both": unanimous([rid, mixig])}
    return pd.DataFrame.from_dict(rows, orient="index", dtype=object)


def opposite(answer: bool | None) -> bool | None:
    """No for yes, yes for no; open stays open."""
    return None if answer is None else not answer


def tally(answers: Mapping[str, bool | None] | pd.Series, evidence: Evidence) -> str:
    """What models say, one kind of subject after the other: "pretrained: yes; small: 3 yes, 1 no".

    `answers` goes by the models' names.
    """
    return apart(lambda own: _spoken([answers[name] for name in own]), answers.keys(), evidence)


def apart(tell: Callable[[list[str]], str], names: Iterable[str], evidence: Evidence) -> str:
    """What `tell` says of the models of each kind of subject: "pretrained: ...; small: ...".

    A number over models of different kinds would be of none.
    """
    parted = evidence.by_subject(dict.fromkeys(names))
    said = [f"{subject}: {tell(list(own))}" for subject, own in parted.items()]
    return "; ".join(said) or "no model asked"


def how_many(answers: Mapping[str, bool | None], evidence: Evidence) -> str:
    """The models that say yes, for a sentence: "the pretrained and 2 of 4 small models".

    A kind of one model that does not say yes comes last: "2 of 4 small models, not the pretrained
    one"; where no model says yes, "none of 5 models".
    """
    parted = {kind: list(own.values()) for kind, own in evidence.by_subject(answers).items()}
    if not any(True in own for own in parted.values()):
        return f"none of {len(answers)} models" if answers else "no model asked"
    lone = [kind for kind, own in parted.items() if len(own) == 1 and True not in own]
    said = [
        f"the {kind}" if len(own) == 1 else f"{own.count(True)} of {len(own)} {kind}"
        for kind, own in parted.items()
        if kind not in lone
    ]
    models = "models" if any(len(parted[kind]) > 1 for kind in parted.keys() - lone) else "model"
    return f"{' and '.join(said)} {models}" + "".join(f", not the {kind} one" for kind in lone)


def means_apart(means: pd.DataFrame, evidence: Evidence) -> str:
    """Models' means, one kind of subject after the other: "pretrained: 0.5 [0.4, 0.6]; small: ...".

    `means` has a row a model, columns model, mean, low and high.  A single model of its kind is
    told with its interval, several by the least and the largest mean.
    """
    rows = means.set_index("model")
    return apart(lambda own: spread(rows.loc[own], border=None), rows.index, evidence)


def _spoken(answers: Sequence[bool | None]) -> str:
    """The answer of one model, or how many say what; nothing of what none says."""
    words = {True: "yes", False: "no", None: "open"}
    if len(answers) == 1:
        return words[answers[0]]
    counts = {word: answers.count(answer) for answer, word in words.items()}
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def spread(means: pd.DataFrame, border: float | None = 0) -> str:
    """Means of one kind of subject, one a row: one with its interval, of several the ends.

    "3.47 [0.929, 6.55]", or "4.84 to 8.05 (3 above 0, 1 open)" by the side of `border` on which
    each interval lies; without a border "4.84 to 8.05".
    """
    if len(means) == 1:
        return in_words(means.iloc[0])
    known = means.dropna(subset="mean")
    if known.empty:
        return "no value"
    if border is None:
        return ends(known["mean"])
    sides = [side_of(row.low, row.high, border) for row in known.itertuples()]
    words = {True: f"above {border:g}", False: f"below {border:g}", None: "open"}
    counts = (f"{sides.count(side)} {word}" for side, word in words.items() if side in sides)
    return f"{ends(known['mean'])} ({', '.join(counts)})"


def ends(numbers: pd.Series, form: str = ".3g") -> str:
    """The least and the largest of some numbers in a format, "15.8 to 35"; one where they agree."""
    return " to ".join(dict.fromkeys(f"{end:{form}}" for end in (numbers.min(), numbers.max())))


def interval_table(means: pd.DataFrame, rows: str, columns: str | list[str]) -> pd.DataFrame:
    """A table of means with their intervals in words (`in_words`), from a tidy one."""
    cells = means.assign(cell=means.apply(in_words, axis=1))
    return cells.pivot(index=rows, columns=columns, values="cell")


def in_points(row: pd.Series, *, interval: bool = False) -> str:
    """A change from `against_vanilla` in percentage points, for a table; perhaps its interval.

    An asterisk marks what differs from vanilla after Holm's correction at 5%.
    """
    said = f"{100 * row['change']:+.1f}"
    if interval:
        said += f" [{100 * row['change_low']:+.1f}, {100 * row['change_high']:+.1f}]"
    return said + ("*" if row["p_holm"] < 0.05 else "")


def in_words(row: pd.Series) -> str:
    """A mean with its interval, for a table; "no value" where there is no mean.

    What is smaller than 1e-9 is rounding, and told as 0.
    """
    if pd.isna(row["mean"]):
        return "no value"
    mean, low, high = (0 if abs(row[end]) < 1e-9 else row[end] for end in ("mean", "low", "high"))
    return f"{mean:.3g} [{low:.3g}, {high:.3g}]"
