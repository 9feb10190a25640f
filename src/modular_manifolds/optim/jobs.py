"""Parameters that lie on several ranks: what a step needs of each, agreed upon by all ranks before anything changes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, NamedTuple

import torch
from torch import Tensor

from modular_manifolds.distributed import LocalState, Spread, Team, local
from modular_manifolds.optim.descent import average


@dataclass
class Job:
    """One parameter to be stepped, as this rank sees it."""

    group: dict[str, Any]
    name: str
    p: Tensor
    spread: Spread
    state: LocalState
    weight: Tensor
    """This rank's part of what is stepped."""
    touched: bool = False
    """Whether something else has written to the parameter, on some rank."""
    trained: bool = False
    """Whether some rank asks for a gradient of it."""
    sums: list[float] = field(default_factory=list)
    """What `to_add` gave, added up over the ranks."""

    @property
    def grad(self) -> Tensor:
        """This rank's part of the gradient, in the dtype of the weight; zero where there is none."""
        if self.p.grad is None:
            return torch.zeros_like(self.weight)
        grad = local(self.p.grad).to(self.weight.dtype)
        return -grad if self.group["maximize"] else grad


class Averaged(NamedTuple):
    """A job, and this rank's part of what its step descends along, momentum on gradients included."""

    job: Job
    g: Tensor


def averaged(job: Job) -> Averaged:
    """A job with its momentum brought up to date."""
    grad = job.grad
    if job.group["momentum"] > 0 and job.group["momentum_on"] == "gradient":
        return Averaged(job, average(job.group, [grad], [job.state])[0])
    return Averaged(job, grad)


def agreed(jobs: Sequence[Job], to_add: Callable[[Job], Tensor | None], refusal: Exception | None = None) -> list[Job]:
    """Those of the jobs that are to be done: the same on all ranks, by one all-reduce for each team.

    A parameter is stepped if any rank has a gradient for it; of a sharded one, missing parts of the gradient are zero.

    Args:
        jobs: of all parameters, in the same order on all ranks.
        to_add: numbers of a job, in float64, to be added up over the ranks; as many whatever the learning rate.
        refusal: why this rank will not step, for reasons of its own. It raises that, and all that share a team with it
            hear of it, instead of waiting for it.

    Raises:
        TypeError: a gradient is sparse.
        ValueError: a gradient is not finite on some rank, and that is not to be skipped; some copies of a parameter
            have a gradient, and others have none; ranks differ in a learning rate; or another rank refuses. All ranks
            of a team raise the same error, which names those at fault.
    """
    teams: dict[Team, list[Job]] = {}
    for job in jobs:
        if job.p.grad is not None and job.p.grad.layout != torch.strided:
            raise TypeError(f"the gradient of {job.name} is sparse ({job.p.grad.layout}); make it dense")
        teams.setdefault(job.spread.team, []).append(job)
    bad = {id(job): found for job, found in zip(jobs, _nonfinite(jobs), strict=True)}
    infinite = [job.name for job in jobs if bad[id(job)] and job.group["nonfinite"] == "raise"]
    mine = str(refusal) if refusal else f"the gradient of {infinite[0]} has a NaN or an Inf" if infinite else ""
    done: list[Job] = []
    faults: list[str] = []
    for team, members in teams.items():
        found, wrong = _agreed(team, members, [bad[id(job)] for job in members], mine, to_add)
        done += found
        faults += wrong
    if refusal:
        raise refusal
    if faults:
        cure = (
            ". To skip parameters whose gradient is not finite pass nonfinite='skip'"
            if any("NaN" in fault for fault in faults)
            else ""
        )
        raise ValueError(f"{'; '.join(faults)}. Nothing has been changed{cure}")
    order = {id(job): i for i, job in enumerate(jobs)}
    return sorted(done, key=lambda job: order[id(job)])


def _agreed(
    team: Team, jobs: list[Job], bad: list[bool], refusal: str, to_add: Callable[[Job], Tensor | None]
) -> tuple[list[Job], list[str]]:
    """The jobs to be done, and what is wrong with others.

    Args:
        bad: whether this rank's part of each job's gradient is not finite.
        refusal: why this rank will raise an error in any case; empty if it will not.
    """
    extra = [to_add(job) for job in jobs]
    present = [job.p.grad is not None for job in jobs]
    trained = [job.p.requires_grad for job in jobs]
    flags = torch.tensor([present, bad, [job.touched for job in jobs], trained], dtype=torch.float64).T.flatten()
    device = jobs[0].weight.device
    groups = list({id(job.group): job.group for job in jobs}.values())
    rates = torch.stack(
        [torch.as_tensor(g["lr"] * g["budget"], dtype=torch.float64).reshape(()).to(device) for g in groups]
    )
    own = torch.cat([rates, rates.square(), rates.new_tensor([bool(refusal)])])
    vector = torch.cat([own, flags.to(device), *(numbers.flatten() for numbers in extra if numbers is not None)])
    totals = iter(team.total(vector, f"the gradients of {jobs[0].name} and {len(jobs) - 1} others").tolist())
    sums, squares = ([next(totals) for _ in groups] for _ in range(2))
    # by the variance, of which all ranks think the same
    differ = any(team.size * square - total**2 > 1e-12 * square for total, square in zip(sums, squares, strict=True))
    refused = next(totals) > 0
    done, faulty = [], []
    seen = [[next(totals) for _ in range(4)] for _ in jobs]
    for job, numbers, (gradients, nonfinite, touched, trained_by) in zip(jobs, extra, seen, strict=True):
        job.sums = [next(totals) for _ in range(0 if numbers is None else numbers.numel())]
        job.touched, job.trained = touched > 0, trained_by + gradients > 0
        copied = job.spread.layout.held > 1
        if (nonfinite and job.group["nonfinite"] == "raise") or (copied and 0 < gradients < team.size):
            faulty.append(job)
        elif gradients and not nonfinite:
            done.append(job)
    if not (faulty or refused or differ):
        return done, []
    # who is at fault is asked only when it is known that someone is
    mine = [[present[i], bad[i]] for i, job in enumerate(jobs) if job in faulty]
    found = team.everyone((mine, refusal, rates.tolist()), "the ranks at fault")
    answers = [answer for answer, *_ in found]
    refusals = [f"rank {rank} refuses: {why}" for rank, (_, why, _) in zip(team.ranks, found, strict=True) if why]
    faults = [] if faulty else refusals
    if differ:
        lengths = [f"{values} on rank {rank}" for rank, (*_, values) in zip(team.ranks, found, strict=True)]
        faults.append(f"ranks differ in lr * budget of the groups with {jobs[0].name} and others: {', '.join(lengths)}")
    for k, job in enumerate(faulty):
        infinite = [rank for rank, answer in zip(team.ranks, answers, strict=True) if answer[k][1]]
        missing = [rank for rank, answer in zip(team.ranks, answers, strict=True) if not answer[k][0]]
        faults.append(
            f"the gradient of {job.name} has a NaN or an Inf on {_ranks(infinite)}"
            if infinite
            else f"{job.name} has copies without a gradient, on {_ranks(missing)}, and others with one"
        )
    return done, faults


def _nonfinite(jobs: Sequence[Job]) -> list[bool]:
    grads = [None if job.p.grad is None else local(job.p.grad) for job in jobs]
    ends = [torch.stack(torch.aminmax(g)).double() for g in grads if g is not None and g.numel()]
    values = iter(torch.stack(ends).tolist() if ends else [])
    return [g is not None and bool(g.numel()) and not all(isfinite(end) for end in next(values)) for g in grads]


def _ranks(ranks: list[int]) -> str:
    return f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {', '.join(map(str, ranks))}"
