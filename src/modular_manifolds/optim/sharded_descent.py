"""Steepest descent on a manifold for parameters that lie on several ranks, by one of three routes.

local   the matrices are whole on every rank that holds any of them, or cut into pieces that are independent: stepped
        there, as on one process.
owner   each matrix goes whole to one rank, and comes back.
rows    tall matrices cut along their rows stay where they are, and sums over rows are added up.
"""

from collections import defaultdict
from collections.abc import Sequence
from math import prod
from typing import Any

from torch import Tensor

from modular_manifolds.distributed.routes import Machine, rows_are_cheaper, usual
from modular_manifolds.optim import rows_route
from modular_manifolds.optim.jobs import Averaged, Job
from modular_manifolds.optim.owner_route import step_at_owners_


def is_local(job: Job) -> bool:
    """Whether what a rank holds of a job can be stepped by itself, and is not the same on all ranks."""
    layout, geometry = job.spread.layout, job.group["geometry"]
    if geometry is None or layout.size == 1:
        return True
    # a vector is one row
    last = len(layout.shape) - geometry.kernel_axes if len(layout.shape) > 1 else 1
    together = {last + axis for axis in (-2, -1) if axis not in geometry.separable}
    return bool(layout.sharded) and not together.intersection(layout.sharded)


def to_add(job: Job) -> Tensor | None:
    """What ranks have to add up before a step, for the route that the job may take."""
    return rows_route.to_add(job) if not is_local(job) and rows_route.fits_rows(job) else None


def descend_sharded_(jobs: Sequence[Job], machine: Machine | None = None) -> None:
    """One step of each job's geometry, in place: a collective call, with the same jobs on all ranks.

    Args:
        jobs: none of them local.
        machine: what routes are chosen by; by default what is usual for the parameters' device.
    """
    shapes: dict[Any, list[Job]] = defaultdict(list)
    at_owners: list[Job | Averaged] = []
    for job in jobs:
        if not (job.sums and rows_route.steps_at_once(job)):
            at_owners.append(job)
        else:
            shapes[job.spread, rows_route.sum_dtypes(job)].append(job)
    for (spread, dtypes), same in shapes.items():
        *batch, m, n = spread.layout.shape
        speeds = machine or usual(same[0].weight.device)
        ranks, count = len(spread.layout.copies[0]), len(same) * prod(batch)
        copies = spread.layout.held
        if rows_are_cheaper(max(m, n), min(m, n), ranks, count, speeds, dtypes[0].itemsize, copies):
            at_owners += rows_route.step_rows_(same)
        else:
            at_owners += same
    step_at_owners_(at_owners, machine)
