"""Rounds in turns, and what is made of their seconds. Nothing here looks at a time."""

import torch

from benchmarks.timing import Run, interleaved, ratios, spread


def test_preparations_are_not_timed() -> None:
    calls: list[str] = []
    run = Run(lambda: calls.append("call"), rounds=2, prepare=lambda: calls.append("prepare"))
    interleaved({"a": run}, torch.device("cpu"))
    assert calls == ["prepare", "call"] * 3


def test_rounds_are_interleaved() -> None:
    calls: list[str] = []
    runs = {
        "a": Run(lambda: calls.append("a"), rounds=3),
        "b": Run(lambda: calls.append("b"), rounds=1, warm_up=False),
        "c": Run(lambda: calls.append("c"), rounds=3),
    }
    seconds = interleaved(runs, torch.device("cpu"))
    assert "".join(calls) == "ac" + "abc" + "ca" + "ca"
    assert {name: len(sample) for name, sample in seconds.items()} == {"a": 3, "b": 1, "c": 3}


def test_spread() -> None:
    assert spread([3.0]) == (3, 3, 3)
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == (3, 2, 4)
    assert ratios([2.0, 30.0], [1.0, 10.0, 7.0]) == (2.5, 2.25, 2.75)
