"""`python -m benchmarks riemannian` measures both libraries on one problem."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks import riemannian
from benchmarks.__main__ import app


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shapes", "4x8"], "geoopt has no wide matrices"),
        (["--shapes", "2x8x4"], "one matrix at a time"),
        (["--methods", "muon"], "muon is unknown; there are sgd"),
    ],
)
def test_bad_options_of_riemannian_are_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["riemannian", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.output
