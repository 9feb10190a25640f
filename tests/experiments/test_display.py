import io

import pytest
from rich.console import Console

from modular_manifolds.experiments.comparison import train_all
from modular_manifolds.experiments.display import open_display


def shown(data, comparison, terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    with open_display(console) as display:
        train_all(comparison, data, display)
    return console.file.getvalue()


def test_a_log_gets_a_line_a_run(data, make_comparison):
    lines = shown(data, make_comparison(), terminal=False).splitlines()
    assert lines[0] == "8 runs"
    assert len(lines) == 9
    assert lines[-1].startswith("[8/8] muon lr 0.1 seed 1: test ")


def test_a_terminal_gets_a_table_and_bars(data, make_comparison):
    text = shown(data, make_comparison(), terminal=True)
    assert "best learning rate" in text
    assert "8/8" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_what_was_finished_before_is_said(data, make_comparison, terminal):
    shown(data, make_comparison(seeds=1), terminal=False)
    assert "of them finished before" in shown(data, make_comparison(), terminal)
