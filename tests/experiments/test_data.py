import torch

from modular_manifolds.experiments.data import DataName, fingerprint, load


def test_digits_are_split_evenly_by_class_and_always_alike():
    digits, again = load(DataName.DIGITS), load(DataName.DIGITS)
    assert (len(digits.train), len(digits.test), digits.features, digits.classes) == (1437, 360, 64, 10)
    assert digits.test.labels.bincount().min() >= 35
    assert torch.equal(digits.train.inputs, again.train.inputs)
    assert digits.fingerprint == again.fingerprint


def test_digits_are_as_long_as_cifar_images():
    lengths = load(DataName.DIGITS).train.inputs.norm(dim=1)
    assert 50 < lengths.mean() < 60


def test_fingerprint_depends_on_contents():
    assert fingerprint(b"a", b"b") != fingerprint(b"a", b"c")
