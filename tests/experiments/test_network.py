import torch

from modular_manifolds.experiments.network import MLP, weight_shapes


def test_shapes_are_out_by_in():
    assert weight_shapes(3072, (128, 64), 10) == [(128, 3072), (64, 128), (10, 64)]
    assert [tuple(weight.shape) for weight in MLP(8, (6,), 3, seed=0).parameters()] == weight_shapes(8, (6,), 3)


def test_weights_depend_on_the_seed_alone():
    one, same, other = MLP(8, (6,), 3, seed=1), MLP(8, (6,), 3, seed=1), MLP(8, (6,), 3, seed=2)
    for a, b, c in zip(one.parameters(), same.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        assert not torch.equal(a, c)


def test_has_no_biases():
    assert MLP(8, (6,), 3, seed=0)(torch.zeros(2, 8)).eq(0).all()
