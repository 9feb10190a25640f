"""`python -m benchmarks distributed` simulates with the optimizer's own cost model, and measures what it can."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.distributed import memory_table
from benchmarks.distributed_cost import TRANSFORMERS, Route, step_cost
from benchmarks.distributed_memory import memory_of_a_step
from modular_manifolds.distributed.routes import ACCELERATOR
from tests.distributed.gang import Gang


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["distributed", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_a_simulation_says_what_it_assumed(tmp_path: Path) -> None:
    out, figure = tmp_path / "a.json", tmp_path / "a.svg"
    code, output = _run(
        "--models", "1b", "--ranks", "8,64", "--inside", "1e11", "--out", str(out), "--figure", str(figure)
    )
    assert code == 0, output
    data = json.loads(out.read_text())
    assert data["simulated"]
    assert data["machine"]["inside"] == 1e11
    assert data["models"]["1b"]["hidden"] == 2048
    assert len(data["rows"]) == 2 * 2 * len(Route)
    for row in data["rows"]:
        assert row["seconds"] == pytest.approx(row["cost"]["communication"] + row["cost"]["work"])
        assert row["seconds"] > 0
    for text in ("Llama 3.2 1B", "hybrid, copies of 8 ranks", "Muon at owners", "ranks"):
        assert text in figure.read_text()


def test_the_choice_is_the_better_one_shape_by_shape() -> None:
    for model in TRANSFORMERS.values():
        for machine in (ACCELERATOR, ACCELERATOR.__class__(flops=1e17, bandwidth=1e9)):
            chosen, owners, rows = (
                step_cost(model.groups, route, 512, 1, machine) for route in (Route.CHOSEN, Route.OWNERS, Route.ROWS)
            )
            assert chosen.seconds <= min(owners.seconds, rows.seconds) * (1 + 1e-9)


def test_the_models_have_the_published_sizes() -> None:
    sizes = {name: model.parameters / 1e9 for name, model in TRANSFORMERS.items()}
    assert sizes == pytest.approx({"1b": 1.236, "8b": 8.030, "70b": 70.55}, rel=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "2b"], "2b is unknown; there are 1b"),
        (["--ranks", "many"], "no list of numbers of ranks"),
        (["--models", "70b", "--ranks", "8"], "none of these models fits"),
        (["--models", "1b", "--ranks", "8", "--figure", "a.pdf"], "is to be .svg or .png"),
    ],
)
def test_bad_options_are_refused(arguments: list[str], message: str) -> None:
    code, output = _run(*arguments)
    assert code == 2
    assert message in output


def test_a_rank_keeps_its_share() -> None:
    size, matrices, side = 2, 3, 64
    gang = Gang(size)
    try:
        found = gang.run(memory_of_a_step, matrices, side)
    finally:
        gang.end()
    share = matrices * side**2 * 4 / size
    for of_rank in found:
        assert of_rank["weights"] == of_rank["state"] == of_rank["gradients"] == share
    assert memory_table([{"ranks": size, **found[0]}]).row_count == 1


@pytest.mark.slow
def test_what_a_step_needs_for_a_time_hardly_grows_with_the_model() -> None:
    """Twice the matrices, more than fill three rounds in both cases; on 2 ranks 1.07 times the memory, on 4 1.2."""
    peaks = {}
    for matrices in (48, 96):
        gang = Gang(4)
        try:
            found = gang.run(memory_of_a_step, matrices, 1024)
        finally:
            gang.end()
        share = matrices * 1024**2 * 4 / 4
        assert all(of_rank["weights"] == of_rank["state"] == share for of_rank in found)
        peaks[matrices] = max(of_rank["transient"] for of_rank in found)
    assert peaks[96] < 1.5 * peaks[48]
