"""What a job costs before it runs: machine hours, download and disk, by counting operations.

The assumptions stand as constants; none is a measurement of the job itself.  Expect a factor of two
either way.
"""

from dataclasses import dataclass

from lost_in_attention.evaluation.grid import ablations, presets

# What a picture of 640 x 480 pixels and a short question come to, by family.
TOKENS = {
    "qwen2.5-vl": 435, "llava": 620, "llava-next": 2400, "llava-onevision": 3000, "smolvlm": 1150,
}  # fmt: skip
# A short answer, and one that is reasoned for (Appendix C.2).
REPLY_TOKENS = {"plain": 10, "reasoning": 400}
# Of one weight, as published and as loaded: bfloat16.
BYTES = 2
# A traced case also has its maps counted: as much work as these many forward passes.
TRACED_AS_PASSES = 10
# Of a measurement, for each question: forward passes, and decompositions for each update.  Where
# a model has sinks, each update is taken with all rows, without the sinks and without others.
PASSES = {
    "updates": 1, "baselines": 4, "averaging": 2, "tolerance": 2, "rotary_answers": 4,
    "readings": 24, "sinks": 1,
}  # fmt: skip
DECOMPOSITIONS = {
    "updates": 4, "baselines": 4, "averaging": 0, "tolerance": 1, "rotary_answers": 0,
    "readings": 24, "sinks": 4,
}  # fmt: skip
# Bytes on disk that a question leaves, in runs and in results together.
_BYTES_A_ROW = 500
_SECONDS_AN_HOUR = 3600


@dataclass(frozen=True)
class Machine:
    """What a job runs on: operations a second in a forward pass, bytes a second of weights that
    decoding reads, seconds a decoding step takes at least, seconds that the float64 eigenvalues of
    1,000 tokens take (their time grows with the square of the tokens)."""

    name: str
    operations: float
    bandwidth: float
    step: float
    eigenvalues: float


# 35% of an H100's peak in bfloat16, 60% of its bandwidth; and a core of a laptop in float32.
GPU = Machine("GPU", 0.35 * 989e12, 0.6 * 3.35e12, 0.03, 0.045)
CORE = Machine("core", 20e9, 5e9, 0.002, 0.35)


@dataclass(frozen=True)
class Shape:
    """A model's size: `billions` of parameters, `layers` of its decoder, its hidden size."""

    family: str
    billions: float
    layers: int
    hidden_size: int

    @property
    def tokens(self) -> int:
        """Of a question with its picture."""
        return TOKENS[self.family]

    @property
    def download(self) -> float:
        """Gigabytes of weights."""
        return BYTES * self.billions

    @property
    def batch_size(self) -> int:
        """How many questions are put together on a GPU of 80 GB beside the weights: a gigabyte
        for each, and for activations as much again."""
        return max(1, min(16, int((72 - self.download) / 2)))


@dataclass(frozen=True)
class Cost:
    """Hours on a machine and gigabytes on disk (without weights)."""

    hours: float
    disk: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.hours + other.hours, self.disk + other.disk)


def measuring(shape: Shape, measurement: str, questions: int, machine: Machine = GPU) -> Cost:
    """Of one measurement: forward passes, and the eigenvalues of states in float64.

    A Gram matrix has the smaller side of a state.  Raises KeyError on an unknown measurement.
    """
    updates = 2 * shape.layers
    side = min(shape.tokens, shape.hidden_size)
    decomposed = DECOMPOSITIONS[measurement] * updates * machine.eigenvalues * (side / 1000) ** 2
    passes = PASSES[measurement] * _pass(shape, machine)
    rows = PASSES[measurement] * updates
    return _cost(shape, questions * (decomposed + passes), questions * rows, machine)


def answering(
    shape: Shape,
    grid: str,
    questions: int,
    *,
    prompt: str = "plain",
    noise_seeds: int = 3,
    machine: Machine = GPU,
) -> Cost:
    """Of all of a grid's variants: prompts are read whole, though most layers could be shared."""
    variants = len(
        ablations(shape.family, depth=shape.layers)
        if grid == "ablations"
        else presets(shape.family, depth=shape.layers, noise_seeds=noise_seeds)
    )
    replies = variants * questions
    return _cost(shape, replies * _reply(shape, prompt, machine), 2 * replies, machine)


def tracing(
    shape: Shape, *, cases: int, questions: int, counted: int, machine: Machine = GPU
) -> Cost:
    """Of the questions that are asked for right and wrong answers, and of the traced ones."""
    traced = (2 * cases + counted) * TRACED_AS_PASSES * _pass(shape, machine)
    asked = questions * _reply(shape, "plain", machine)
    return _cost(shape, traced + asked, questions + traced * shape.layers, machine)


def _pass(shape: Shape, machine: Machine) -> float:
    """Seconds of a forward pass of one question: two operations a parameter and token."""
    return 2 * shape.billions * 1e9 * shape.tokens / machine.operations


def _reply(shape: Shape, prompt: str, machine: Machine) -> float:
    """Seconds of one reply: its prompt, then weights are read once a token for a whole batch."""
    step = max(machine.step, shape.download * 1e9 / machine.bandwidth)
    return _pass(shape, machine) + REPLY_TOKENS[prompt] * step / shape.batch_size


def _cost(shape: Shape, seconds: float, rows: float, machine: Machine) -> Cost:
    """With the time to load the weights, a gigabyte a second."""
    hours = (seconds + shape.download) / _SECONDS_AN_HOUR
    return Cost(hours, rows * _BYTES_A_ROW / 1e9)
