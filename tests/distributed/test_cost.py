"""Collectives and bytes, against what the cost model says."""

import pytest
from torch.distributed.tensor import Replicate, Shard

from modular_manifolds.distributed.routes import owner_bytes, rows_bytes
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


@pytest.mark.xdist_group("gang2")
def test_what_something_else_has_written_is_looked_at_once(gang2: Gang) -> None:
    for first, *later in gang2.run(programs.collectives_after_a_write):
        assert later == [3, 3]
        assert first > 3
