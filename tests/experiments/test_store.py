import json
from dataclasses import asdict
from hashlib import sha256

import pytest
import torch

from modular_manifolds.experiments.store import RunStore
from modular_manifolds.experiments.training import Training


@pytest.fixture
def trained(data, make_run):
    run = make_run(epochs=1)
    training = Training(run, data)
    training.run_epoch()
    return run, training


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


def test_a_finished_run_is_found_again(store, trained):
    run, training = trained
    assert store.result(run) is None
    store.save_checkpoint(run, training.state_dict())
    store.finish(run, training.result(), training.weights())
    assert store.result(run) == training.result()
    for name, weight in training.weights().items():
        assert torch.equal(store.weights(run)[name], weight)
    assert store.checkpoint(run) is None


def test_any_other_setting_is_another_run(store, trained, make_run):
    run, training = trained
    store.finish(run, training.result(), training.weights())
    changes = {
        "method": "spel",
        "optimizer": "other",
        "lr": 0.2,
        "momentum": 0.5,
        "seed": 1,
        "data": "cifar10",
        "data_fingerprint": "other",
        "widths": (6, 5),
        "epochs": 2,
        "batch_size": 8,
        "threads": 2,
        "versions": "other",
        "nproc": 2,
    }
    assert set(changes) == set(vars(run))
    for name, value in changes.items():
        assert store.result(make_run(**{"epochs": 1, name: value})) is None, name


def test_runs_from_before_several_processes_are_found_again(make_run):
    settings = asdict(make_run())
    del settings["nproc"]
    assert make_run().key.endswith(sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12])


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def alter_number(path):
    record = json.loads(path.read_bytes())
    record["result"]["test_accuracy"] = 99.9
    path.write_text(json.dumps(record))


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("metrics.json", cut),
        ("metrics.json", alter_number),
        ("metrics.json", lambda path: path.write_text("[]")),
        ("metrics.json", lambda path: path.unlink()),
        ("weights.safetensors", cut),
        ("weights.safetensors", flip),
        ("weights.safetensors", lambda path: path.unlink()),
    ],
)
def test_a_damaged_run_counts_as_not_finished(store, trained, name, damage):
    run, training = trained
    store.finish(run, training.result(), training.weights())
    damage(store.weights_path(run).with_name(name))
    assert store.result(run) is None


def test_a_damaged_checkpoint_is_not_believed(store, trained):
    run, training = trained
    store.save_checkpoint(run, training.state_dict())
    assert store.checkpoint(run) is not None
    flip(store.weights_path(run).with_name("checkpoint.sealed"))
    assert store.checkpoint(run) is None
