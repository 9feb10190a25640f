"""`python -m benchmarks memory` counts what is kept and what is needed for a while."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.memory import transient_bytes

CPU = torch.device("cpu")


def test_the_peak_is_what_is_alive_at_a_time() -> None:
    def call() -> None:
        x = torch.ones(1000)
        y = x + 1
        del x
        z = y + 1
        del y, z

    assert 8000 <= transient_bytes(call, CPU) < 8100  # and the numbers that are added


def test_what_the_first_call_leaves_is_not_counted_but_its_release_is() -> None:
    kept: list[torch.Tensor] = []

    def grow() -> None:
        kept.append(torch.ones(1000))

    def replace() -> None:
        kept.clear()
        kept.append(torch.ones(1000))

    assert transient_bytes(grow, CPU) == 4000
    kept.clear()
    assert transient_bytes(replace, CPU) == 0


def test_methods_on_every_shape(tmp_path: Path) -> None:
    out = tmp_path / "memory.json"
    shapes = ["48x32", "2x16x48"]
    names = ["muon", "adamw", "manifold-muon", "geoopt-adam", "orthogonal"]
    arguments = ["memory", "--shapes", ",".join(shapes), "--methods", ",".join(names), "--out", str(out)]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    assert "…" not in result.output
    rows = {(row["workload"], row["method"]): row for row in json.loads(out.read_text())["rows"]}
    assert rows.keys() == {(shape, name) for shape in shapes for name in names}
    for (_, name), row in rows.items():
        assert row["transient_bytes"] > 0
        assert row["transient_ratio"] == pytest.approx(row["transient_bytes"] / (4 * 48 * 32))
        if name == "muon" or name.startswith("manifold-muon"):
            assert row["state_per_element"] == 4
    assert rows["48x32", "adamw"]["state_per_element"] == pytest.approx(8, abs=0.01)
    # completed to a square one
    assert rows["48x32", "orthogonal"]["state_per_element"] == 4 * 48 / 32
    again = CliRunner().invoke(app, [*arguments[:-2], "--compare", str(out), "--tolerance", "0"])
    assert again.exit_code == 0, again.output
    assert "No change by more than 0%" in again.output
