import re
from pathlib import Path

from modular_manifolds.cli.app import app

MAKEFILE = Path(__file__).parents[2] / "Makefile"
NO_EXPERIMENTS = {"plan", "certify", "report"}


def test_every_experiment_is_run_in_small():
    (lines,) = re.findall(r"^define SMALL\n(.*?)^endef$", MAKEFILE.read_text(), re.DOTALL | re.MULTILINE)
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert {line.split()[0] for line in lines.splitlines()} == commands - NO_EXPERIMENTS
