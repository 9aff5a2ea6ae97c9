"""Commands: python -m lost_in_attention COMMAND --help."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.command()
def digits(output: Path = Path("data/digits"), images: int = 500, seed: int = 0) -> None:
    """Write the embedded benchmark: held-out scenes, their annotations and questions."""
    from lost_in_attention.digits import write

    for path in write(output, images=images, seed=seed):
        typer.echo(path)


@app.command()
def train(
    name: str = "small-qwen2.5-vl",
    seed: int = 0,
    device: str = "cpu",
    runs: Annotated[Path, typer.Option(help="Where a run keeps its state.")] = Path("runs"),
    output: Annotated[Path, typer.Option(help="Where the model goes.")] = Path("data/models"),
) -> None:
    """Train a small model (or go on with it), then evaluate, describe and save it."""
    from lost_in_attention.training import TrainingConfig
    from lost_in_attention.training.publish import train_and_publish

    config = TrainingConfig(name=name, seed=seed)
    typer.echo(train_and_publish(config, runs=runs, output=output, device=device))


@app.command()
def scorecard(
    results: Path = Path("book/generated"), output: Path = Path("book/scorecard.md")
) -> None:
    """Write the scorecard page from the claims that the notebooks left in RESULTS."""
    from lost_in_attention.scorecard import write_scorecard

    write_scorecard(results, output)


if __name__ == "__main__":
    app()
