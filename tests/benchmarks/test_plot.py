"""`python -m benchmarks plot` draws what `step` wrote."""

import json
from pathlib import Path

from typer.testing import CliRunner

from benchmarks.__main__ import app


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_a_figure_names_every_method_and_shape(tmp_path: Path) -> None:
    result, svg, png = (tmp_path / name for name in ("step.json", "step.svg", "step.png"))
    methods = "--methods", "adamw,manifold-muon"
    assert _run("step", "--shapes", "8x6,2x4x6,5x5", "--rounds", "1", *methods, "--out", str(result))[0] == 0
    data = json.loads(result.read_text())
    data["rows"][2]["promise_kept"] = False
    del data["rows"][-1]
    result.write_text(json.dumps(data))
    for out in (svg, png):
        code, output = _run("plot", str(result), "--out", str(out))
        assert code == 0, output
    drawing = svg.read_text()
    for text in ("adamw", "manifold-muon", "8 × 6", "2 of 4 × 6", "5 × 5", "not run", "promise broken", "this library"):
        assert text in drawing
    assert png.read_bytes().startswith(b"\x89PNG")


def test_other_files_are_refused(tmp_path: Path) -> None:
    result = tmp_path / "memory.json"
    result.write_text('{"benchmark": "memory", "rows": []}')
    assert "not of step" in _run("plot", str(result), "--out", str(tmp_path / "a.svg"))[1]
    result.write_text('{"benchmark": "step", "rows": []}')
    code, output = _run("plot", str(result), "--out", str(tmp_path / "a.pdf"))
    assert code == 2
    assert "is to be .svg or .png" in output
