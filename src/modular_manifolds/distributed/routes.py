"""How a sharded matrix is stepped: what each way costs, and which one is taken.

Counted for one step of `count` m x n matrices, m >= n, whose rows are cut over p ranks:

    owner   each matrix goes whole to one rank, weight and momentum together, and the weight comes back:
            3 m n (1 - 1/p) numbers for each matrix, 1/p of them from each rank; whole steps, shared among the ranks.
    rows    the sums w^T g, g^T g and w^T w are added up over the ranks, 2 n^2 numbers for each matrix: a ring sends
            2 (1 - 1/p) of them from each rank; every rank solves all of the n-sized problems, and moves its rows.

Communication is counted at the speed at which a rank sends, and not as hidden behind the solves.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

import torch

PRODUCTS = 36
"""n x n x n products that an n-sized problem is worth: about six quintics on 2n x 2n skew matrices, three products
each, of which symmetry leaves a quarter to a half."""


@dataclass(frozen=True)
class Machine:
    """What a rank can do.

    Args:
        flops: products' floating-point operations in a second.
        bandwidth: bytes that it sends in a second.
        latency: seconds that a collective takes at least.
    """

    flops: float
    bandwidth: float
    latency: float = 1e-5


CPU = Machine(flops=1e11, bandwidth=1e9)
ACCELERATOR = Machine(flops=2e14, bandwidth=5e10)


def usual(device: torch.device) -> Machine:
    """What is assumed of a kind of device, if nothing else is known."""
    return CPU if device.type == "cpu" else ACCELERATOR


def owner_work(shape: Sequence[int]) -> float:
    """Floating-point operations of a step of whole matrices, the last two axes; a vector counts as one row."""
    *batch, m, n = shape if len(shape) > 1 else (1, prod(shape))
    small, large = min(m, n), max(m, n)
    return prod(batch) * (8.0 * large * small**2 + 2 * PRODUCTS * small**3)


def owner_bytes(m: int, n: int, ranks: int, count: int = 1, itemsize: int = 4) -> float:
    """Sent by an average rank on the owner route, for matrices that lie on the ranks in equal parts."""
    return 3 * count * m * n * itemsize * (1 - 1 / ranks) / ranks


def rows_bytes(n: int, ranks: int, count: int = 1, itemsize: int = 4) -> float:
    """Sent by every rank on the rows route."""
    return 2 * 2 * count * n * n * itemsize * (1 - 1 / ranks)


def owner_seconds(m: int, n: int, ranks: int, count: int, machine: Machine) -> float:
    """A step of float32 matrices on the owner route."""
    work = ceil(count / ranks) * owner_work((m, n))
    return 2 * machine.latency + owner_bytes(m, n, ranks, count) / machine.bandwidth + work / machine.flops


def rows_seconds(m: int, n: int, ranks: int, count: int, machine: Machine, itemsize: int = 4) -> float:
    """A step of float32 matrices on the rows route, with sums of that many bytes a number."""
    sums = 6 * ceil(m / ranks) * n * n * itemsize / 4
    work = count * (sums + 4 * ceil(m / ranks) * n * n + 2 * PRODUCTS * n**3)
    return machine.latency + rows_bytes(n, ranks, count, itemsize) / machine.bandwidth + work / machine.flops


def rows_are_cheaper(m: int, n: int, ranks: int, count: int, machine: Machine, itemsize: int = 4) -> bool:
    """Whether the rows route is the faster one."""
    return rows_seconds(m, n, ranks, count, machine, itemsize) < owner_seconds(m, n, ranks, count, machine)
