"""`python -m benchmarks step` writes what it measured, and what it says of a direction is true."""

import json
from pathlib import Path
from typing import get_args

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.methods import METHODS, chosen
from benchmarks.products import ProductDtypes
from benchmarks.quality import assess
from benchmarks.steppers import Layout
from benchmarks.workloads import GPT2, Gradients, Problem, parse
from modular_manifolds import Spectral, Stiefel
from modular_manifolds.linalg import Precision

CPU = torch.device("cpu")


def test_step_writes_every_method_on_every_shape(tmp_path: Path) -> None:
    out = tmp_path / "step.json"
    shapes = ["12x8", "8x12", "3x4x8"]
    arguments = ["step", "--shapes", ",".join(shapes), "--rounds", "3", "--out", str(out)]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    assert "…" not in result.output
    data = json.loads(out.read_text())
    assert data["hardware"]["torch"] == torch.__version__
    assert data["reference"] == "muon"
    assert data["gradients"] == "gaussian"
    rows = {(row["workload"], row["method"]): row for row in data["rows"]}
    assert rows.keys() == {(shape, name) for shape in shapes for name in METHODS}
    for (shape, name), row in rows.items():
        assert row["elements"] == 96
        assert row["rounds"] == (2 if METHODS[name].slow else 3)
        for field in ("seconds", "ratio", "ratio_fp32"):
            assert 0 < row[field]["lower"] <= row[field]["median"] <= row[field]["upper"]
        assert sum(row["products"].values()) == pytest.approx(0 if name == "adamw" else 1)
        assert row["promise_kept"] in ([True] if name.startswith("manifold-muon") else [None]), (shape, name)
        assert name in result.output
    assert rows["12x8", "muon"]["ratio"]["median"] == rows["12x8", "muon-fp32"]["ratio_fp32"]["median"] == 1


def test_the_reference_always_runs_and_the_other_only_if_asked(tmp_path: Path) -> None:
    out = tmp_path / "step.json"
    arguments = ["step", "--shapes", "6x4", "--rounds", "1", "--methods", "adamw", "--out", str(out)]
    assert CliRunner().invoke(app, [*arguments, "--gradients", "low-rank"]).exit_code == 0
    data = json.loads(out.read_text())
    assert data["gradients"] == "low-rank"
    assert [row["method"] for row in data["rows"]] == ["muon", "adamw"]
    assert all(row["ratio_fp32"] is None for row in data["rows"])


@pytest.mark.parametrize("gradients", Gradients)
@pytest.mark.parametrize("name", ["48x24", "24x48", "32x32", "2x40x16"])
def test_directions_are_certified(name: str, gradients: Gradients) -> None:
    problem = Problem(parse(name), gradients, CPU)
    measured = {name: assess(method, problem) for name, method in METHODS.items()}
    gaps = {name: quality.gap for name, quality in measured.items()}
    assert -1e-9 < gaps["manifold-muon"] < 1e-5
    assert gaps["manifold-muon"] <= gaps["manifold-muon-fast"] < 5e-2
    assert gaps["dual-ascent"] < 0.1
    assert max(gaps["one-step"], gaps["admm"]) < gaps["muon"] < gaps["adamw"] < 1
    assert max(gaps["stiefel-frobenius"], gaps["geoopt-sgd"]) < 1e-6
    for name, method in METHODS.items():
        free = name in ("muon", "muon-fp32", "adamw")
        assert (measured[name].tangency > 0.1) == (measured[name].violation > 1e-3) == free, name
        if method.norm == Spectral() and not free:
            assert measured[name].tangency < 2e-5


def test_a_direction_does_not_depend_on_how_it_is_landed() -> None:
    problem = Problem(parse("40x20"), Gradients.GAUSSIAN, CPU)
    lengths = [assess(METHODS["one-step"], problem, lr) for lr in (0.02, 0.2)]
    assert lengths[0].gap == pytest.approx(lengths[1].gap, rel=2e-3)


def test_products_are_counted_by_dtype() -> None:
    x = torch.randn(8, 8)
    with ProductDtypes() as counted:
        torch.add(x, x)
        assert counted.shares() == {}
        torch.stack([x @ x, x @ x, (x.bfloat16() @ x.bfloat16()).float()])
    assert counted.shares() == {"fp32": pytest.approx(2 / 3), "bf16": pytest.approx(1 / 3)}


def test_every_precision_is_a_method_with_a_promise() -> None:
    for precision in get_args(Precision):
        name = "manifold-muon" if precision == "exact" else f"manifold-muon-{precision}"
        method = METHODS[name]
        assert method.promise is not None
        assert method.keeps(*method.promise)
        assert not method.keeps(2 * method.promise.gap, 0.0)
        assert not method.keeps(0.0, 2 * method.promise.tangency)
    assert METHODS["muon"].keeps(0.0, 0.0) is None


def test_gpt2_is_its_hidden_matrices() -> None:
    assert GPT2.elements == 12 * 12 * 768**2
    assert GPT2.largest_group == 48 * 768**2
    assert len(GPT2.shapes) == 72
    assert "dual-ascent" not in chosen(GPT2, None)
    assert "dual-ascent" in chosen(GPT2, ["dual-ascent"])
    assert "dual-ascent" in chosen(parse("8x8"), None)


def test_problems_are_the_same_every_time_and_left_as_they_are() -> None:
    first, second = (Problem(parse("2x6x9"), Gradients.LOW_RANK, CPU) for _ in range(2))
    for method in METHODS.values():
        stepper = method.start(first.weights, first.gradients, 0.1)
        assert torch.allclose(stepper.weights()[0], first.weights[0], atol=1e-6)
        stepper.step()
        assert not torch.allclose(stepper.weights()[0], first.weights[0], atol=1e-4)
    assert torch.equal(first.weights[0], second.weights[0])
    assert torch.equal(first.gradients[0], second.gradients[0])
    assert Stiefel().violation(first.weights[0]).max() < 1e-5
    spectrum = torch.linalg.svdvals(first.gradients[0])
    assert torch.allclose(spectrum, 1 / torch.arange(1.0, 7.0).expand(2, 6), atol=1e-5)
    gaussian = Problem(parse("64x32"), Gradients.GAUSSIAN, CPU).gradients[0]
    assert 0.8 < torch.linalg.matrix_norm(gaussian, 2) < 1.2


@pytest.mark.parametrize("layout", [Layout(), Layout(single=True), Layout(tall=True), Layout(True, True)])
def test_layouts_are_undone(layout: Layout) -> None:
    tensors = [torch.randn(2, 3, 4, 6), torch.randn(5, 2), torch.randn(2, 7)]
    packed = layout.pack(tensors)
    assert len(packed) == (8 if layout.single else 3)
    assert not layout.single or all(x.ndim == 2 for x in packed)
    assert not layout.tall or all(x.shape[-2] >= x.shape[-1] for x in packed)
    restored = layout.unpack(packed, tensors)
    assert all(torch.equal(x, y) for x, y in zip(restored, tensors, strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shapes", "12"], "is neither of the form"),
        (["--shapes", "12x0"], "is neither of the form"),
        (["--shapes", "gpt3"], "is neither of the form"),
        (["--methods", "muon,sgd"], "sgd is unknown"),
        (["--device", "tpu"], "neither cpu nor cuda"),
        (["--device", "cuda:99"], "is not there"),
    ],
)
def test_bad_options_are_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["step", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.output
