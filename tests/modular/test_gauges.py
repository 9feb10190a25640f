"""Gauge groups: random elements leave functions and manifolds as they are, and what is claimed is what is there."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import modular_manifolds as mm
from modular_manifolds.modular.gauge import Gauge, Group
from modular_manifolds.modular.gauge_kept import Allowed, allowed
from tests.modular import models

TOKENS = torch.tensor([[0, 3, 1, 4], [2, 2, 0, 1]])


def planned(model, inputs, rules=None):
    return mm.modularize(model, inputs, rules)


def moved(plan, model, *, function, seed=1):
    other = deepcopy(model)
    for gauge in plan.gauges():
        gauge.act_(other, torch.Generator().manual_seed(seed), function=function)
    return other


def preserved(model, inputs, plan):
    """Random elements of every group leave the function as it is; those kept, also the manifolds."""
    model = model.double()
    plan = plan.bind(model)
    plan.project_()
    double = tuple(x.double() if x.is_floating_point() else x for x in inputs)
    expected = model(*double)
    assert plan.gauges()
    for function in (False, True):
        other = moved(plan, model, function=function)
        torch.testing.assert_close(other(*double), expected, rtol=1e-9, atol=1e-10)
        for gauge in plan.gauges():
            assert gauge.kept.dimension <= gauge.function.dimension
        far = [(p - q).abs().max() for p, q in zip(other.parameters(), model.parameters(), strict=True)]
        assert max(far) > 0.1
        if not function:
            for name, p in other.named_parameters():
                geometry = plan[name].geometry
                matrix = mm.projection.as_matrix(p.detach(), geometry.kernel_axes)
                assert float(geometry.manifold.violation(matrix).max()) < 1e-9, name


@pytest.mark.parametrize(
    "options",
    [{"fused": True, "bias": True}, {"kv": 1}, {"norm": True, "gated": True}, {"rotary": True}, {"tied": True}],
    ids=lambda options: "-".join(options),
)
def test_transformers_are_left_as_they_are(options):
    model = models.GPT(vocab=5, d=8, heads=2, depth=1, positions=True, **options)
    preserved(model, (TOKENS,), planned(model, (TOKENS,)))


def test_the_table_of_a_transformer():
    model = models.GPT(vocab=5, d=8, heads=2, depth=1)
    plan = planned(model, (TOKENS,))
    found = {name.removeprefix("blocks.0.").removesuffix(".weight"): entry.gauge for name, entry in plan.items()}
    assert found == {
        "embed": "columns: O(8)",
        "attention.query": "rows: 2 O(4), columns: O(8)",
        "attention.key": "rows: 2 O(4), columns: O(8)",
        "attention.value": "rows: 2 O(4), columns: O(8)",
        "attention.output": "rows: O(8), columns: 2 O(4)",
        "up": "rows: S_32, columns: O(8)",
        "down": "rows: O(8), columns: S_32",
        "unembed": "columns: O(8)",
    }
    assert sum(gauge.kept.dimension for gauge in plan.gauges()) == 28 + 4 * 6
    assert sum(gauge.function.dimension for gauge in plan.gauges()) == 64 + 4 * 16
    assert "128 dimensions, and 52 where" in str(plan)


def test_what_is_not_understood_is_said_to_be():
    class Sorted(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 6, bias=False), nn.Linear(6, 3, bias=False)

        def forward(self, x):
            return self.second(self.first(x).sort(-1).values)

    plan = mm.modularize(Sorted(), (torch.zeros(2, 4),), unknown=1.0)
    assert plan["first.weight"].gauge == "rows: unknown"
    assert plan["second.weight"].gauge == "columns: unknown"
    assert plan.gauges() == ()


def test_attention_step_by_step_is_read_like_attention():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(6, 6, bias=False) for _ in range(4))

        def forward(self, x):
            q, k, v = (part(x).unflatten(-1, (2, 3)).transpose(1, 2) for part in (self.q, self.k, self.v))
            logits = (q @ k.transpose(-2, -1) / 3).masked_fill(torch.ones(5, 5).triu(1).bool(), -1e9)
            return self.o((logits.softmax(-1) @ v).transpose(1, 2).flatten(-2))

    model, x = Attention(), torch.randn(2, 5, 6)
    plan = planned(model, (x,))
    assert [str(gauge.function) for gauge in plan.gauges()] == ["GL(3)"] * 4
    preserved(model, (x,), plan)


@pytest.mark.parametrize(
    ("between", "function", "kept"),
    [
        (nn.Identity(), "GL(5)", "O(5)"),
        (nn.ReLU(), "R+^5 x S_5", "S_5"),
        (nn.Tanh(), "(Z2)^5 x S_5", "(Z2)^5 x S_5"),
        (nn.GELU(), "S_5", "S_5"),
        (mm.nn.RMSNorm(floor=0.1), "O(5)", "O(5)"),
        (nn.RMSNorm(5), "(Z2)^5 x S_5", "(Z2)^5 x S_5"),
        (nn.LayerNorm(5), "S_5", "S_5"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_between_two_layers(between, function, kept):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 5, bias=False), between, nn.Linear(5, 3, bias=False))
    for p in between.parameters():
        nn.init.uniform_(p, 0.5, 1.5)
    x = torch.randn(7, 4)
    plan = planned(model, (x,))
    (gauge,) = plan.gauges()
    assert (str(gauge.function), str(gauge.kept)) == (function, kept)
    assert plan["0.weight"].gauge == f"rows: {kept}"
    preserved(model, (x,), plan)


def test_convolutions_and_what_reads_their_pixels():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 9, 2))
    x = torch.randn(2, 3, 8, 8)
    plan = planned(model, (x,))
    assert plan["0.weight"].gauge == "rows: S_4"
    assert plan["4.weight"].gauge == "columns: S_4"
    preserved(model, (x,), plan)


def test_a_gate_is_permuted_with_what_it_gates_and_has_signs_of_its_own():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.up = (nn.Linear(4, 6, bias=False) for _ in range(2))
            self.down = nn.Linear(6, 3, bias=False)

        def forward(self, x):
            return self.down(F.silu(self.gate(x)) * self.up(x))

    model, x = Gated(), torch.randn(7, 4)
    plan = planned(model, (x,))
    (gauge,) = plan.gauges()
    assert str(gauge.kept) == "(Z2)^6 x S_6"
    assert str(gauge.function) == "(Z2)^6 x R+^6 x S_6"
    preserved(model, (x,), plan)


@pytest.mark.parametrize(
    ("manifold", "norm", "rows", "columns"),
    [
        (mm.Stiefel(), mm.Spectral(), Allowed.ORTHOGONAL, Allowed.ORTHOGONAL),
        (mm.Sphere(), mm.Frobenius(), Allowed.ORTHOGONAL, Allowed.ORTHOGONAL),
        (mm.Sphere(), mm.MaxEntry(), Allowed.SIGNED, Allowed.SIGNED),
        (mm.Oblique("rows"), mm.MaxRow(), Allowed.SIGNED, Allowed.ORTHOGONAL),
        (mm.Oblique("columns"), mm.MaxColumn(), Allowed.ORTHOGONAL, Allowed.SIGNED),
        (mm.Oblique("rows"), mm.Spectral(), Allowed.SIGNED, Allowed.ORTHOGONAL),
        (mm.Oblique("columns"), mm.Spectral(), Allowed.ORTHOGONAL, Allowed.SIGNED),
        (mm.Euclidean(), mm.MaxRow(), Allowed.SIGNED, Allowed.ORTHOGONAL),
        (mm.Euclidean(), mm.Spectral(), Allowed.ORTHOGONAL, Allowed.ORTHOGONAL),
        (mm.DGram(), mm.Spectral(), Allowed.ORTHOGONAL, Allowed.SIGNED),
    ],
    ids=str,
)
def test_what_is_kept_is_an_isometry_and_what_is_not_kept_is_none(manifold, norm, rows, columns):
    geometry = mm.Geometry(manifold, norm)
    generator = torch.Generator().manual_seed(0)
    w = manifold.random((6, 4), generator=generator, dtype=torch.float64)
    u = torch.randn(6, 4, dtype=torch.float64, generator=generator)
    for axis, expected in ((0, rows), (1, columns)):
        n = w.shape[axis]
        assert allowed(geometry, (6, 4), axis, range(n)) == expected
        rotation = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator)).Q
        signed = torch.eye(n, dtype=torch.float64)[torch.randperm(n, generator=generator)] * -1.0
        for matrix, flag in ((rotation, Allowed.ROTATE), (signed, Allowed.SIGNED)):
            turned = [(matrix @ x.movedim(axis, 0)).movedim(0, axis) for x in (w, u)]
            same_length = torch.isclose(norm(turned[1]), norm(u))
            assert (float(manifold.violation(turned[0])) < 1e-9 and bool(same_length)) == (flag in expected)


def test_gauges_survive_a_file_and_old_files_load(tmp_path):
    model = models.GPT(vocab=5, d=8, heads=2, depth=1, fused=True)
    plan = planned(model, (TOKENS,))
    data = plan.to_dict()
    loaded = mm.Plan.from_dict(data)
    assert loaded.gauges() == plan.gauges()
    assert loaded.bind(model).gauges() == plan.gauges()
    for row in data["entries"]:
        del row["gauge"]
    del data["gauges"]
    old = mm.Plan.from_dict(data)
    assert old.gauges() == ()
    assert {entry.gauge for entry in old.values()} == {"unknown"}
    assert "unknown" in str(old)


def test_groups_in_words():
    assert [Group(3, "O").dimension, Group(3, "GL").dimension, Group(3, "", True, 1, 2).dimension] == [3, 9, 6]
    assert str(Group(3, "", True, 0, 1)) == "R+^3 x S_3"
    assert str(Group(1, "", True)) == "1"
    assert Group(1, "", True).trivial


def test_equal_generators_draw_equal_elements_for_momenta():
    model = nn.Sequential(nn.Linear(4, 5, bias=False), nn.Linear(5, 3, bias=False)).double()
    (gauge,) = planned(model.float(), (torch.zeros(1, 4),)).gauges()
    assert isinstance(gauge, Gauge)
    copies = {name: p.detach().clone() for name, p in model.named_parameters()}
    gauge.act_(model, torch.Generator().manual_seed(3))
    gauge.act_(copies, torch.Generator().manual_seed(3))
    for name, p in model.named_parameters():
        assert torch.equal(p, copies[name])
