"""Steps of whole matrices, each on one rank: weight and gradient go there together, and the new weight comes back.

Two all-to-alls for all matrices of a shape; those of the next shape travel while this one's are solved.
"""

from collections import defaultdict
from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor

from modular_manifolds.distributed import Exchange, Team, balanced_owners, described
from modular_manifolds.distributed.routes import owner_work
from modular_manifolds.optim.batches import State
from modular_manifolds.optim.descent import descend_, kept
from modular_manifolds.optim.jobs import Averaged, Job, averaged


def step_at_owners_(items: list[Job | Averaged]) -> None:
    """Step jobs, in place. Those whose gradients are averaged already bring them."""
    shapes: dict[Any, list[Job | Averaged]] = defaultdict(list)
    spent: dict[Team, list[float]] = {}
    for item in items:
        job = item.job if isinstance(item, Averaged) else item
        if prod(job.spread.layout.shape):
            shapes[job.spread, job.weight.dtype, _travelling(job)].append(item)
    waiting = [_Shape(same, spent) for same in shapes.values()]
    finish: Callable[[], None] = lambda: None  # noqa: E731
    for i, shape in enumerate(waiting):
        for travelling in waiting[i : i + 2]:
            travelling.send()
        new = shape.solve()
        finish()
        finish = shape.send_back(new)
    finish()


def _travelling(job: Job) -> tuple[str, ...]:
    """What else a step needs to see whole, and changes: all that is kept, but for an average that is made of parts."""
    by_parts = job.group["momentum_on"] == "gradient"
    return tuple(name for name in kept(job.group) if name != "momentum" or not by_parts)


class _Shape:
    """Jobs of one shape and layout, on their way."""

    def __init__(self, items: list[Job | Averaged], spent: dict[Team, list[float]]) -> None:
        self._items = items
        self._jobs = [item.job if isinstance(item, Averaged) else item for item in items]
        spread = self._jobs[0].spread
        self._names = _travelling(self._jobs[0])
        cost = owner_work(spread.layout.shape)
        loads = spent.setdefault(spread.team, [0.0] * spread.team.size)
        owners = balanced_owners([cost] * len(items), spread.team.size, loads)
        for owner in owners:
            loads[owner] += cost
        what = described([job.name for job in self._jobs], spread.layout.shape)
        self._exchange = Exchange(spread.team, [spread.layout] * len(items), owners, f"weights and gradients of {what}")
        self._arrive: Callable[[], list[list[Tensor]]] | None = None

    def send(self) -> None:
        """Start to send what the owners need; once, before `solve`."""
        if self._arrive is not None:
            return
        gradients = [(item if isinstance(item, Averaged) else averaged(item)).g for item in self._items]
        parts = [[job.weight, g, *self._kept(job)] for job, g in zip(self._jobs, gradients, strict=True)]
        self._arrive = self._exchange.collect(parts)

    def solve(self) -> list[list[Tensor]]:
        """Wait for what this rank owns, and step it as one process would."""
        assert self._arrive is not None
        arrive, self._arrive = self._arrive, None  # what has travelled is not kept until all shapes are done
        wholes = arrive()
        del arrive
        groups: dict[int, list[int]] = defaultdict(list)
        for k, i in enumerate(self._exchange.owned):
            groups[id(self._jobs[i].group)].append(k)
        states: list[State] = [dict(zip(self._names, whole[2:], strict=True)) for whole in wholes]
        for places in groups.values():
            group = self._jobs[self._exchange.owned[places[0]]].group
            done = {} if "momentum" in self._names else {"momentum": 0.0}
            of_group = [wholes[k] for k in places]
            descend_(
                {**group, **done}, [w for w, *_ in of_group], [g for _, g, *_ in of_group], [states[k] for k in places]
            )
        return [[whole[0], *(state[name] for name in self._names)] for whole, state in zip(wholes, states, strict=True)]

    def send_back(self, new: list[list[Tensor]]) -> Callable[[], None]:
        """Start to send the owners' results; what this gives back waits for them, and writes them."""
        return self._exchange.spread(new, [[job.weight, *self._kept(job)] for job in self._jobs])

    def _kept(self, job: Job) -> list[Tensor]:
        return [job.state[name] for name in self._names]
