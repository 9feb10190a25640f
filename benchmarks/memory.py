"""Memory of an optimizer: what it keeps between steps, and what it needs for the time of one."""

import gc
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.hardware import describe
from benchmarks.methods import METHODS, chosen
from benchmarks.numbers import significant
from benchmarks.step import LR
from benchmarks.tables import sections, titled
from benchmarks.workloads import Gradients, Problem, Workload

_SECOND = "second call"
_BYTES = 4
"""Of an element of a float32 weight."""

_CAPTION = (
    "State: bytes kept between steps for each element of a weight, which itself has 4. Transient: the most that one "
    "step has at a time beyond weights, gradients and state; against all matrices of the size that has the most bytes. "
)
_SEEN = {
    "cpu": "On the CPU every allocation by torch is counted; the workspaces of BLAS and LAPACK, which are their own, "
    "are not.",
    "cuda": "By the CUDA allocator of torch.",
}


@dataclass(frozen=True)
class Row:
    """One method on one workload.

    Args:
        state_per_element: bytes of state for each element of the weights.
        transient_bytes: the most that was allocated at a time during the second step, above what was before.
        transient_ratio: that over the bytes of all matrices of one size, of the size with the most.
    """

    workload: str
    elements: int
    method: str
    state_per_element: float
    transient_bytes: int
    transient_ratio: float


def measure(
    workloads: Sequence[Workload], methods: Sequence[str] | None, device: torch.device, console: Console
) -> list[Row]:
    """Every method on every workload, the reference among them."""
    rows = []
    for workload in workloads:
        problem = Problem(workload, Gradients.GAUSSIAN, device)
        for name in chosen(workload, methods):
            with console.status(f"{workload.name}: {name}"):
                rows.append(_measure(problem, name, device))
    return rows


def _measure(problem: Problem, name: str, device: torch.device) -> Row:
    workload = problem.workload
    stepper = METHODS[name].start(problem.weights, problem.gradients, LR)
    transient = transient_bytes(stepper.step, device)
    state = sum(x.numel() * x.element_size() for x in stepper.state())
    largest = workload.largest_group * _BYTES
    return Row(workload.name, workload.elements, name, state / workload.elements, transient, transient / largest)


def transient_bytes(call: Callable[[], object], device: torch.device) -> int:
    """The most bytes that torch had allocated at a time during the second `call`, above what it had before."""
    gc.collect()  # what earlier calls left behind must not be freed meanwhile
    if device.type == "cuda":
        call()
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # or the profiler tells the terminal that it starts
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
        with record_function(_SECOND):
            call()
    assert recorded.profiler is not None
    events = sorted(recorded.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    begin = next(event.start_ns() for event in events if event.name() == _SECOND)
    changes = [(event.start_ns() >= begin, event.nbytes()) for event in events if event.name() == "[memory]"]
    allocated = itertools.accumulate((change for during, change in changes if during), initial=0)
    return max(allocated)


def report(rows: Sequence[Row], device: torch.device) -> dict[str, Any]:
    """Plain data for JSON."""
    return {
        "benchmark": "memory",
        "hardware": describe(device),
        "dtype": "float32",
        "rows": [vars(row) for row in rows],
    }


def table(rows: Sequence[Row], device: torch.device) -> Table:
    """A section for every workload."""
    result = titled("Memory, float32 weights", device, _CAPTION + _SEEN[device.type])
    result.add_column("method", no_wrap=True)
    for column in ("state, bytes per element", "transient, MB", "x largest group"):
        result.add_column(column, justify="right", no_wrap=True)
    for row in sections(result, rows):
        result.add_row(
            row.method,
            significant(row.state_per_element),
            significant(row.transient_bytes / 1e6),
            significant(row.transient_ratio),
        )
    return result
