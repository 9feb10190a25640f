"""How a sharded matrix is stepped: what each way costs, and which one is taken.

Counted for one step of `count` m x n matrices, cut along the axis of length m over s ranks; c copies of all of that
make p = s c ranks:

    owner   each matrix goes whole to one rank, weight and momentum together, and the weight comes back: 2 m n numbers
            and c m n, less what owners have already; whole steps, shared among the ranks. An owner of one matrix
            receives and sends all of that, though the average rank has little to send. So that none has to write to
            very many copies, copies may share the work in parts of `sharing` copies each, which do the same.
    rows    where m > 2n: the sums w^T g, g^T g and w^T w are added up over the ranks, 2 n^2 numbers for each matrix: a
            ring sends 2 (1 - 1/p) of them from each rank; every rank solves all of the n-sized problems, and moves its
            rows.

Seconds are those of the busiest rank. Communication is not counted as hidden behind the solves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2, prod

import torch

PRODUCTS = 9.0
"""k x k x k products that the sign of a k x k matrix is worth on a CPU: three for each quintic, of which a few do, and
of which symmetry leaves three quarters."""


ROUND = 2**24
"""Numbers of the matrices that an owner receives at a time, if that is more than one: memory against latency."""


@dataclass(frozen=True)
class Machine:
    """What a rank can do, and how it is connected.

    Args:
        flops: floating-point operations in a second of the products that matrix signs are made of.
        bandwidth: bytes that it sends in a second to other nodes.
        latency: seconds that a collective takes at least.
        precise_flops: of products in float32; by default the same.
        products: that the sign of a matrix is worth.
        node: ranks of a node, the first ones together.
        inside: bytes that a rank sends in a second to its own node; by default as to others.
        message: seconds for each rank to which another one writes.
    """

    flops: float
    bandwidth: float
    latency: float = 1e-5
    precise_flops: float | None = None
    products: float = PRODUCTS
    node: int = 1
    inside: float | None = None
    message: float = 0.0

    def work_seconds(self, rough: float, precise: float) -> float:
        """For so many operations of both kinds."""
        return rough / self.flops + precise / (self.precise_flops or self.flops)

    def exchange_seconds(self, sent: float, ranks: int) -> float:
        """Of an all-to-all among so many ranks, for the one that sends or receives the most, evenly to or from all."""
        others = max(ranks - 1, 1)
        near = (min(self.node, ranks) - 1) / others
        slowest = max(near * sent / (self.inside or self.bandwidth), (1 - near) * sent / self.bandwidth)
        return self.latency + self.message * others + slowest

    def total_seconds(self, size: float, ranks: int) -> float:
        """Of an all-reduce of so many bytes: a ring in every node, and one between nodes of what each rank then has."""
        near = min(self.node, ranks)
        nodes = ceil(ranks / near)
        inside = 2 * (1 - 1 / near) * size / (self.inside or self.bandwidth)
        between = 2 * (1 - 1 / nodes) * size / near / self.bandwidth
        return self.latency + 2 * self.message * log2(max(ranks, 2)) + max(inside, between)


CPU = Machine(flops=1e11, bandwidth=1e9)

ACCELERATOR = Machine(
    flops=0.45 * 989e12,
    bandwidth=5e10,
    latency=3e-5,
    precise_flops=0.7 * 67e12,
    products=27.0,
    node=8,
    inside=0.75 * 450e9,
    message=1e-6,
)
"""Like an H100: published rates of dense bfloat16 and float32 products and of NVLink, and what is reached of them; a
network of 400 Gbit/s for each. Nine quintics of three products, as nothing is looked at there."""


def usual(device: torch.device) -> Machine:
    """What is assumed of a kind of device, if nothing else is known."""
    return CPU if device.type == "cpu" else ACCELERATOR


def at_once(numbers: int) -> int:
    """How many matrices of so many numbers an owner receives at a time."""
    return max(1, ROUND // max(1, numbers))


def sign_size(m: int, n: int) -> int:
    """Size of the matrix whose sign a step takes."""
    return min(max(m, n), 2 * min(m, n))


def sign_work(m: int, n: int, products: float = PRODUCTS) -> float:
    """Floating-point operations of the problem that does not grow with the longer side."""
    k = sign_size(m, n)
    return 2 * products * k**3 + 2.0 * k * k * min(m, n)


def tall_work(m: int, n: int) -> float:
    """Floating-point operations of products with all of the longer side: to look, to act, and a polish."""
    return (12.0 if max(m, n) > 2 * min(m, n) else 6.0) * max(m, n) * min(m, n) ** 2


def owner_work(shape: Sequence[int]) -> float:
    """Floating-point operations of a step of whole matrices, the last two axes; a vector counts as one row."""
    *batch, m, n = shape if len(shape) > 1 else (1, prod(shape))
    return prod(batch) * (sign_work(m, n) + tall_work(m, n))


def held(m: int, ranks: int) -> list[int]:
    """How much of an axis of length m each rank holds, cut as by torch.chunk."""
    size = -(-m // ranks)
    return [min(size, max(0, m - rank * size)) for rank in range(ranks)]


def owner_bytes(
    m: int,
    n: int,
    ranks: int,
    count: int = 1,
    itemsize: int = 4,
    copies: int = 1,
    owners: Sequence[int] | None = None,
    there: int = 2,
) -> float:
    """Sent by an average rank on the owner route.

    Args:
        m, n: of the matrices; the axis of length m is cut.
        ranks: that hold all of it together.
        count: of matrices.
        itemsize: bytes of a number.
        copies: how often all of it is held by ranks that share the work.
        owners: of each matrix, by place among the ranks of all those copies; one after the other by default.
        there: matrices that the owner needs of each; one comes back.
    """
    own = held(m, ranks)
    places = range(count) if owners is None else owners
    at_home = sum(own[place % ranks] for place in places) * n
    moved = count * (there + copies) * m * n - (there + 1) * at_home
    return itemsize * moved / (ranks * copies)


def rows_bytes(n: int, ranks: int, count: int = 1, itemsize: int = 4) -> float:
    """Sent by every rank on the rows route, of all ranks of all copies."""
    return 2 * 2 * count * n * n * itemsize * (1 - 1 / ranks)


def busiest_bytes(
    m: int, n: int, ranks: int, count: int = 1, itemsize: int = 4, copies: int = 1, there: int = 2
) -> tuple[float, float]:
    """What the busiest rank receives of what goes to the owners, and what it sends or receives of what comes back."""
    most, least = held(m, ranks)[0], held(m, ranks)[-1]
    owned = ceil(count / (ranks * copies))
    in_copy = ceil(count / copies)
    arriving = max(owned * (m - least), (in_copy - in_copy // ranks) * most if ranks > 1 else 0)
    leaving = max(owned * (copies * m - least), (count - count // (ranks * copies)) * most if ranks * copies > 1 else 0)
    return there * arriving * n * itemsize, leaving * n * itemsize


def exchange_seconds(
    m: int, n: int, ranks: int, count: int, machine: Machine, copies: int = 1, itemsize: int = 4, there: int = 2
) -> float:
    """To the owners and back."""
    if ranks * copies == 1:
        return 0.0
    arriving, leaving = busiest_bytes(m, n, ranks, count, itemsize, copies, there)
    owned = ceil(count / (ranks * copies))
    again = ceil(owned / at_once(m * n)) - 1
    forth, back = (
        machine.exchange_seconds(sent, size) + again * machine.exchange_seconds(0.0, size) if size > 1 else 0.0
        for sent, size in ((arriving, ranks), (leaving, ranks * copies))
    )
    return forth + back


def owner_seconds(m: int, n: int, ranks: int, count: int, machine: Machine, copies: int = 1) -> float:
    """A step of float32 matrices on the owner route, shared by so many copies."""
    owned = ceil(count / (ranks * copies))
    work = machine.work_seconds(owned * sign_work(m, n, machine.products), owned * tall_work(m, n))
    return exchange_seconds(m, n, ranks, count, machine, copies) + work


def sharing(m: int, n: int, ranks: int, count: int, machine: Machine, copies: int) -> int:
    """How many copies should share the work of the owner route, each such part of them doing the same."""
    parts = [part for part in range(copies, 0, -1) if copies % part == 0]  # where it is all the same, all of them
    return min(parts, key=lambda part: owner_seconds(m, n, ranks, count, machine, part))


def rows_seconds(m: int, n: int, ranks: int, count: int, machine: Machine, itemsize: int = 4, copies: int = 1) -> float:
    """A step of float32 matrices, m > 2n, on the rows route, with sums of that many bytes a number."""
    rows = held(m, ranks)[0]
    work = machine.work_seconds(
        count * sign_work(m, n, machine.products), count * (6 * itemsize / 4 + 4.0) * rows * n * n
    )
    return machine.total_seconds(2 * n * n * count * itemsize, ranks * copies) + work


def rows_are_cheaper(
    m: int, n: int, ranks: int, count: int, machine: Machine, itemsize: int = 4, copies: int = 1
) -> bool:
    """Whether the rows route is the faster one."""
    shared = sharing(m, n, ranks, count, machine, copies)
    by_rows = rows_seconds(m, n, ranks, count, machine, itemsize, copies)
    return by_rows < owner_seconds(m, n, ranks, count, machine, shared)
