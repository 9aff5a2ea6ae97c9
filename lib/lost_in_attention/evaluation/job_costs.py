"""What the jobs of a workflow cost before they run, each and all together (`cost` counts)."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from lost_in_attention.benchmarks.base import WORLDS
from lost_in_attention.evaluation import cost
from lost_in_attention.evaluation.cost import Cost, Machine
from lost_in_attention.evaluation.workload import PREFIXES, Workload

# The jobs that run a model.
_COMMANDS = ("measure", "answer", "gather", "trace", "sink_tables")
# Of these, what processes do not share.
_ALONE = ("sink_tables",)
# Gigabytes that the published question sets come to, all seven together, rounded up.
_SETS = 10


@dataclass(frozen=True)
class JobCosts:
    """Of the jobs of a workload; one is told by its name, its model's folder, its wildcards."""

    work: Workload

    @property
    def machine(self) -> Machine:
        """What costs are counted for."""
        return cost.GPU if self.work.gpus else cost.CORE

    def of(self, job: str, model: str, **wildcards: str) -> Cost:
        """What a job costs on `machine`; gathering answers takes no more than to load the model."""
        work, subject, machine = self.work, self.work.subjects[model], self.machine
        if job == "measure":
            measurement = wildcards["measurement"]
            return cost.measuring(subject.shape, measurement, work.questions, machine)
        if job == "sink_tables":
            return cost.measuring(subject.shape, "sinks", work.sink_questions, machine)
        if job == "trace":
            counts = {"cases": work.cases, "counted": work.counted}
            questions = work.traced_questions
            return cost.tracing(subject.shape, questions=questions, machine=machine, **counts)
        prefix = wildcards["prefix"]
        how = {"prompt": subject.prompt, "noise_seeds": work.noise_seeds, "machine": machine}
        questions = work.drawn(prefix) if job == "answer" else 0
        return cost.answering(subject.shape, PREFIXES[prefix], questions, **how)

    def resources(self, job: str, model: str, **wildcards: str) -> dict[str, int]:
        """What a job asks a scheduler for: `minutes` that it should take one GPU or core in all,
        `runtime` in minutes after which it may be stopped (twice that among its GPUs, and some),
        `mem_mb` of memory for all of its processes."""
        minutes = max(1, round(60 * self.of(job, model, **wildcards).hours))
        processes = 1 if job in _ALONE else max(self.work.gpus, 1)
        runtime = 30 + 2 * minutes // processes
        return {"minutes": minutes, "runtime": runtime, "mem_mb": processes * self.memory(model)}

    def memory(self, model: str) -> int:
        """Megabytes that a process needs: the weights twice, while they are read."""
        return 4000 + round(2000 * self.work.subjects[model].shape.download)

    def summary(self, jobs: Iterable[tuple[str, Mapping[str, str]]]) -> str:
        """What jobs come to together, given by their names and wildcards: machine hours, disk,
        and what has to be there of weights, question sets and boxes."""
        costs, folders, blind = defaultdict(list), set(), set()
        for job, wildcards in jobs:
            if job not in _COMMANDS:
                continue
            costs[job].append(self.of(job, **wildcards))
            folders.add(wildcards["model"])
            if job == "trace" and not self.work.has_boxes(wildcards["model"]):
                blind.add(wildcards["model"])
        lines = [
            _line(f"{job}: {len(own)} jobs", sum(own, Cost(0, 0)), self.machine.name)
            for job, own in costs.items()
        ]
        total = sum((each for own in costs.values() for each in own), Cost(0, 0))
        lines.append(_line("all", total, self.machine.name))
        lines.append(self._download(folders))
        if blind:
            lines.append(f"trace: {len(blind)} jobs will be refused without annotations=FILE")
        every = self.work.subjects.values()
        lines += [f"left out: {each.name}: {each.reason}" for each in every if each.reason]
        return "\n".join(["Counted beforehand (lost_in_attention.evaluation.cost):", *lines])

    def _download(self, folders: Collection[str]) -> str:
        """Of models that the repository does not hold, and of sets that are not embedded."""
        work = self.work
        foreign = [work.subjects[each] for each in folders if work.subjects[each].on_hub]
        weights = sum(each.shape.download for each in foreign)
        sets = _SETS if any(work.source_of(each) not in WORLDS for each in folders) else 0
        return (
            f"download, once: {weights:.0f} GB of weights ({len(foreign)} models), "
            f"up to {sets} GB of questions"
        )


def _line(what: str, total: Cost, machine: str) -> str:
    return f"{what}, {total.hours:.2f} {machine} hours, {total.disk:.2f} GB of results and runs"
