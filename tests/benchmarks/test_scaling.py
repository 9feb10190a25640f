"""`python -m benchmarks scaling` fits what it measured."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.scaling import fit


def test_a_power_law_is_found() -> None:
    exact = fit([2, 4, 8], [3 * 2**2.5, 3 * 4**2.5, 3 * 8**2.5])
    assert exact.exponent == pytest.approx(2.5)
    assert exact.constant == pytest.approx(3)
    assert exact.error == pytest.approx(0, abs=1e-12)
    # the middle one twice what the others say: a third of that is taken up by the constant
    off = fit([2, 4, 8], [2, 8, 8])
    assert off.exponent == pytest.approx(1)
    assert off.error == pytest.approx(2 ** (2 / 3) - 1)


def test_rows_and_fits(tmp_path: Path) -> None:
    out = tmp_path / "scaling.json"
    arguments = ["scaling", "--sizes", "8,4", "--rounds", "2", "--methods", "manifold-muon", "--out", str(out)]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    data = json.loads(out.read_text())
    assert data["benchmark"] == "scaling"
    places = [(row["axis"], row["size"], row["workload"], row["method"]) for row in data["rows"]]
    assert places[:2] == [("n", 4, "4x4", "muon"), ("n", 8, "8x8", "muon")]
    assert places[2:4] == [("n", 4, "4x4", "manifold-muon"), ("n", 8, "8x8", "manifold-muon")]
    assert places[4:8:3] == [("m", 4, "4x256", "muon"), ("m", 8, "8x256", "manifold-muon")]
    assert places[-1] == ("batch", 8, "8x128x128", "manifold-muon")
    assert all(row["promise_kept"] in (True, None) and "gap" in row for row in data["rows"])
    assert [(fitted["axis"], fitted["method"]) for fitted in data["fits"]] == [
        (axis, method) for axis in ("n", "m", "batch") for method in ("muon", "manifold-muon")
    ]
    changed = [{**row, "ratio": {"median": 1e-6 * row["ratio"]["median"]}} for row in data["rows"]]
    out.write_text(json.dumps({**data, "rows": changed}))
    again = CliRunner().invoke(app, [*arguments, "--compare", str(out)])
    assert again.exit_code == 1
    assert again.output.count("slower") == 6


@pytest.mark.parametrize("arguments", [["--sizes", "8"], ["--sizes", "8,x"], ["--sizes", "0,4"], ["--axes", "k"]])
def test_bad_options_are_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["scaling", *arguments]).exit_code == 2
