"""Checkpoints by torch.distributed.checkpoint, written on some ranks and read on others."""

from pathlib import Path

import pytest

from tests.distributed import programs
from tests.distributed.gang import Gang


@pytest.mark.parametrize(("saved", "loaded"), [("ddp", "fsdp+tp"), ("fsdp+tp", "fsdp"), ("fsdp", "hsdp")])
@pytest.mark.xdist_group("gang4")
def test_resumed_on_another_mesh(gang4: Gang, saved: str, loaded: str, tmp_path: Path) -> None:
    undisturbed = gang4.run(programs.train_and_save, loaded, list(range(12)), str(tmp_path / "whole"))[0]
    gang4.run(programs.train_and_save, saved, list(range(6)), str(tmp_path / "half"))
    for weights in gang4.run(programs.load_and_train, loaded, list(range(6, 12)), str(tmp_path / "half")):
        for w, expected in zip(weights, undisturbed, strict=True):
            assert programs.difference(w, expected) <= 1e-5


@pytest.mark.parametrize("kind", ["ddp", "fsdp", "hsdp", "fsdp+tp"])
@pytest.mark.xdist_group("gang4")
def test_every_rank_keeps_the_same_things(gang4: Gang, kind: str) -> None:
    keys = gang4.run(programs.keys_of_states, kind)
    assert keys[0]
    assert all(other == keys[0] for other in keys)
