"""`python -m benchmarks train` runs the methods in turns and says when each reached the target."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import race
from benchmarks.__main__ import app
from benchmarks.image_lesson import IMAGE_METHODS
from benchmarks.race import Goal, Part
from benchmarks.text_lesson import TEXT_METHODS, TextLesson
from modular_manifolds import Stiefel
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.text import Text
from modular_manifolds.experiments.transfer_trial import Course

SPEECH = "to be, or not to be: that is the question. " * 60


class Scripted:
    """A lesson whose parts are known beforehand."""

    lr, steps_per_part = 0.1, 2

    def __init__(self, name: str, order: list[str], *parts: tuple[float, float]) -> None:
        self._name, self._order, self._parts = name, order, [Part(*part) for part in parts]

    def run_part(self, on_step: Callable[[float], None]) -> Part:
        on_step(1.0)
        self._order.append(self._name)
        return self._parts.pop(0)


def test_parts_take_turns_and_targets_are_met_in_training_time() -> None:
    order: list[str] = []
    lessons: dict[str, race.Lesson] = {
        "adamw": Scripted("adamw", order, (1, 10), (2, 40), (1, 60)),
        "muon": Scripted("muon", order, (2, 50), (2, 70), (2, 30)),
        "slow": Scripted("slow", order, (8, 10), (8, 20), (8, math.nan)),
    }
    goal = Goal("accuracy", 50, higher=True, part="epoch")
    with StudyDisplay(Console(quiet=True)) as display:
        adamw, muon, slow = race.run(lessons, 3, goal, display)
    assert order == ["adamw", "muon", "slow", "muon", "slow", "adamw", "slow", "adamw", "muon"]
    assert [row.seconds_to_target for row in (adamw, muon, slow)] == [4, 2, None]
    assert [row.ratio.median for row in (adamw, muon, slow)] == [1, 1.5, 6]
    assert (muon.ratio.lower, muon.ratio.upper) == (1.5, 2)
    data = race.report([adamw, muon, slow], goal, {})
    assert [part["score"] for part in data["rows"][2]["parts"]] == [10, 20, None]
    assert goal.reached(50)
    assert not goal.reached(math.nan)
    assert Goal("loss", 2, higher=False, part="tenth").reached(1.9)


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["train", *arguments], env={"COLUMNS": "80"})
    return result.exit_code, result.output


def test_images(tmp_path: Path) -> None:
    out = tmp_path / "train.json"
    code, output = _run("--data", "digits", "--epochs", "2", "--target", "60", "--lr", "muon=0.05", "--out", str(out))
    assert code == 0, output
    data = json.loads(out.read_text())
    rows = {row["method"]: row for row in data["rows"]}
    assert rows.keys() == IMAGE_METHODS.keys()
    assert rows["muon"]["lr"] == 0.05
    for row in rows.values():
        assert len(row["parts"]) == 2
        assert row["seconds"] == pytest.approx(sum(part["seconds"] for part in row["parts"]))
        assert row["seconds"] > 0
    assert 0 < rows["manifold-muon"]["seconds_to_target"] <= rows["manifold-muon"]["seconds"]
    assert rows["adamw"]["ratio"]["median"] == 1


def test_text(tmp_path: Path) -> None:
    out, file = tmp_path / "train.json", tmp_path / "speech.txt"
    file.write_text(SPEECH)
    sizes = ("--steps", "11", "--width", "16", "--depth", "1", "--batch-size", "2")
    code, output = _run("--data", "text", "--file", str(file), *sizes, "--methods", "muon", "--out", str(out))
    assert code == 0, output
    data = json.loads(out.read_text())
    assert data["settings"]["steps"] == 20
    assert [row["method"] for row in data["rows"]] == ["adamw", "muon"]
    assert all(len(row["parts"]) == 10 for row in data["rows"])
    assert all(row["parts"][-1]["score"] < row["parts"][0]["score"] for row in data["rows"])


@pytest.mark.parametrize("method", TEXT_METHODS)
def test_every_method_learns_text(method: str) -> None:
    text = Text.of(SPEECH, "a speech")
    lesson = TextLesson(text, method, TEXT_METHODS[method].lr, Course(width=16, depth=1, steps=30, batch_size=4), 0)
    losses: list[float] = []
    scores = [lesson.run_part(losses.append).score for _ in range(TextLesson.parts)]
    assert len(losses) == 30
    assert scores[-1] < scores[0] < math.log(text.classes) + 0.5
    inside = lesson._model.get_parameter("blocks.0.query.weight").detach()
    outside = lesson._model.get_parameter("last.weight").detach()
    assert (float(Stiefel().violation(inside)) < 1e-5) == method.startswith("manifold")
    assert float(Stiefel().violation(outside)) > 1e-2
    assert torch.isfinite(outside).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "muon"], "is not of the form"),
        (["--lr", "sgd=1"], "is not of the form"),
        (["--methods", "dual-ascent"], "is unknown"),
    ],
)
def test_bad_options_are_refused(arguments: list[str], message: str) -> None:
    code, output = _run("--data", "digits", *arguments)
    assert code == 2
    assert message in output


def test_a_text_too_short_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "short.txt"
    file.write_text("to be")
    code, output = _run("--data", "text", "--file", str(file))
    assert code == 1
    assert "expected 650 or more" in output
