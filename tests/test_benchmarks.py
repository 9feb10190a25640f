"""The benchmark commands run, and what they say of a direction is true. Nothing here looks at a time."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks import riemannian, step
from benchmarks.__main__ import app
from benchmarks.muon_fp32 import Float32Muon
from benchmarks.timing import Run, interleaved, ratios, spread
from modular_manifolds import Stiefel


def test_step_writes_every_method_on_every_shape(tmp_path: Path) -> None:
    out = tmp_path / "step.json"
    arguments = [
        "step",
        "--shapes",
        "12x8,8x12",
        "--rounds",
        "3",
        "--methods",
        ",".join(step.METHODS),
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    data = json.loads(out.read_text())
    assert data["hardware"]["torch"] == torch.__version__
    assert data["reference"] == "muon"
    assert data["dtype"] == "float32"
    rows = {(tuple(row["shape"]), row["method"]): row for row in data["rows"]}
    assert rows.keys() == {(shape, name) for shape in [(12, 8), (8, 12)] for name in step.METHODS}
    for (_, name), row in rows.items():
        assert row["rounds"] == (2 if name == "dual-ascent" else 3)
        assert 0 < row["seconds"]["lower"] <= row["seconds"]["median"] <= row["seconds"]["upper"]
        assert row["ratio"]["lower"] <= row["ratio"]["median"] <= row["ratio"]["upper"]
        assert name in result.output
    assert rows[(12, 8), "muon"]["ratio"]["median"] == 1


def test_directions_are_certified() -> None:
    generator = torch.Generator().manual_seed(0)
    w, g = Stiefel().random((48, 24), generator=generator), torch.randn(48, 24, generator=generator)
    measured = {name: step.certify(method, w, g) for name, method in step.METHODS.items()}
    gaps = {name: gap for name, (gap, _) in measured.items()}
    assert gaps["manifold-muon"] < 1e-4
    assert gaps["manifold-muon-fast"] < 1e-2
    assert measured["manifold-muon"][1] < 1e-5
    assert gaps["manifold-muon-fast"] < gaps["dual-ascent"] < gaps["one-step"] < gaps["muon"] < gaps["adamw"] < 1
    assert measured["muon"][1] > 0.1


def test_float32_muon_steps_like_torch_muon() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in [(24, 12), (12, 24)]:
        start = torch.randn(shape, generator=generator)
        weights = [torch.nn.Parameter(start.clone()) for _ in range(2)]
        optimizers = [torch.optim.Muon([weights[0]], lr=0.1), Float32Muon([weights[1]], lr=0.1)]
        for _ in range(3):
            gradient = torch.randn(shape, generator=generator)
            for weight, optimizer in zip(weights, optimizers, strict=True):
                weight.grad = gradient
                optimizer.step()
        assert torch.allclose(weights[0], weights[1], atol=5e-3)
        assert not torch.allclose(weights[0], start, atol=0.05)


def test_riemannian_writes_both_sides_of_every_row(tmp_path: Path) -> None:
    out = tmp_path / "riemannian.json"
    arguments = ["riemannian", "--shapes", "12x8,9x9", "--steps", "40", "--out", str(out)]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    data = json.loads(out.read_text())
    assert data["hardware"]["torch"] == torch.__version__
    assert data["geoopt"].startswith("0.5.1")
    assert data["settings"] == {name: dict(method.settings) for name, method in riemannian.METHODS.items()}
    rows = {(tuple(row["shape"]), row["method"]): row for row in data["rows"]}
    assert rows.keys() == {(shape, name) for shape in [(12, 8), (9, 9)] for name in riemannian.METHODS}
    for (_, name), row in rows.items():
        assert row["steps"] == 40
        assert name in result.output
        assert 0 < row["speedup"]["lower"] <= row["speedup"]["median"] <= row["speedup"]["upper"]
        for side in (row["ours"], row["geoopt"]):
            assert 0 < side["seconds"]["lower"] <= side["seconds"]["median"] <= side["seconds"]["upper"]
            assert 0 < side["violation"] <= side["frobenius"] < 1e-4
        # the same problem: neither side stands still, nor goes another way
        assert row["ours"]["attained"] > (0.01 if name == "adam" else 0.3)
        assert row["ours"]["attained"] == pytest.approx(row["geoopt"]["attained"], abs=0.1)


def test_both_sides_get_the_same_fresh_gradients() -> None:
    problem = riemannian.Problem((6, 4), torch.device("cpu"))
    drawn: list[list[torch.Tensor]] = []
    for method in riemannian.METHODS.values():
        p = torch.nn.Parameter(problem.start.clone())
        run = problem.run(method.ours([p], **method.settings), steps=3)
        drawn.append([])
        for _ in range(3):
            run.prepare()
            assert p.grad is not None
            drawn[-1].append(p.grad)
    assert all(torch.equal(a, b) for other in drawn[1:] for a, b in zip(drawn[0], other, strict=True))
    assert not torch.equal(drawn[0][0], drawn[0][1])


def test_preparations_are_not_timed() -> None:
    calls: list[str] = []
    run = Run(lambda: calls.append("call"), rounds=2, prepare=lambda: calls.append("prepare"))
    interleaved({"a": run}, torch.device("cpu"))
    assert calls == ["prepare", "call"] * 3


def test_rounds_are_interleaved() -> None:
    calls: list[str] = []
    runs = {
        "a": Run(lambda: calls.append("a"), rounds=3),
        "b": Run(lambda: calls.append("b"), rounds=1, warm_up=False),
        "c": Run(lambda: calls.append("c"), rounds=3),
    }
    seconds = interleaved(runs, torch.device("cpu"))
    assert "".join(calls) == "ac" + "abc" + "ca" + "ca"
    assert {name: len(sample) for name, sample in seconds.items()} == {"a": 3, "b": 1, "c": 3}


def test_spread() -> None:
    assert spread([3.0]) == (3, 3, 3)
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == (3, 2, 4)
    assert ratios([2.0, 30.0], [1.0, 10.0, 7.0]) == (2.5, 2.25, 2.75)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shapes", "12"], "is no list such as"),
        (["--shapes", "12x0"], "is no list such as"),
        (["--methods", "muon,sgd"], "sgd is unknown"),
        (["--device", "tpu"], "neither cpu nor cuda"),
        (["--device", "cuda:99"], "is not there"),
    ],
)
def test_bad_options_of_step_are_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["step", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--shapes", "4x8"], "geoopt has no wide matrices"), (["--methods", "muon"], "muon is unknown; there are sgd")],
)
def test_bad_options_of_riemannian_are_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["riemannian", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.output
