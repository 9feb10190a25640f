"""Steps of tall matrices that are cut along their rows, and stay so: sums over rows are added up, n x n numbers each.

One all-reduce for all matrices of a shape; every rank then solves the same n-sized problems, and moves its own rows.
"""

from math import prod
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.distributed import described
from modular_manifolds.linalg import newton_schulz_polish, product
from modular_manifolds.lmo.stiefel_rows import Sums, moved_rows, steps_by_rows, turns_at_once
from modular_manifolds.optim.batches import LARGEST
from modular_manifolds.optim.jobs import Averaged, Job, averaged

MOST_POLISHES = 3
"""Each cubes what is off, or nearly."""


def fits_rows(job: Job) -> bool:
    """Whether a job can take this route, at whatever learning rate.

    That is so for float32 steps of Stiefel x spectral, cut along the longer axis alone.
    """
    layout, group, geometry = job.spread.layout, job.group, job.group["geometry"]
    if geometry is None or geometry.solver is not None or geometry.kernel_axes or len(layout.shape) < 2:
        return False
    if 0 in layout.shape:
        return False
    if job.weight.dtype != torch.float32 or group["momentum_on"] != "gradient" or group["weight_decay"]:
        return False
    m, n = layout.shape[-2:]
    if layout.sharded != (len(layout.shape) - (2 if m > n else 1),):
        return False
    return steps_by_rows(geometry.manifold, geometry.norm, m, n)


def steps_at_once(job: Job) -> bool:
    """Whether the step of a job that fits is short enough: asked when ranks have agreed upon its length."""
    lr, geometry = job.group["lr"] * job.group["budget"], job.group["geometry"]
    m, n = job.spread.layout.shape[-2:]
    return turns_at_once(geometry.manifold, geometry.norm, m, n, lr, geometry.precision)


def sum_dtypes(job: Job) -> tuple[torch.dtype, ...]:
    """In which sums are taken, one after the other until they are precise enough.

    In float32 their rounding turns an exact direction by a few 1e-6; `exact` promises no less than one process does.
    """
    exact = job.group["geometry"].precision == "exact"
    return (torch.float64,) if exact else (torch.float32, torch.float64)


def to_add(job: Job) -> Float[Tensor, "k"]:
    """What this route needs to know beforehand, of all ranks: a bound on |average|, and the diagonals of w^T w."""
    squares = torch.linalg.vector_norm(_tall(job.weight, job), dim=-2, dtype=torch.float64).square()
    entries = [x.abs().amax().double() for x in (job.grad, job.state.get("momentum")) if x is not None and x.numel()]
    largest = torch.stack(entries).amax() if entries else squares.new_zeros(())
    return torch.cat([largest.reshape(1), squares.flatten() / job.spread.layout.held])


def step_rows_(jobs: list[Job]) -> list[Averaged]:
    """Step jobs of one layout, and give back those that Grams cannot step as precisely as they ask.

    The weights of these are as they were, and their gradients averaged.
    """
    waiting = [averaged(job) for job in jobs]
    moved: list[tuple[Job, Tensor, bool]] = []
    for dtype in sum_dtypes(jobs[0]):
        stacks = _stacks(waiting)
        totals = _totals([stack.sums(dtype).packed() for stack in stacks], jobs)
        results = [result for stack, total in zip(stacks, totals, strict=True) for result in stack.moved(total)]
        moved += [(item.job, *found) for item, found in zip(waiting, results, strict=True) if found is not None]
        waiting = [item for item, found in zip(waiting, results, strict=True) if found is None]
        if not waiting:
            break
    _polish_(moved)
    for job, new, _ in moved:
        _tall(job.weight, job).copy_(new)
    return waiting


class _Stack(NamedTuple):
    """Matrices that are stepped alike, of which this rank has some rows."""

    jobs: list[Job]
    w: Float[Tensor, "k *b m n"]
    g: Float[Tensor, "k *b m n"]
    """Averaged, and divided by a bound on all entries."""
    diagonal: Float[Tensor, "k *b n"]
    """Of w^T w, over all ranks, for w of radius 1."""

    @classmethod
    def of(cls, items: list[Averaged]) -> "_Stack":
        jobs = [job for job, _ in items]
        shape, radius = _tall_shape(jobs[0]), jobs[0].group["geometry"].manifold.radius
        w = torch.stack([_tall(job.weight, job) for job in jobs])
        g = torch.stack([_tall(g, job) / (job.sums[0] or 1.0) for job, g in items])
        diagonal = torch.tensor([job.sums[1:] for job in jobs], dtype=torch.float64, device=w.device) / radius**2
        return cls(jobs, w, g, diagonal.view(len(jobs), *shape[:-2], shape[-1]))

    def sums(self, dtype: torch.dtype) -> Sums:
        """Over this rank's rows."""
        return Sums.of(self.jobs[0].group["geometry"].manifold, self.w, self.g, dtype)

    def moved(self, total: Float[Tensor, "k *b n _"]) -> list[tuple[Tensor, bool] | None]:
        """Of each matrix, the rows after the step, and whether its columns are surely orthonormal; or None."""
        geometry, lr = self.jobs[0].group["geometry"], self.jobs[0].group["lr"] * self.jobs[0].group["budget"]
        sums, shape = Sums.unpacked(total, self.diagonal), _tall_shape(self.jobs[0])
        found = moved_rows(geometry.manifold, geometry.norm, shape, self.w, self.g, sums, lr, geometry.precision)
        if found is not None:
            return [(new, found[1]) for new in found[0].unbind()]
        if len(self.jobs) == 1:
            return [None]
        return [self._part(i).moved(total[i : i + 1])[0] for i in range(len(self.jobs))]

    def _part(self, i: int) -> "_Stack":
        return _Stack([self.jobs[i]], self.w[i : i + 1], self.g[i : i + 1], self.diagonal[i : i + 1])


def _stacks(items: list[Averaged]) -> list[_Stack]:
    """Neighbours that belong to one group together, cut alike on all ranks."""
    stacks: list[list[Averaged]] = []
    for item in items:
        most = max(1, LARGEST // prod(item.job.spread.layout.shape))
        if not stacks or stacks[-1][0].job.group is not item.job.group or len(stacks[-1]) == most:
            stacks.append([])
        stacks[-1].append(item)
    return [_Stack.of(stack) for stack in stacks]


def _totals(parts: list[Tensor], jobs: list[Job]) -> list[Tensor]:
    """Tensors added up over the ranks that together hold everything once, by one all-reduce."""
    layout = jobs[0].spread.layout
    flat = torch.cat([part.flatten() for part in parts]) / layout.held
    what = f"sums over the rows of {described([job.name for job in jobs], layout.shape)}"
    total = jobs[0].spread.team.total(flat, what)
    return [x.view(part.shape) for x, part in zip(torch.split(total, [p.numel() for p in parts]), parts, strict=True)]


def _polish_(moved: list[tuple[Job, Tensor, bool]]) -> None:
    """Newton-Schulz steps, in place, for what is not surely orthonormal: rare, for gradients next to singular."""
    for _ in range(MOST_POLISHES):
        rough = [(job, new) for job, new, settled in moved if not settled]
        if not rough:
            return
        grams = [product(new.mT, new) / job.group["geometry"].manifold.radius ** 2 for job, new in rough]
        off = _totals(grams, [job for job, _ in rough])
        still = []
        for (job, new), error in zip(rough, off, strict=True):
            error.diagonal(dim1=-2, dim2=-1).sub_(1)
            new.copy_(newton_schulz_polish(new, error))
            if bool(error.abs().amax() > 1e-2):
                still.append((job, new, False))
        moved = still


def _tall(x: Tensor, job: Job) -> Tensor:
    """A part of the job's matrices, with the longer axis before the other one."""
    m, n = job.spread.layout.shape[-2:]
    return x if m > n else x.mT


def _tall_shape(job: Job) -> torch.Size:
    *batch, m, n = job.spread.layout.shape
    return torch.Size((*batch, max(m, n), min(m, n)))
