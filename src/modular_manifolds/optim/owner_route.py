"""Steps of whole matrices, each on one rank: weight and gradient go there together, and the new weight comes back.

Two all-to-alls for the matrices of a shape, or for as many of them as owners have memory for at a time; the next ones
travel while these are solved.
"""

from collections import defaultdict
from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor

from modular_manifolds.distributed import Exchange, Team, balanced_owners, described
from modular_manifolds.distributed.routes import Machine, at_once, owner_work, sharing, usual
from modular_manifolds.optim.batches import State
from modular_manifolds.optim.descent import descend_, kept
from modular_manifolds.optim.jobs import Averaged, Job, averaged

Spent = dict[tuple[Team, Any], list[float]]
"""What each rank has to do already, by its place among those that share the work."""


def step_at_owners_(items: list[Job | Averaged], machine: Machine | None = None) -> None:
    """Step jobs, in place. Those whose gradients are averaged already bring them.

    Args:
        items: the jobs.
        machine: what decides how many copies share the work; by default what is usual for the parameters' device.
    """
    shapes: dict[Any, list[Job | Averaged]] = defaultdict(list)
    spent: Spent = {}
    for item in items:
        job = item.job if isinstance(item, Averaged) else item
        if prod(job.spread.layout.shape):
            shapes[job.spread, job.weight.dtype, _travelling(job)].append(item)
    waiting = [round_ for same in shapes.values() for round_ in _rounds(same, spent, machine)]
    begun = 0
    finish: Callable[[], None] = lambda: None  # noqa: E731
    for i, shape in enumerate(waiting):
        for travelling in waiting[max(i, begun) : i + 2]:
            travelling.send()
        begun = i + 2
        new = shape.solve()
        finish()
        finish = shape.send_back(new)
        del new  # which it holds as long as that takes
    finish()


def _travelling(job: Job) -> tuple[str, ...]:
    """What else a step needs to see whole, and changes: all that is kept, but for an average that is made of parts."""
    by_parts = job.group["momentum_on"] == "gradient"
    return tuple(name for name in kept(job.group) if name != "momentum" or not by_parts)


def _sharing(jobs: list[Job], machine: Machine | None) -> int:
    """How many copies share the work."""
    layout, speeds = jobs[0].spread.layout, machine or usual(jobs[0].weight.device)
    *batch, m, n = layout.shape if len(layout.shape) > 1 else (1, *layout.shape)
    if layout.sharded == (len(layout.shape) - 1,):
        m, n = n, m
    return sharing(m, n, len(layout.copies[0]), len(jobs) * prod(batch), speeds, layout.held)


def _rounds(items: list[Job | Averaged], spent: Spent, machine: Machine | None) -> list["_Round"]:
    """Jobs of one shape and layout, cut into those that travel at once."""
    jobs = [item.job if isinstance(item, Averaged) else item for item in items]
    layout, shared = jobs[0].spread.layout, _sharing(jobs, machine)
    most = at_once(prod(layout.shape)) * len(layout.copies[0]) * shared
    return [_Round(items[start : start + most], spent, shared) for start in range(0, len(items), most)]


class _Round:
    """Jobs of one shape and layout, on their way together."""

    def __init__(self, items: list[Job | Averaged], spent: Spent, shared: int) -> None:
        self._items = items
        self._jobs = [item.job if isinstance(item, Averaged) else item for item in items]
        spread, layout = self._jobs[0].spread, self._jobs[0].spread.layout
        self._names = _travelling(self._jobs[0])
        cost = owner_work(layout.shape)
        parts = layout.parts(shared)
        among = parts[spread.team.rank]
        # all parts do the same, so that copies stay the same to the last bit
        loads = spent.setdefault((spread.team, parts), [0.0] * len(among))
        places = balanced_owners([cost] * len(items), len(among), loads)
        for place in places:
            loads[place] += cost
        owners = [among[place] for place in places]
        what = f"weights and gradients of {described([job.name for job in self._jobs], layout.shape)}"
        self._exchange = Exchange(spread.team, [layout] * len(items), owners, what, among)
        self._arrive: Callable[[], list[list[Tensor]]] | None = None

    def send(self) -> None:
        """Start to send what the owners need."""
        gradients = [(item if isinstance(item, Averaged) else averaged(item)).g for item in self._items]
        parts = [[job.weight, g, *self._kept(job)] for job, g in zip(self._jobs, gradients, strict=True)]
        self._arrive = self._exchange.collect(parts)

    def solve(self) -> list[list[Tensor]]:
        """Wait for what this rank owns, and step it as one process would."""
        assert self._arrive is not None
        arrive, self._arrive = self._arrive, None  # with all that was sent
        wholes = arrive()
        del arrive
        groups: dict[int, list[int]] = defaultdict(list)
        for k, i in enumerate(self._exchange.owned):
            groups[id(self._jobs[i].group)].append(k)
        states: list[State] = [dict(zip(self._names, whole[2:], strict=True)) for whole in wholes]
        for places in groups.values():
            group = self._jobs[self._exchange.owned[places[0]]].group
            # gradients that have been averaged are descended along as they are
            momentum = group["momentum"] if "momentum" in self._names else 0.0
            of_group = [wholes[k] for k in places]
            descend_(
                {**group, "momentum": momentum},
                [w for w, *_ in of_group],
                [g for _, g, *_ in of_group],
                [states[k] for k in places],
            )
        return [[whole[0], *(state[name] for name in self._names)] for whole, state in zip(wholes, states, strict=True)]

    def send_back(self, new: list[list[Tensor]]) -> Callable[[], None]:
        """Start to send the owners' results; what this gives back waits for them, and writes them."""
        return self._exchange.spread(new, [[job.weight, *self._kept(job)] for job in self._jobs])

    def _kept(self, job: Job) -> list[Tensor]:
        return [job.state[name] for name in self._names]
