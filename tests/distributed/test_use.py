"""What users do around a step: projecting, clipping, scaling."""

import pytest

from tests.distributed import programs
from tests.distributed.gang import Gang


@pytest.mark.parametrize("kind", ["fsdp", "hsdp", "fsdp+tp"])
@pytest.mark.xdist_group("gang4")
def test_projection(gang4: Gang, kind: str) -> None:
    assert max(gang4.run(programs.projected_as_on_one_process, kind)) <= 1e-6


@pytest.mark.xdist_group("gang2")
def test_gradient_clipping_and_scaling(gang2: Gang) -> None:
    for clipped, scaled in gang2.run(programs.clipped_and_scaled):
        assert clipped <= 1e-6
        assert scaled <= 1e-6


@pytest.mark.parametrize("kind", ["fsdp", "fsdp+tp"])
@pytest.mark.xdist_group("gang4")
def test_plans_and_certificates(gang4: Gang, kind: str) -> None:
    for same_plan, same_certificate, off in gang4.run(programs.planned_and_certified, kind):
        assert same_plan
        assert same_certificate
        assert off <= 1e-6


@pytest.mark.xdist_group("gang2")
def test_copies_share_work_among_the_same_ranks(gang2: Gang) -> None:
    assert all(gang2.run(programs.replicas_of_a_copy))
