"""Time of one optimizer step beside `torch.optim.Muon`, and how good a direction that step took."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console

from benchmarks.hardware import describe
from benchmarks.methods import METHODS, REFERENCE, REFERENCE_FP32, chosen
from benchmarks.quality import Quality, assess
from benchmarks.timing import Run, Spread, interleaved, ratios, spread
from benchmarks.workloads import Gradients, Problem, Workload

LR = 0.02
"""At which a retraction has something to do, as in training."""
SLOW_ROUNDS = 2


@dataclass(frozen=True)
class Row:
    """One method on one workload.

    Args:
        elements: of the workload.
        ratio: of its seconds to Muon's in the same round.
        ratio_fp32: to those of Muon with float32 products, where it ran.
        rounds: how many steps were timed.
        quality: of the method's first step.
        norm: the one in which the gap is measured.
        promise_kept: whether gap and tangency are what the precision in use promises; None where there is none.
    """

    workload: str
    elements: int
    method: str
    seconds: Spread
    ratio: Spread
    ratio_fp32: Spread | None
    rounds: int
    quality: Quality
    norm: str
    promise_kept: bool | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; the quality's numbers stand beside the others."""
        row = {**vars(self), **self.quality._asdict()}
        del row["quality"]
        for name in ("seconds", "ratio", "ratio_fp32"):
            row[name] = None if row[name] is None else row[name]._asdict()
        return row


def measure(
    workloads: Sequence[Workload],
    methods: Sequence[str] | None,
    rounds: int,
    gradients: Gradients,
    device: torch.device,
    console: Console,
) -> list[Row]:
    """Every method on every workload, the reference among them."""
    rows = []
    for workload in workloads:
        names = chosen(workload, methods)
        with console.status(f"{workload.name}: reading the problem") as status:
            problem = Problem(workload, gradients, device)
            status.update(f"{workload.name}: {len(names)} methods in turns")
            seconds = _time(problem, names, rounds, device)
            for name, sample in seconds.items():
                status.update(f"{workload.name}: certifying {name}")
                rows.append(_row(problem, name, sample, seconds))
    return rows


def _time(problem: Problem, names: Sequence[str], rounds: int, device: torch.device) -> dict[str, list[float]]:
    runs = {}
    for name in names:
        method = METHODS[name]
        stepper = method.start(problem.weights, problem.gradients, LR)
        limit = min(rounds, SLOW_ROUNDS) if method.slow else rounds
        runs[name] = Run(stepper.step, limit, warm_up=not method.slow)
    return interleaved(runs, device)


def _row(problem: Problem, name: str, sample: Sequence[float], seconds: dict[str, list[float]]) -> Row:
    method, quality = METHODS[name], assess(METHODS[name], problem)
    return Row(
        workload=problem.workload.name,
        elements=problem.workload.elements,
        method=name,
        seconds=spread(sample),
        ratio=ratios(sample, seconds[REFERENCE]),
        ratio_fp32=ratios(sample, seconds[REFERENCE_FP32]) if REFERENCE_FP32 in seconds else None,
        rounds=len(sample),
        quality=quality,
        norm=str(method.norm),
        promise_kept=method.keeps(quality.gap, quality.tangency),
    )


def report(rows: Sequence[Row], gradients: Gradients, device: torch.device) -> dict[str, Any]:
    """Plain data for JSON."""
    return {
        "benchmark": "step",
        "hardware": describe(device),
        "dtype": "float32",
        "problem": "uniform W on Stiefel, gradients of spectral norm about 1, seed 0",
        "gradients": str(gradients),
        "reference": REFERENCE,
        "rows": [row.to_dict() for row in rows],
    }
