"""Collectives and bytes, against what the cost model says."""

import pytest
from torch.distributed.tensor import Placement, Replicate, Shard

from benchmarks.distributed_cost import SMALL, UNEVEN, Route, step_cost
from modular_manifolds.distributed.routes import (
    ACCELERATOR,
    CPU,
    Machine,
    held,
    owner_bytes,
    owner_seconds,
    rows_are_cheaper,
    rows_bytes,
    sharing,
)
from tests.distributed import programs
from tests.distributed.gang import Gang

TOLERANCE = 0.05


@pytest.mark.parametrize(("shape", "count"), [((64, 48), 8), ((64, 48), 12), ((96, 24), 4), ((24, 96), 4)], ids=str)
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.xdist_group("gang4")
def test_owner_route(request: pytest.FixtureRequest, size: int, shape: tuple[int, int], count: int) -> None:
    gang = request.getfixturevalue(f"gang{size}")
    sent = gang.run(programs.collectives_of_a_step, shape, count, [Shard(0)], programs.OWNER, "exact")
    for of_rank in sent:
        assert [kind for kind, *_ in of_rank] == ["all-reduce", "all-to-all", "all-to-all"]
    mean = sum(bytes for of_rank in sent for kind, _, bytes in of_rank if kind == "all-to-all") / size
    assert mean == pytest.approx(owner_bytes(*shape, size, count), rel=TOLERANCE)


@pytest.mark.parametrize(("shape", "count"), [((96, 24), 1), ((96, 24), 5), ((260, 17), 3)], ids=str)
@pytest.mark.parametrize(("precision", "itemsize"), [("exact", 8), ("balanced", 4)])
@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.xdist_group("gang4")
def test_rows_route(
    request: pytest.FixtureRequest, size: int, shape: tuple[int, int], count: int, precision: str, itemsize: int
) -> None:
    gang = request.getfixturevalue(f"gang{size}")
    n = shape[1]
    for of_rank in gang.run(programs.collectives_of_a_step, shape, count, [Shard(0)], programs.ROWS, precision):
        kinds, numbers, bytes = zip(*of_rank, strict=True)
        assert kinds == ("all-reduce", "all-reduce")
        assert numbers[0] <= count * (n + 5) + 3
        assert numbers[1] <= 2 * n * n * count
        assert bytes[1] == pytest.approx(rows_bytes(n, size, count, itemsize), rel=TOLERANCE)


@pytest.mark.xdist_group("gang4")
def test_replicas_send_only_results(gang4: Gang) -> None:
    for of_rank in gang4.run(programs.collectives_of_a_step, (32, 32), 8, [Replicate()], programs.OWNER, "exact"):
        assert [kind for kind, *_ in of_rank] == ["all-reduce", "all-to-all"]
        assert of_rank[1][1] == 3 * 2 * 32 * 32  # two matrices of mine, to three others


MACHINES = {"owners": programs.OWNER, "rows": programs.ROWS, "usual": CPU}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("shapes", ["transformer", "uneven"])
@pytest.mark.parametrize(
    "mesh",
    [
        pytest.param((2,), marks=pytest.mark.xdist_group("gang2")),
        *(pytest.param(mesh, marks=pytest.mark.xdist_group("gang4")) for mesh in [(4,), (2, 2)]),
        *(pytest.param(mesh, marks=[pytest.mark.slow, pytest.mark.xdist_group("gang8")]) for mesh in [(8,), (2, 4)]),
    ],
    ids=str,
)
def test_bytes_of_a_step(request: pytest.FixtureRequest, mesh: tuple[int, ...], shapes: str, machine: str) -> None:
    """Of all shapes of a model together, sharded by rows, or hybrid: copies, each of them sharded."""
    *replicas, ranks = mesh
    copies = replicas[0] if replicas else 1
    gang = request.getfixturevalue(f"gang{ranks * copies}")
    groups = SMALL.groups if shapes == "transformer" else UNEVEN
    placements: list[Placement] = [*(Replicate() for _ in replicas), Shard(0)]
    each = [(m, n) for m, n, count in groups for _ in range(count)]
    found = gang.run(programs.written_in_a_step, each, mesh, placements, MACHINES[machine])
    asked, written = (sum(numbers) / len(found) for numbers in zip(*found, strict=True))
    expected = step_cost(groups, Route.CHOSEN, ranks, copies, MACHINES[machine], itemsize=8)
    assert asked == pytest.approx(expected.sent, rel=1e-6)
    if shapes == "transformer":  # of less than 100 kB, headers are more than a few percent
        assert written == pytest.approx(expected.sent, rel=TOLERANCE)


def test_shards_are_those_of_torch() -> None:
    assert held(7, 4) == [2, 2, 2, 1]
    assert held(9, 4) == [3, 3, 3, 0]
    assert held(2, 4) == [1, 1, 0, 0]


def test_many_copies_do_not_wait_for_one_owner() -> None:
    """One matrix of 512 copies is solved by each of them; so many that every rank has one, by all together."""
    assert sharing(4096, 4096, 8, 1, ACCELERATOR, 512) == 1
    assert sharing(4096, 4096, 8, 4096, ACCELERATOR, 512) == 512
    shared = sharing(4096, 4096, 8, 64, ACCELERATOR, 512)
    together, apart = (owner_seconds(4096, 4096, 8, 64, ACCELERATOR, part) for part in (512, shared))
    assert apart < together / 5


def test_rows_are_for_few_matrices_far_taller_than_wide() -> None:
    slow = Machine(flops=1e14, bandwidth=1e8)
    assert rows_are_cheaper(100000, 64, 8, 1, slow)
    assert not rows_are_cheaper(2000, 900, 8, 64, slow)


@pytest.mark.xdist_group("gang2")
def test_what_something_else_has_written_is_looked_at_once(gang2: Gang) -> None:
    for first, *later in gang2.run(programs.collectives_after_a_write):
        assert later == [3, 3]
        assert first > 3
