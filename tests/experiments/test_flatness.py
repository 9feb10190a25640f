"""Flatness: second derivatives against ones found in other ways, and the study from runs to report."""

import json
from copy import deepcopy

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

import modular_manifolds as mm
from modular_manifolds.cli.app import app
from modular_manifolds.experiments.comparison import train_all
from modular_manifolds.experiments.display import PlainDisplay
from modular_manifolds.experiments.flatness.curvature import Curvature, normal_bend
from modular_manifolds.experiments.flatness.display import FlatnessDisplay
from modular_manifolds.experiments.flatness.lanczos import largest_eigenvalue
from modular_manifolds.experiments.flatness.modular_sharpness import modular_sharpness
from modular_manifolds.experiments.flatness.report import headline, write_report
from modular_manifolds.experiments.flatness.study import Flatness, measure_all
from modular_manifolds.experiments.reports import read_page
from modular_manifolds.experiments.robustness_runs import best_runs

QUIET = Console(quiet=True)


@pytest.mark.parametrize("top", [3.0, 0.01])
def test_lanczos_finds_the_largest_eigenvalue_and_not_the_most_negative(top):
    generator = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(torch.randn(60, 60, dtype=torch.float64, generator=generator)).Q
    values = torch.linspace(-5, top, 60, dtype=torch.float64)
    matrix = (q * values) @ q.mT
    start = torch.randn(60, dtype=torch.float64, generator=generator)
    found = largest_eigenvalue(matrix.__matmul__, start, 60, tolerance=1e-9)
    assert found.value == pytest.approx(top, abs=1e-8)
    assert (matrix @ found.vector - found.value * found.vector).norm() <= found.residual + 1e-9
    early = largest_eigenvalue(matrix.__matmul__, start, 5)
    assert early.steps == 5
    assert abs(values - early.value).min() <= early.residual


def test_lanczos_stops_where_nothing_is_left():
    found = largest_eigenvalue(lambda v: 2 * v, torch.ones(4, dtype=torch.float64), 10)
    assert (found.value, found.steps) == (pytest.approx(2), 1)


GEOMETRIES = {
    "free": None,
    "sphere": mm.Geometry(mm.Sphere(1.7), mm.Frobenius()),
    "stiefel": mm.Geometry(mm.Stiefel(1.3), mm.Spectral()),
}


def bent(place):
    """A curved loss, of a tall weight and a wide one, on their manifolds."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Tanh(), nn.Linear(6, 3, bias=False)).double()
    geometry = GEOMETRIES[place]
    geometries = {} if geometry is None else dict.fromkeys(dict(network.named_parameters()), geometry)
    if geometry is not None:
        mm.project_(network, geometry.manifold)
    x = torch.randn(40, 4, dtype=torch.float64)
    labels = torch.randint(3, (40,))
    return network, x, labels, Curvature(network, x, labels, geometries)


@pytest.mark.parametrize("place", GEOMETRIES)
def test_second_derivatives_are_those_along_geodesics(place):
    network, x, labels, curvature = bent(place)
    u = curvature.to_tangent(curvature.random(torch.Generator().manual_seed(1)))
    weights, parts, manifolds = curvature.weights, curvature.parts(u), curvature.manifolds.values()

    def loss(t):
        moved = [m.exp(w, t * part) for m, w, part in zip(manifolds, weights, parts, strict=True)]
        named = dict(zip(curvature.manifolds, moved, strict=True))
        return float(functional.cross_entropy(torch.func.functional_call(network, named, (x,)), labels).detach())

    t = 1e-3
    expected = (loss(t) - 2 * loss(0.0) + loss(-t)) / t**2
    product = curvature.along_manifolds(u)
    assert float(u @ product) == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(curvature.to_tangent(product), product)
    v = curvature.to_tangent(curvature.random(torch.Generator().manual_seed(2)))
    assert float(v @ product) == pytest.approx(float(u @ curvature.along_manifolds(v)))  # symmetric
    if place != "free":
        assert abs(float(u @ curvature.hessian(u)) - expected) > 0.01 * abs(expected)


def test_a_manifold_whose_curvature_is_not_known_is_refused():
    w = torch.eye(3)
    with pytest.raises(TypeError, match="Oblique"):
        normal_bend(mm.Oblique("rows"), w, w, w)


@pytest.mark.parametrize("place", GEOMETRIES)
def test_modular_sharpness_is_of_unit_norm_and_beats_what_is_drawn(place):
    network, _, _, curvature = bent(place)
    plan = mm.modularize(deepcopy(network).float(), (torch.zeros(1, 4),))
    draws = [curvature.random(torch.Generator().manual_seed(i)) for i in range(50)]
    found = modular_sharpness(curvature, plan, draws[:3], 40)
    assert found.norm == pytest.approx(1, abs=1e-6)

    def value(draw):
        u = curvature.to_tangent(draw)
        u = u / plan.norm(dict(zip(curvature.manifolds, curvature.parts(u), strict=True)))
        return float(u @ curvature.along_manifolds(u))

    assert found.value > max(map(value, draws))
    top = largest_eigenvalue(curvature.along_manifolds, curvature.to_tangent(draws[0]), 40)
    assert found.value >= value(top.vector) - 1e-9


@pytest.fixture(scope="module")
def folder(data, make_comparison_in, tmp_path_factory):
    out = tmp_path_factory.mktemp("compare")
    methods = ("manifold-muon", "hypersphere", "adamw")
    train_all(make_comparison_in(out, methods=methods, lrs=(0.1,)), data, PlainDisplay(QUIET))
    return out


def study(folder, out, **settings):
    defaults = {"data_dir": None, "images": 30, "steps": 6, "threads": 1}
    return Flatness(folders=(folder,), out=out, **{**defaults, **settings})


def test_every_run_is_measured_once_and_reported(folder, data, tmp_path, monkeypatch):
    flatness, runs = study(folder, tmp_path / "out"), best_runs([folder])
    with FlatnessDisplay(QUIET) as display:
        measured = measure_all(flatness, data, runs, display)
    assert [(trial.method, trial.seed) for trial in measured] == [
        (method, seed) for method in ("manifold-muon", "hypersphere", "adamw") for seed in (0, 1)
    ]
    for trial, outcome in measured.items():
        assert outcome.plain > 0
        assert (outcome.plain == outcome.tangent) == (trial.method == "adamw")
    paths = write_report(flatness, measured, "digits", 30)
    page = read_page(tmp_path / "out")
    assert page.headline == headline(measured)
    (figure,) = page.sections[0].figures
    assert len(figure.data.rows) == 9
    assert "<svg" in paths["figure"].read_text()
    rows = json.loads(flatness.results_path.read_text())["trials"]
    assert len(rows) == 6

    monkeypatch.setattr("modular_manifolds.experiments.flatness.study._measure", None)
    with FlatnessDisplay(QUIET) as display:
        assert measure_all(flatness, data, runs, display) == measured


def test_the_command(tmp_path):
    def invoke(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})

    options = ["--methods", "manifold-muon,adamw", "--lrs", "0.05", "--seeds", "1", "--epochs", "1", "--widths", "8"]
    assert invoke("compare", *options, "--out", tmp_path).exit_code == 0
    ran = invoke("flatness", tmp_path, "--images", "50", "--steps", "4")
    assert ran.exit_code == 0, ran.output
    assert f"report:  {tmp_path / 'flatness' / 'report.html'}" in ran.output
    other = invoke("flatness", tmp_path, "--images", "60", "--steps", "4")
    assert other.exit_code == 1
    assert "of another study, with other images" in other.output
    assert invoke("flatness").exit_code == 2
    assert invoke("flatness", tmp_path, "--data", "digits").exit_code == 2
