"""What happens when ranks differ, forget to come, or die: an error that says who and what, and never a hang."""

import time
from pathlib import Path

import pytest

import modular_manifolds as mm
from tests.distributed import programs
from tests.distributed.gang import Failure, Gang


@pytest.mark.parametrize("which", ["order", "momentum"])
@pytest.mark.xdist_group("gang2")
def test_groups_that_differ(gang2: Gang, which: str) -> None:
    for kind, message in gang2.run(programs.mismatched_groups, which):
        assert kind == "ValueError"
        assert "rank 0" in message
        assert "rank 1" in message
        assert ("a of shape (6, 4)" if which == "order" else "momentum") in message


@pytest.mark.parametrize("which", ["nan", "missing copy"])
@pytest.mark.xdist_group("gang2")
def test_bad_gradients_are_refused_by_all_ranks_alike(gang2: Gang, which: str) -> None:
    for (kind, message), moved in gang2.run(programs.bad_gradient, which):
        assert kind == "ValueError"
        assert "second" in message
        assert "first" not in message
        assert "rank 1" in message
        assert moved == 0


@pytest.mark.xdist_group("gang2")
def test_a_missing_shard_of_a_gradient_is_zero(gang2: Gang) -> None:
    for (kind, _), moved in gang2.run(programs.bad_gradient, "missing shard"):
        assert kind == "nothing"
        assert moved > 0


@pytest.mark.xdist_group("gang2")
def test_a_part_that_is_frozen_has_no_gradient(gang2: Gang) -> None:
    for off in gang2.run(programs.frozen_on_one_rank):
        assert max(off) <= 1e-6


@pytest.mark.xdist_group("gang2")
def test_weights_off_their_manifold_are_refused_by_all_ranks(gang2: Gang) -> None:
    for kind, message in gang2.run(programs.refused_off_manifold, "fsdp"):
        assert kind == "ValueError"
        assert "embedding.weight of shape (19, 8) is off its manifold" in message


@pytest.mark.xdist_group("gang2")
def test_weights_written_to_on_one_rank_are_refused_by_all(gang2: Gang) -> None:
    for kind, message in gang2.run(programs.written_to_between_steps):
        assert kind == "ValueError"
        assert "up.weight of shape (24, 8) is off its manifold" in message


@pytest.mark.parametrize("which", ["own gradient", "own weight", "lr"])
@pytest.mark.xdist_group("gang2")
def test_what_one_rank_refuses_no_rank_waits_for(gang2: Gang, which: str) -> None:
    for (kind, message), moved in gang2.run(programs.refused_by_one_rank, which):
        assert kind == "ValueError"
        assert ("lr" if which == "lr" else "own") in message
        assert moved == 0


@pytest.mark.parametrize("geometry", [None, mm.Geometry(mm.Stiefel(), mm.Spectral())], ids=["adamw", "stiefel"])
@pytest.mark.xdist_group("gang2")
def test_whole_states_are_not_loaded_for_parts(gang2: Gang, geometry: mm.Geometry | None) -> None:
    for kind, message in gang2.run(programs.state_of_one_process, geometry):
        assert kind == "ValueError"
        assert "set_optimizer_state_dict" in message


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_rank_that_dies_is_named(size: int) -> None:
    gang = Gang(size, timeout=10.0)
    try:
        gang.run(programs.step_until_killed, 1)
        gang.start(programs.step_until_killed, 10**6)
        time.sleep(2)
        gang.kill(size - 1)
        answers = gang.answers(size - 1)
        assert sorted(answers) == list(range(size - 1))
        for rank, answer in answers.items():
            assert not isinstance(answer, Failure), answer
            kind, message = answer
            assert kind == "RankError"
            assert f"rank {rank}, with" in message
            assert str(size - 1) in message.partition("no answer from rank")[2].partition(".")[0]
            assert "weight" in message
    finally:
        gang.end()


def test_a_rank_that_does_not_come_is_named() -> None:
    gang = Gang(2, timeout=2.0)
    try:
        gang.start(programs.absent_from_a_step)
        kind, message = gang.answers(1)[0]
        assert kind == "RankError"
        assert "no answer from rank 1" in message
        assert "up.weight" in message
    finally:
        gang.end()


@pytest.mark.parametrize("sizes", [(4, 2), pytest.param((2, 4), marks=pytest.mark.slow)], ids=str)
def test_killed_and_resumed_with_another_number_of_ranks(sizes: tuple[int, int], tmp_path: Path) -> None:
    """A rank is killed some steps after a checkpoint; other ranks go on from there."""
    first, second = (Gang(size) for size in sizes)
    try:
        undisturbed = second.run(programs.train_and_save, "fsdp", list(range(12)), str(tmp_path / "whole"))[0]
        first.run(programs.train_and_save, "fsdp", list(range(6)), str(tmp_path / "half"))
        first.start(programs.load_and_train, "fsdp", range(6, 10**6), str(tmp_path / "half"))
        time.sleep(5)
        first.kill(1)
        resumed = second.run(programs.load_and_train, "fsdp", list(range(6, 12)), str(tmp_path / "half"))
        for weights in resumed:
            for w, expected in zip(weights, undisturbed, strict=True):
                assert programs.difference(w, expected) <= 1e-5
    finally:
        first.end()
        second.end()
