"""How often a trained model is right on its world's seven question sets, for its card."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lost_in_attention.benchmarks import BENCHMARKS, chance, load_benchmark
from lost_in_attention.evaluation.questions import evaluate
from lost_in_attention.models import VisionLanguageModel
from lost_in_attention.statistics import mean_interval

QUESTIONS = 1000
EVALUATION_SEED = 0
_COLUMNS = ["benchmark", "questions", "accuracy", "low", "high", "blank", "chance", "unparsed"]


def accuracies(
    vlm: VisionLanguageModel,
    source: str = "digits",
    *,
    questions: int = QUESTIONS,
    replies: Path | None = None,
) -> list[dict]:
    """Accuracy on the seven sets of a world, with images and blank ones, overall and by group.

    Overall rows have an interval and the level of chance.  With `replies`, a folder, the answers
    are kept there, and a run that was broken off goes on.
    """
    rows = []
    for name in BENCHMARKS:
        samples = load_benchmark(name, source)
        samples = samples.draw(min(questions, len(samples)), seed=EVALUATION_SEED)
        guess = chance(samples)
        for condition, asked in (("images", samples), ("blank images", samples.blanked())):
            file = replies and replies / f"{name}-{condition.replace(' ', '-')}.jsonl"
            kept = {} if file is None else {"output": file, "resume": True}
            found = evaluate(vlm, asked, benchmark=name, **kept)
            facts = {"benchmark": name, "condition": condition}
            rows.append(facts | {"group": "all"} | _overall(name, found) | {"chance": guess})
            rows += [
                facts | {"group": group} | _shares(part) for group, part in found.groupby("group")
            ]
    return rows


def accuracy_table(rows: Sequence[dict]) -> str:
    """The overall rows of `accuracies` as a table in Markdown, a row a benchmark."""
    overall = pd.DataFrame(rows).query("group == 'all'").set_index("benchmark")
    seen = overall[overall["condition"] == "images"]
    blank = overall.loc[overall["condition"] == "blank images", "accuracy"]
    table = seen.assign(blank=blank).reset_index()
    lines = [_COLUMNS, ["---"] * len(_COLUMNS), *table[_COLUMNS].itertuples(index=False)]
    cells = [[v if isinstance(v, str) else f"{v:.4g}" for v in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _overall(benchmark: str, replies: pd.DataFrame) -> dict[str, float]:
    """`_shares` with the benchmark's own accuracy and its interval."""
    # Questions on one image are not independent: resample images.
    interval = mean_interval(
        replies["correct"],
        units=replies["image_source"],
        weights=BENCHMARKS[benchmark].weights(replies),
        seed=EVALUATION_SEED,
    )
    accuracy = BENCHMARKS[benchmark].score(replies)["accuracy"]
    return _shares(replies) | {"accuracy": accuracy, "low": interval.low, "high": interval.high}


def _shares(replies: pd.DataFrame) -> dict[str, float]:
    return {
        "questions": len(replies),
        "accuracy": float(replies["correct"].mean()),
        "unparsed": float(replies["parsed"].isna().mean()),
    }
