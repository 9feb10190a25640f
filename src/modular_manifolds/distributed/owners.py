"""Who solves which matrix."""

from collections.abc import Sequence
from heapq import heapify, heapreplace


def balanced_owners(costs: Sequence[float], ranks: int, spent: Sequence[float] | None = None) -> list[int]:
    """An owner for every matrix, so that no rank has much more to do than another (longest processing time first).

    The busiest rank does at most 4/3 of what it would in the best assignment (Graham 1969). The same everywhere, as it
    depends on the arguments alone.

    Args:
        costs: of every matrix.
        ranks: how many there are.
        spent: what each has to do already.
    """
    heap = [(cost, rank) for rank, cost in enumerate(spent or [0.0] * ranks)]
    heapify(heap)
    owners = [0] * len(costs)
    for i in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        load, rank = heap[0]
        owners[i] = rank
        heapreplace(heap, (load + costs[i], rank))
    return owners
