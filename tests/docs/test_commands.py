"""Every command on the pages is one that the command line understands."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app as benchmarks
from modular_manifolds.cli.app import app as library

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md")])
PROGRAMS = {"modular-manifolds": library, "python -m benchmarks": benchmarks}
OTHERS = ("make ", "pip install ")


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [line.removeprefix(".venv/bin/") for line in "".join(blocks).splitlines() if line]


def understood(line: str) -> bool:
    """Whether the program has this command, with these options. Values are not looked at, and nothing is run."""
    for program, app in PROGRAMS.items():
        if line.startswith(f"{program} "):
            arguments = shlex.split(line.removeprefix(program), comments=True)
            return CliRunner().invoke(app, [*arguments, "--help"]).exit_code == 0
    return line.startswith(OTHERS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_are_understood(page: Path) -> None:
    assert [line for line in commands(page) if not understood(line)] == []


@pytest.mark.parametrize("line", ["modular-manifolds compare --colour red", "modular-manifolds compere", "rm -r x"])
def test_others_are_not(line: str) -> None:
    assert not understood(line)


def test_every_experiment_is_listed() -> None:
    listed = (ROOT / "docs" / "experiments.md").read_text()
    names = {command.name or command.callback.__name__ for command in library.registered_commands if command.callback}
    for name in names - {"plan", "certify"}:
        assert f"\nmodular-manifolds {name}" in listed, name


def test_every_page_is_in_the_navigation() -> None:
    configuration = (ROOT / "mkdocs.yml").read_text()
    for page in ROOT.glob("docs/**/*.md"):
        assert re.search(rf"[ :]{re.escape(page.relative_to(ROOT / 'docs').as_posix())}\n", configuration), page.name
