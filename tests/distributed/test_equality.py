"""Several ranks take the steps that one process takes."""

import pytest
import torch
from torch.distributed.tensor import Replicate, Shard

import modular_manifolds as mm
from modular_manifolds.lmo.stiefel_spectral import stiefel_spectral_landing
from tests.distributed import programs
from tests.distributed.gang import Gang

TOLERANCE = 1e-6
SHAPES = [(5, 5), (5, 5), (7, 3), (3, 7)]
MUON = mm.Geometry(mm.Stiefel(), mm.Spectral())
EXTREME = [(64, 32), (64, 32), (33, 65), (256, 16), (16, 256), (1, 40), (40, 1), (3, 7), (2, 20, 6), (3, 6, 20), (1, 1)]
"""Shapes that no number of ranks divides, or with fewer rows than ranks; and batches."""


def check(found: list[tuple[str, float, float, float]]) -> None:
    off = [(name, off, violation) for name, off, violation, alone in found if off > TOLERANCE]
    assert not off, off
    rough = [(name, violation, alone) for name, _, violation, alone in found if violation > max(2 * alone, 1e-6)]
    assert not rough, rough


@pytest.mark.parametrize("shard", [0, 1])
@pytest.mark.parametrize("machine", [programs.OWNER, programs.ROWS], ids=["owner", "rows"])
@pytest.mark.xdist_group("gang2")
def test_shapes_of_all_kinds_two_ranks(gang2: Gang, shard: int, machine: programs.Machine) -> None:
    equal_in_shapes_of_all_kinds(gang2, (2,), [Shard(shard)], machine)


@pytest.mark.parametrize("placements", [[Shard(0)], [Shard(1)], [Replicate()]], ids=str)
@pytest.mark.parametrize("machine", [programs.OWNER, programs.ROWS], ids=["owner", "rows"])
@pytest.mark.xdist_group("gang4")
def test_shapes_of_all_kinds_four_ranks(gang4: Gang, placements: list, machine: programs.Machine) -> None:
    equal_in_shapes_of_all_kinds(gang4, (4,), placements, machine)


@pytest.mark.parametrize(
    "placements",
    [
        [Replicate(), Shard(0)],
        [Shard(0), Replicate()],
        [Shard(0), Shard(1)],
        [Shard(1), Shard(0)],
        [Shard(0), Shard(0)],
    ],
    ids=str,
)
@pytest.mark.parametrize("machine", [programs.OWNER, programs.ROWS], ids=["owner", "rows"])
@pytest.mark.xdist_group("gang4")
def test_meshes_of_two_axes(gang4: Gang, placements: list, machine: programs.Machine) -> None:
    equal_in_shapes_of_all_kinds(gang4, (2, 2), placements, machine)


def equal_in_shapes_of_all_kinds(gang: Gang, mesh: tuple, placements: list, machine: programs.Machine) -> None:
    settings = {"momentum": 0.9, "lr": 0.05}
    found = gang.run(programs.equals_one_process, MUON, EXTREME, mesh, placements, machine, settings)
    check([("Stiefel x spectral", *result) for result in found])


@pytest.mark.parametrize(
    "settings",
    [
        {"momentum": 0.0},
        {"nesterov": False},
        {"momentum_on": "tangent"},
        {"maximize": True},
        {"lr": 1e-6},
        {"lr": torch.tensor(0.1), "budget": 0.3},
    ],
    ids=str,
)
@pytest.mark.xdist_group("gang2")
def test_every_setting(gang2: Gang, settings: dict) -> None:
    found = gang2.run(programs.equals_one_process, MUON, EXTREME, (2,), [Shard(0)], programs.ROWS, settings)
    check([(str(settings), *result) for result in found])


@pytest.mark.xdist_group("gang2")
def test_angles_that_are_turned_in_parts(gang2: Gang) -> None:
    """Rounding grows with the angle, of which there are 12 radians in 20 steps."""
    for off, *_ in gang2.run(programs.equals_one_process, MUON, EXTREME, (2,), [Shard(0)], programs.ROWS, {"lr": 0.6}):
        assert off <= 10 * TOLERANCE


@pytest.mark.parametrize("scale", [1e-30, 1e30])
@pytest.mark.xdist_group("gang2")
def test_gradients_of_every_size(gang2: Gang, scale: float) -> None:
    for machine in (programs.OWNER, programs.ROWS):
        found = gang2.run(
            programs.equals_one_process, MUON, EXTREME, (2,), [Shard(0)], machine, {"lr": 0.05}, "random", scale
        )
        check([(str(scale), *result) for result in found])


@pytest.mark.parametrize("kind", ["zero", "low rank", "normal"])
@pytest.mark.xdist_group("gang2")
def test_gradients_that_are_degenerate(gang2: Gang, kind: str) -> None:
    """What is left to rounding may differ; weights stay on the manifold, and steps are as steep as on one process."""
    for machine in (programs.OWNER, programs.ROWS):
        off, violation, alone = gang2.run(
            programs.equals_one_process, MUON, EXTREME, (2,), [Shard(0)], machine, {"lr": 0.05}, kind
        )[0]
        assert violation <= max(2 * alone, 1e-6), (kind, violation, alone)
        assert off <= (TOLERANCE if kind == "zero" else 0.05), (kind, off)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.xdist_group("gang2")
def test_other_dtypes(gang2: Gang, dtype: torch.dtype) -> None:
    """bfloat16 weights are rounded from float32 masters, which are sharded as well."""
    found = gang2.run(
        programs.equals_one_process, MUON, EXTREME, (2,), [Shard(0)], programs.ROWS, {}, "random", 1.0, dtype
    )
    tolerance = 1e-12 if dtype == torch.float64 else 1e-2  # one rounding, of a few entries
    assert all(off <= tolerance for off, _, _ in found), found


@pytest.mark.xdist_group("gang2")
def test_every_rule_of_the_table(gang2: Gang) -> None:
    check(gang2.run(programs.table_equals_one_process, SHAPES, (2,), [Shard(0)], True)[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mesh", "placements"),
    [((4,), [Shard(0)]), ((4,), [Shard(1)]), ((2, 2), [Replicate(), Shard(0)]), ((2, 2), [Shard(1), Shard(0)])],
    ids=str,
)
@pytest.mark.xdist_group("gang4")
def test_every_pair_of_the_table(gang4: Gang, mesh: tuple, placements: list) -> None:
    check(gang4.run(programs.table_equals_one_process, SHAPES, mesh, placements, False)[0])


@pytest.mark.parametrize("kind", ["ddp", "fsdp", "tp"])
@pytest.mark.parametrize("machine", [programs.OWNER, programs.ROWS], ids=["owner", "rows"])
@pytest.mark.xdist_group("gang2")
def test_wrapped_models_two_ranks(gang2: Gang, kind: str, machine: programs.Machine) -> None:
    for found in gang2.run(programs.model_equals_one_process, kind, machine):
        assert max(found.values()) <= TOLERANCE, found


@pytest.mark.parametrize("kind", ["ddp", "fsdp", "hsdp", "fsdp+tp"])
@pytest.mark.parametrize("machine", [programs.OWNER, programs.ROWS], ids=["owner", "rows"])
@pytest.mark.xdist_group("gang4")
def test_wrapped_models_four_ranks(gang4: Gang, kind: str, machine: programs.Machine) -> None:
    for found in gang4.run(programs.model_equals_one_process, kind, machine):
        assert max(found.values()) <= TOLERANCE, found


@pytest.mark.parametrize("machine", [programs.OWNER, programs.ROWS], ids=["owner", "rows"])
@pytest.mark.xdist_group("gang2")
def test_matrices_that_take_as_many_products_as_they_need(gang2: Gang, machine: programs.Machine) -> None:
    """Where the number of products is decided matrix by matrix, and not by the batch that a rank happens to own."""
    shapes = [(160, 160), (160, 160), (160, 160), (300, 130), (300, 130), (300, 130)]
    found = gang2.run(programs.equals_one_process, MUON, shapes, (2,), [Shard(0)], machine, {"lr": 0.02})
    check([("large", *result) for result in found])


@pytest.mark.parametrize(
    ("geometry", "shard", "shapes"),
    [
        (mm.Geometry(mm.Oblique("rows"), mm.MaxRow()), 0, [(19, 8), (3, 5), (2, 4, 6)]),
        (mm.Geometry(mm.Oblique("columns"), mm.MaxColumn()), 1, [(8, 19), (5, 3)]),
        (mm.Geometry(mm.Euclidean(), mm.MaxRow()), 0, [(19, 8)]),
        (mm.Geometry(mm.Euclidean(), mm.MaxEntry()), 1, [(8, 19), (5, 3)]),
    ],
    ids=str,
)
@pytest.mark.xdist_group("gang4")
def test_independent_pieces_are_stepped_where_they_are(
    gang4: Gang, geometry: mm.Geometry, shard: int, shapes: list
) -> None:
    found = gang4.run(programs.equals_one_process, geometry, shapes, (4,), [Shard(shard)], programs.OWNER, {})
    check([(str(geometry), *result) for result in found])
    sent = gang4.run(programs.collectives_of_a_step, shapes[0], 2, [Shard(shard)], programs.OWNER, "exact", geometry)
    assert [kind for kind, *_ in sent[0]] == ["all-reduce"]  # of flags


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp", "hsdp", "fsdp+tp"])
@pytest.mark.parametrize("machine", [programs.OWNER, programs.ROWS], ids=["owner", "rows"])
@pytest.mark.xdist_group("gang8")
def test_wrapped_models_eight_ranks(gang8: Gang, kind: str, machine: programs.Machine) -> None:
    for found in gang8.run(programs.model_equals_one_process, kind, machine):
        assert max(found.values()) <= TOLERANCE, found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mesh", "placements"),
    [((8,), [Shard(0)]), ((8,), [Shard(1)]), ((2, 4), [Replicate(), Shard(0)]), ((4, 2), [Shard(0), Shard(1)])],
    ids=str,
)
@pytest.mark.parametrize("machine", [programs.OWNER, programs.ROWS], ids=["owner", "rows"])
@pytest.mark.xdist_group("gang8")
def test_shapes_of_all_kinds_eight_ranks(gang8: Gang, mesh: tuple, placements: list, machine: programs.Machine) -> None:
    equal_in_shapes_of_all_kinds(gang8, mesh, placements, machine)


@pytest.mark.xdist_group("gang4")
def test_stacks_of_experts_are_stepped_where_they_are(gang4: Gang) -> None:
    shapes = [(8, 12, 5), (6, 5, 5), (3, 20, 4)]
    found = gang4.run(programs.equals_one_process, MUON, shapes, (4,), [Shard(0)], programs.OWNER, {})
    check([("experts", *result) for result in found])
    sent = gang4.run(programs.collectives_of_a_step, (8, 12, 5), 2, [Shard(0)], programs.OWNER, "exact")
    assert [kind for kind, *_ in sent[0]] == ["all-reduce"]  # of flags


@pytest.mark.parametrize("mesh", [(4,), (2, 2)], ids=str)
@pytest.mark.parametrize("machine", [programs.OWNER, programs.ROWS], ids=["together", "apart"])
@pytest.mark.xdist_group("gang4")
def test_owners_that_receive_one_matrix_at_a_time(gang4: Gang, mesh: tuple, machine: programs.Machine) -> None:
    placements = [Shard(0)] if len(mesh) == 1 else [Replicate(), Shard(0)]
    shapes = [(6, 5)] * 7 + [(5, 6)] * 2
    found = gang4.run(programs.equals_one_process_in_rounds, MUON, shapes, mesh, placements, machine, {})
    check([("in rounds", *result) for result in found])


def test_the_rows_route_is_that_of_one_landing() -> None:
    from modular_manifolds.lmo.stiefel_rows import steps_by_rows, turns_at_once
    from modular_manifolds.lmo.table import landings

    assert landings.find(mm.Stiefel(), mm.Spectral()) is stiefel_spectral_landing
    assert steps_by_rows(mm.Stiefel(), mm.Spectral(), 64, 16)
    assert not steps_by_rows(mm.Stiefel(), mm.Frobenius(), 64, 16)
    assert not steps_by_rows(mm.Stiefel(), mm.Spectral(), 30, 16)
    assert turns_at_once(mm.Stiefel(), mm.Spectral(), 64, 16, 0.1, "exact")
    assert not turns_at_once(mm.Stiefel(), mm.Spectral(), 64, 16, 2.0, "exact")


@pytest.mark.parametrize(("shape", "shard"), [((0, 8, 2), 1), ((8, 0), 0)], ids=str)
@pytest.mark.xdist_group("gang2")
def test_parameters_without_entries(gang2: Gang, shape: tuple[int, ...], shard: int) -> None:
    for kind, message in gang2.run(programs.step_of_nothing, shape, shard):
        assert kind == "nothing", message


@pytest.mark.parametrize("machine", [programs.OWNER, programs.ROWS], ids=["owner", "rows"])
@pytest.mark.xdist_group("gang4")
def test_mesh_that_numbers_ranks_in_its_own_order(gang4: Gang, machine: programs.Machine) -> None:
    assert max(gang4.run(programs.transposed_mesh, machine)) <= TOLERANCE
