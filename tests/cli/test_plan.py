import json

import pytest
import torch
from typer.testing import CliRunner

import modular_manifolds as mm
from modular_manifolds.cli.app import app

MODELS = """
import torch
from torch import nn

def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16, bias=False), nn.ReLU(), nn.Linear(16, 4, bias=False))

def with_inputs():
    return mlp(), (torch.zeros(2, 8),)

def tokens():
    return nn.Sequential(nn.Embedding(7, 8), nn.Linear(8, 4, bias=False))

def curious():
    return nn.Sequential(nn.Linear(8, 8, bias=False), Cumulative())

class Cumulative(nn.Module):
    def forward(self, x):
        return x.cumsum(-1)

def text():
    return "no module"
"""


@pytest.fixture
def models(tmp_path, monkeypatch):
    (tmp_path / "models_of_mine.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    import sys

    sys.modules.pop("models_of_mine", None)


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_plan_of_a_factory(models):
    ran = invoke("plan", "models_of_mine:mlp", "--shape", "2x8", "--mass", "0=3", "--out", models / "plan.json")
    assert ran.exit_code == 0, ran.output
    assert "0.weight" in ran.output
    assert f"written: {models / 'plan.json'}" in ran.output
    plan = mm.Plan.load(models / "plan.json")
    assert plan["0.weight"].budget == pytest.approx(0.75)
    assert plan["2.weight"].budget == pytest.approx(0.25)


def test_plan_of_tokens_and_of_a_factory_with_inputs(models):
    assert invoke("plan", "models_of_mine:tokens", "--shape", "1x5", "--tokens").exit_code == 0
    assert invoke("plan", "models_of_mine:with_inputs").exit_code == 0


def test_certify_a_checkpoint(models):
    import models_of_mine

    model = models_of_mine.mlp()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3)
    torch.save(model.state_dict(), models / "state.pt")
    out = models / "certificate.json"
    ran = invoke("certify", "models_of_mine:with_inputs", "--weights", models / "state.pt", "--out", out)
    assert ran.exit_code == 0, ran.output
    norms = [float(torch.linalg.matrix_norm(p.detach().double(), 2)) for p in model.parameters()]
    assert json.loads(out.read_text())["lipschitz"] == pytest.approx(norms[0] * norms[1], rel=1e-6)
    assert "Proved for all inputs" in ran.output


def test_both_on_what_compare_wrote(tmp_path):
    options = ("--methods", "manifold-muon,adamw", "--lrs", "0.01", "--seeds", 1, "--epochs", 1, "--out", tmp_path)
    assert invoke("compare", *options).exit_code == 0
    ran = invoke("certify", tmp_path)
    assert ran.exit_code == 0, ran.output
    assert ran.output.count("Proved for all inputs") == 2
    (weights,) = (tmp_path / "runs").glob("manifold-muon*/weights.safetensors")
    assert "Lipschitz constant 1 in l2" in invoke("certify", weights).output
    assert "layers.0.weight" in invoke("plan", weights).output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "nowhere"], "neither a folder"),
        (["plan", "models_of_mine:nothing"], "cannot be imported"),
        (["plan", "models_of_mine:mlp"], "give the shape of its input"),
        (["plan", "models_of_mine:text"], "makes no torch.nn.Module"),
        (["plan", "models_of_mine:mlp", "--shape", "2xx"], "is no shape"),
        (["plan", "models_of_mine:mlp", "--shape", "2x8", "--mass", "1.5"], "PATTERN=NUMBER"),
        (["plan", "models_of_mine:mlp", "--shape", "2x8", "--mass", "9=1"], "matches no module"),
        (["plan", "models_of_mine:mlp", "--shape", "2x8", "--floor", "low"], "--floor"),
        (["certify", "models_of_mine:curious", "--shape", "2x8"], "no rule for aten.cumsum in 1 (Cumulative)"),
        (["certify", "."], "is no list of finished runs"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(models, arguments, message):
    ran = invoke(*arguments)
    assert ran.exit_code in (1, 2)
    assert message in ran.output


def test_unknown_operations_may_be_estimated(models):
    ran = invoke("certify", "models_of_mine:curious", "--shape", "2x8", "--unknown", "2")
    assert ran.exit_code == 0
    assert "ESTIMATED" in ran.output


def test_help_shows_an_example():
    assert "modular-manifolds plan runs/compare-digits" in invoke("plan", "--help").output
    assert "modular-manifolds certify runs/compare-cifar10" in invoke("certify", "--help").output
