"""What `--compare` says of two results."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import changes
from benchmarks.__main__ import app


def _step(**ratios: float) -> dict[str, Any]:
    rows = [{"workload": "8x8", "method": name, "ratio": {"median": ratio}} for name, ratio in ratios.items()]
    return {"benchmark": "step", "reference": "muon", "rows": rows, "gradients": "gaussian", "hardware": {}}


def test_what_became_worse_comes_first() -> None:
    found = changes.between(_step(muon=1, a=2, b=2, c=2, d=2), _step(muon=9, a=1, b=2.1, c=3, e=7), tolerance=0.1)
    assert [(change.what, change.worse) for change in found] == [("8x8, c: x muon", True), ("8x8, a: x muon", False)]


def test_memory_is_compared_by_bytes() -> None:
    row = {"workload": "8x8", "method": "muon", "state_per_element": 4.0, "transient_ratio": 2.0}
    reports = [{"benchmark": "memory", "rows": [row]}, {"benchmark": "memory", "rows": [{**row, "transient_ratio": 3}]}]
    (change,) = changes.between(*reports, tolerance=0.1)
    assert change.worse
    assert change.what == "8x8, muon: transient memory over the largest group"


def test_what_was_nothing_and_is_something_is_worse() -> None:
    row = {"workload": "8x8", "method": "a", "state_per_element": 0.0, "transient_ratio": 2.0}
    reports = [
        {"benchmark": "memory", "rows": [row]},
        {"benchmark": "memory", "rows": [{**row, "state_per_element": 4}]},
    ]
    assert [change.worse for change in changes.between(*reports, tolerance=0.5)] == [True]


def test_other_circumstances_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    old, new = _step(a=1), {**_step(a=1), "hardware": {"cpu": "other"}}
    changes.show([], old, new, 0.1, Console())
    printed = capsys.readouterr().out
    assert "No change by more than 10% among 1 numbers" in printed
    assert "other hardware" in printed
    assert "gradients" not in printed


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_the_exit_status_tells(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    arguments = ["step", "--shapes", "6x4", "--rounds", "2", "--methods", "adamw", "--out"]
    assert _run(*arguments, str(old))[0] == 0
    data = json.loads(old.read_text())
    for factor, status, word in [(1e6, 0, "faster"), (1e-6, 1, "slower")]:
        changed = [{**row, "ratio": {"median": row["ratio"]["median"] * factor}} for row in data["rows"]]
        old.write_text(json.dumps({**data, "rows": changed}))
        code, output = _run(*arguments, str(new), "--compare", str(old))
        assert code == status, output
        assert f"{word}  6x4, adamw: x muon" in output
        assert new.exists()


@pytest.mark.parametrize("content", ["nonsense", "{}", '{"benchmark": "riemannian", "rows": []}', "[]"])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    old = tmp_path / "old.json"
    old.write_text(content)
    code, output = _run("step", "--shapes", "6x4", "--compare", str(old))
    assert code == 2
    assert "is no result" in output


def test_other_benchmarks_are_refused(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text('{"benchmark": "memory", "rows": []}')
    code, output = _run("step", "--shapes", "6x4", "--compare", str(old))
    assert code == 2
    assert "is a result of memory, not of step" in output
