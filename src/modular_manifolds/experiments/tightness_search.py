"""A search for the input at which a network stretches most, with as many ideas as it takes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

from modular_manifolds.experiments.tightness_stretch import local_stretch, secant_stretch, smooth_log_stretch

_CHUNK = 512
"""Points that are evaluated at once."""
_POOL = 48
"""Best points that are kept, and starts of an ascent."""
_REACHES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Lengths of moves along a singular vector, in lengths of the point."""
_COORDINATES = 256
"""Of the input, how many are moved in one round at most."""
_WIDEST, _NARROWEST = 1.0, 0.01
"""Kinks of the smoothed network, first and last."""
_CHECK_EVERY = 10


@dataclass(frozen=True)
class Effort:
    """How long to search: random starts, steps of an ascent, and rounds of each local search."""

    random: int = 1000
    ascents: int = 2
    steps: int = 200
    rounds: int = 60

    def times(self, factor: float) -> "Effort":
        """So many times as long. More effort means more ascents, less shortens them, too."""
        return Effort(
            max(1, round(self.random * factor)),
            max(1, round(self.ascents * factor)),
            max(_CHECK_EVERY, round(self.steps * min(1, factor))),
            max(1, round(self.rounds * factor)),
        )


@dataclass(frozen=True)
class Found:
    """The largest stretch, what it was after every strategy, how many were measured, and how many exceed the limit."""

    stretch: float
    after: dict[str, float]
    measurements: int
    exceeding: int


def largest_stretch(
    network: nn.Module,
    samples: Float[Tensor, "samples inputs"],
    generator: torch.Generator,
    effort: Effort,
    limit: float = inf,
    on_strategy: Callable[[str, float], None] = lambda name, stretch: None,
) -> Found:
    """The largest stretch found over all inputs, of any size.

    Each is measured, at a point or between two, so that no Lipschitz constant is smaller. `samples`, real inputs, are
    where it starts; it leaves them.

    Args:
        network: maps (points, inputs) to (points, outputs), one sample independently of another, in float64.
        limit: no stretch should exceed it.
        on_strategy: called after every strategy, with the largest stretch until then.
    """
    pool = Pool(network, samples, generator, limit)
    after: dict[str, float] = {}
    for name, strategy in STRATEGIES.items():
        strategy(pool, effort)
        after[name] = pool.best
        on_strategy(name, pool.best)
    return Found(pool.best, after, pool.measurements, pool.exceeding)


class Pool:
    """The points of largest local stretch so far; `best` is the largest stretch, secants included."""

    def __init__(
        self,
        network: nn.Module,
        samples: Float[Tensor, "samples inputs"],
        generator: torch.Generator,
        limit: float = inf,
    ) -> None:
        self.network = network
        self.samples = samples
        self.generator = generator
        self.length = float(torch.linalg.vector_norm(samples, dim=1).mean())
        self.best = 0.0
        self.measurements = self.exceeding = 0
        self._limit = limit
        inputs, outputs = samples.shape[1], network(samples[:1]).shape[1]
        self.points, self.right = samples.new_zeros(0, inputs), samples.new_zeros(0, inputs)
        self.left, self.factor = samples.new_zeros(0, outputs), samples.new_zeros(0)

    def add(self, points: Float[Tensor, "points inputs"]) -> None:
        """Measure points, and keep those that are among the best."""
        for chunk in torch.split(points, _CHUNK):
            found = local_stretch(self.network, chunk)
            self._measured(found.factor)
            factor = torch.cat([self.factor, found.factor])
            self.factor, kept = factor.topk(min(_POOL, len(factor)))
            self.points = torch.cat([self.points, chunk])[kept]
            self.right = torch.cat([self.right, found.right])[kept]
            self.left = torch.cat([self.left, found.left])[kept]

    def add_secants(self, starts: Float[Tensor, "pairs inputs"], ends: Float[Tensor, "pairs inputs"]) -> None:
        """Measure pairs of points."""
        self._measured(secant_stretch(self.network, starts, ends))

    def normal(self, *shape: int) -> Tensor:
        """Independent standard normal numbers."""
        return torch.randn(*shape, dtype=self.samples.dtype, generator=self.generator)

    def random_points(self, count: int) -> Float[Tensor, "count inputs"]:
        """In every direction alike, as long as the samples."""
        return self.length * _unit(self.normal(count, self.samples.shape[1]))

    def _measured(self, stretches: Float[Tensor, " stretches"]) -> None:
        self.measurements += len(stretches)
        self.exceeding += int((stretches > self._limit).sum())
        self.best = max(self.best, float(stretches.max()))


class Strategy(Protocol):
    """Adds points to a pool."""

    def __call__(self, pool: Pool, effort: Effort) -> None: ...


def at_data(pool: Pool, effort: Effort) -> None:
    """Real inputs."""
    pool.add(pool.samples)


def at_random(pool: Pool, effort: Effort) -> None:
    """Random directions; how long the points are is nothing to a network without biases."""
    pool.add(pool.random_points(effort.random))


def smooth_ascent(pool: Pool, effort: Effort) -> None:
    """Gradient ascent on the smoothed network's stretch, its kinks narrowing to ReLU's; from the best and at random."""
    for _ in range(effort.ascents):
        fresh = pool.random_points(2 * _POOL - len(pool.points))
        found = local_stretch(pool.network, fresh)
        for points in _ascent(
            pool.network, torch.cat([pool.points, fresh]), torch.cat([pool.left, found.left]), effort
        ):
            pool.add(points)


def along_singular_vectors(pool: Pool, effort: Effort) -> None:
    """From every point to its own singular vector, which it stretches most, and part of the way there."""
    for _ in range(effort.rounds):
        before, x, v = pool.best, pool.points, pool.right
        step = v * torch.linalg.vector_norm(x, dim=1, keepdim=True)
        moved = [x + sign * reach * step for reach in _REACHES for sign in (1, -1)]
        pool.add(torch.cat([step, -step, *moved]))
        if pool.best == before:
            return


def evolution(pool: Pool, effort: Effort) -> None:
    """Random changes of all sizes to the best points, and mixtures of two."""
    for _ in range(effort.rounds):
        x = _unit(pool.points)
        parents = torch.randint(len(x), (2, 4 * _POOL), generator=pool.generator)
        sizes = 10 ** (3 * torch.rand(4 * _POOL, 1, dtype=x.dtype, generator=pool.generator) - 3)
        share = torch.rand(4 * _POOL, 1, dtype=x.dtype, generator=pool.generator)
        changed = x[parents[0]] + sizes * _unit(pool.normal(4 * _POOL, x.shape[1]))
        mixed = x[parents[0]] + share * (x[parents[1]] - x[parents[0]])
        pool.add(pool.length * torch.cat([changed, mixed]))


def by_coordinates(pool: Pool, effort: Effort) -> None:
    """Pattern search from the best point: one coordinate up or down, by less where nothing gains."""
    step = 1.0
    for _ in range(effort.rounds):
        before, x = pool.best, pool.points[0]
        chosen = torch.randperm(len(x), generator=pool.generator)[:_COORDINATES]
        moves = torch.zeros(len(chosen), len(x), dtype=x.dtype)
        moves[range(len(chosen)), chosen] = step * float(torch.linalg.vector_norm(x))
        pool.add(torch.cat([x + moves, x - moves]))
        if pool.best == before:
            step /= 2


def secants(pool: Pool, effort: Effort) -> None:
    """Between samples, between the best points, and from the best points along their singular vectors."""
    order = torch.randperm(len(pool.samples), generator=pool.generator)
    pool.add_secants(pool.samples, pool.samples[order])
    x = pool.points
    first, second = torch.cartesian_prod(torch.arange(len(x)), torch.arange(len(x))).T
    pool.add_secants(x[first], x[second])
    pool.add_secants(x, -x)
    step = pool.right * torch.linalg.vector_norm(x, dim=1, keepdim=True)
    for reach in _REACHES:
        pool.add_secants(x - reach * step, x)
        pool.add_secants(x, x + reach * step)


STRATEGIES: dict[str, Strategy] = {
    "data": at_data,
    "random": at_random,
    "ascent": smooth_ascent,
    "singular vectors": along_singular_vectors,
    "evolution": evolution,
    "coordinates": by_coordinates,
    "secants": secants,
}
"""In the order in which they are tried; each starts from what the ones before it found."""


def _ascent(network: nn.Module, points: Tensor, left: Tensor, effort: Effort) -> Iterator[Tensor]:
    """Points every few steps of Adam."""
    x = (points.shape[1] ** 0.5 * _unit(points)).requires_grad_()
    u = left.clone().requires_grad_()
    optimizer = torch.optim.Adam([{"params": [x], "lr": 0.1}, {"params": [u], "lr": 0.03}])
    for step in range(1, effort.steps + 1):
        width = _WIDEST * (_NARROWEST / _WIDEST) ** (step / effort.steps)
        optimizer.zero_grad()
        with torch.enable_grad():
            loss = -smooth_log_stretch(network, x, u, width).sum()
            x.grad, u.grad = torch.autograd.grad(loss, (x, u), materialize_grads=True)
        optimizer.step()
        if step % _CHECK_EVERY == 0 or step == effort.steps:
            yield x.detach().clone()


def _unit(x: Tensor) -> Tensor:
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp(min=1e-300)
