"""What an optimizer step of a transformer costs on many ranks, by the model that the optimizer chooses routes by."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from modular_manifolds.distributed import balanced_owners
from modular_manifolds.distributed.routes import (
    Machine,
    busiest_bytes,
    exchange_seconds,
    owner_bytes,
    owner_seconds,
    owner_work,
    rows_are_cheaper,
    rows_bytes,
    rows_seconds,
    sharing,
)

_DOUBLE = 8
"""Bytes of a number of the flags that ranks agree on."""

_FLAGS = 4
"""Of each parameter."""

_SETTINGS = 3
"""Numbers that come with those of one group: its learning rate, the square of that, and whether a rank refuses."""


class Route(StrEnum):
    """How the matrices are stepped."""

    OWNERS = "owners"
    ROWS = "rows"
    CHOSEN = "chosen"
    MUON = "muon"


@dataclass(frozen=True)
class Transformer:
    """A Llama-shaped model: the matrices of its blocks. Embedding and head are stepped where they lie.

    Args:
        name: in tables.
        hidden, feed_forward, heads, key_value_heads, layers, vocabulary: as published.
        shard: ranks that hold a copy in hybrid sharding.
        tied: whether the head is the embedding.
    """

    name: str
    hidden: int
    feed_forward: int
    heads: int
    key_value_heads: int
    layers: int
    vocabulary: int
    shard: int = 8
    tied: bool = False

    @property
    def groups(self) -> list[tuple[int, int, int]]:
        """(out, in) of the matrices that are stepped together, and how many there are."""
        narrow = self.hidden // self.heads * self.key_value_heads
        return [
            (self.hidden, self.hidden, 2 * self.layers),
            (narrow, self.hidden, 2 * self.layers),
            (self.feed_forward, self.hidden, 2 * self.layers),
            (self.hidden, self.feed_forward, self.layers),
        ]

    @property
    def parameters(self) -> int:
        """Of all but the norms."""
        tables = (1 if self.tied else 2) * self.vocabulary * self.hidden
        return tables + sum(m * n * count for m, n, count in self.groups)


TRANSFORMERS = {
    "1b": Transformer("Llama 3.2 1B", 2048, 8192, 32, 8, 16, 128256, shard=8, tied=True),
    "8b": Transformer("Llama 3 8B", 4096, 14336, 32, 8, 32, 128256, shard=8),
    "70b": Transformer("Llama 3 70B", 8192, 28672, 64, 8, 80, 128256, shard=64),
}


SMALL = Transformer("Llama 3 8B / 32", 128, 448, 8, 2, 2, 0)
"""Scaled down, for what a few processes can count."""

UNEVEN = [(17, 9, 1), (9, 7, 1), (33, 16, 3), (5, 20, 2), (3, 3, 5)]
"""Matrices whose rows no number of ranks divides, one for many ranks, fewer rows than ranks."""


@dataclass(frozen=True)
class Cost:
    """Of a step.

    Args:
        communication, work: seconds of the busiest rank.
        sent: bytes that leave an average rank.
        busiest: bytes that the busiest rank receives or sends, whichever is more, exchange by exchange.
        routes: taken by each shape.
    """

    communication: float = 0.0
    work: float = 0.0
    sent: float = 0.0
    busiest: float = 0.0
    routes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return self.communication + self.work

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.communication + other.communication,
            self.work + other.work,
            self.sent + other.sent,
            self.busiest + other.busiest,
            self.routes + other.routes,
        )


def step_cost(
    groups: Sequence[tuple[int, int, int]], route: Route, ranks: int, copies: int, machine: Machine, itemsize: int = 4
) -> Cost:
    """Of one step of matrices cut along their first axis.

    Args:
        groups: (out, in, count).
        route: taken; rows only where there are more than two rows for a column.
        ranks: that hold a copy.
        copies: of it all.
        machine: the ranks.
        itemsize: bytes of a number of the sums over rows; 8 for `exact`.
    """
    everyone, total = ranks * copies, Cost()
    if route is not Route.MUON and everyone > 1:
        total = _agreement(groups, everyone, machine)
    loads: dict[int, list[float]] = {}
    # the optimizer's order
    for m, n, count in sorted(groups, key=lambda group: _fits_rows(group)):
        fits = _fits_rows((m, n, count)) and everyone > 1
        if fits and _takes_rows((m, n, count), route, ranks, copies, machine, itemsize):
            total += _by_rows(m, n, count, ranks, copies, machine, itemsize)
            continue
        if route is Route.MUON:
            total += _muon(m, n, count, ranks, copies, machine)
            continue
        shared = sharing(m, n, ranks, count, machine, copies)
        spent = loads.setdefault(shared, [0.0] * (ranks * shared))
        owners = balanced_owners([owner_work((m, n))] * count, ranks * shared, spent)
        for owner in owners:
            spent[owner] += owner_work((m, n))
        total += _at_owners(m, n, count, ranks, shared, machine, owners)
    return total


def _fits_rows(group: tuple[int, int, int]) -> bool:
    m, n, _ = group
    return m > 2 * n


def _takes_rows(
    group: tuple[int, int, int], route: Route, ranks: int, copies: int, machine: Machine, itemsize: int
) -> bool:
    m, n, count = group
    if route is Route.CHOSEN:
        return rows_are_cheaper(m, n, ranks, count, machine, itemsize, copies)
    return route is Route.ROWS


def _agreement(groups: Sequence[tuple[int, int, int]], ranks: int, machine: Machine) -> Cost:
    """Flags of each parameter; of those that could be stepped by rows a bound, and the diagonal of w^T w."""
    numbers = _SETTINGS + sum(count * (_FLAGS + (1 + n if _fits_rows((m, n, count)) else 0)) for m, n, count in groups)
    sent = 2 * (1 - 1 / ranks) * numbers * _DOUBLE
    return Cost(machine.total_seconds(numbers * _DOUBLE, ranks), 0.0, sent, sent)


def _by_rows(m: int, n: int, count: int, ranks: int, copies: int, machine: Machine, itemsize: int) -> Cost:
    sent = rows_bytes(n, ranks * copies, count, itemsize)
    communication = machine.total_seconds(2 * n * n * count * itemsize, ranks * copies)
    seconds = rows_seconds(m, n, ranks, count, machine, itemsize, copies)
    return Cost(communication, seconds - communication, sent, sent, ("rows",))


def _at_owners(m: int, n: int, count: int, ranks: int, shared: int, machine: Machine, owners: Sequence[int]) -> Cost:
    communication = exchange_seconds(m, n, ranks, count, machine, shared)
    work = owner_seconds(m, n, ranks, count, machine, shared) - communication
    sent = owner_bytes(m, n, ranks, count, copies=shared, owners=owners)
    busiest = sum(busiest_bytes(m, n, ranks, count, copies=shared)) if ranks * shared > 1 else 0.0
    return Cost(communication, work, sent, busiest, ("owners",))


def _muon(m: int, n: int, count: int, ranks: int, copies: int, machine: Machine) -> Cost:
    """The momentum goes to an owner, and the update comes back; five quintics in bfloat16."""

    def cost(shared: int) -> Cost:
        owned = ceil(count / (ranks * shared))
        work = machine.work_seconds(owned * _newton_schulz(m, n), 0.0)
        communication = exchange_seconds(m, n, ranks, count, machine, shared, there=1)
        sent = owner_bytes(m, n, ranks, count, copies=shared, there=1)
        busiest = sum(busiest_bytes(m, n, ranks, count, copies=shared, there=1)) if ranks * shared > 1 else 0.0
        return Cost(communication, work, sent, busiest, ("owners",))

    return min((cost(part) for part in _divisors(copies)), key=lambda found: found.seconds)


def _newton_schulz(m: int, n: int) -> float:
    small, large = min(m, n), max(m, n)
    return 5 * (4.0 * large * small**2 + 2.0 * small**3)


def _divisors(number: int) -> Iterator[int]:
    return (part for part in range(number, 0, -1) if number % part == 0)
