"""Timing of alternatives in one process, in turns, so that a slow minute of the machine hits all of them alike."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import NamedTuple

import torch


class Spread(NamedTuple):
    """Median and quartiles of a sample."""

    median: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Run:
    """Something to be timed.

    Args:
        call: one execution.
        rounds: how many of the rounds to take part in.
        warm_up: call once, untimed, before the first round.
        prepare: called, untimed, before every execution.
    """

    call: Callable[[], object]
    rounds: int
    warm_up: bool = True
    prepare: Callable[[], object] = lambda: None


def interleaved(runs: Mapping[str, Run], device: torch.device) -> dict[str, list[float]]:
    """Seconds that each run took in each of its rounds; every round starts with the next run in turn."""
    names = list(runs)
    for run in runs.values():
        if run.warm_up:
            run.prepare()
            run.call()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for i in range(max(run.rounds for run in runs.values())):
        first = i % len(names)
        for name in names[first:] + names[:first]:
            if i < runs[name].rounds:
                runs[name].prepare()
                seconds[name].append(_seconds(runs[name].call, device))
    return seconds


def spread(sample: Sequence[float]) -> Spread:
    """Median and quartiles; of a single number, that number thrice."""
    if len(sample) == 1:
        return Spread(sample[0], sample[0], sample[0])
    lower, _, upper = quantiles(sample, n=4, method="inclusive")
    return Spread(median(sample), lower, upper)


def ratios(sample: Sequence[float], reference: Sequence[float]) -> Spread:
    """Spread of the ratio to a reference of the same round, for the rounds that both took part in."""
    return spread([x / y for x, y in zip(sample, reference, strict=False)])


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    _wait_for(device)
    start = time.perf_counter()
    call()
    _wait_for(device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
