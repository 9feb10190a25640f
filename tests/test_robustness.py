"""Certified accuracy: counted right, refused where it would be empty talk, and never contradicted by an attack."""

import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from modular_manifolds.experiments.attack import pgd_attack
from modular_manifolds.linalg import spectral_norm_bound
from modular_manifolds.robustness import CertifiedAccuracy, certified_accuracy, certified_radii


def linear(*rows):
    weight = torch.tensor(rows)
    model = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    model.weight.data = weight
    return model


# margins 2, 1, 0 (a tie), -1, for a label of 0; its constant is sqrt(2), so that a margin m is certified up to m / 2
MODEL = linear([1.0, 0.0], [-1.0, 0.0])
INPUTS = torch.tensor([[1.0, 0.0], [0.5, 3.0], [0.0, 0.0], [-0.5, 9.0]])
LABELS = torch.zeros(4, dtype=torch.int64)
LIPSCHITZ = math.sqrt(2)


def test_shares_of_correct_and_certified_samples():
    result = certified_accuracy(MODEL, (INPUTS, LABELS), [0, 0.4, 0.9, 1.1], lipschitz=LIPSCHITZ)
    assert dict(result) == {0: 0.5, 0.4: 0.5, 0.9: 0.25, 1.1: 0.0}
    assert result[0.9] == 0.25
    assert len(result) == 4
    assert (result.lipschitz, result.samples) == (LIPSCHITZ, 4)
    assert result == CertifiedAccuracy((0.0, 0.4, 0.9, 1.1), (0.5, 0.5, 0.25, 0.0), LIPSCHITZ, 4)


def test_the_radius_itself_is_not_certified():
    exactly, below = 0.5, math.nextafter(0.5, 0) * (1 - 1e-14)
    result = certified_accuracy(MODEL, (INPUTS[1:2], LABELS[:1]), [exactly, below], lipschitz=LIPSCHITZ)
    assert dict(result) == {exactly: 0, below: 1}


def test_radii_are_not_rounded_to_the_dtype_of_the_model():
    """A sample certified a little beyond 0.1, and not as far as float32's nearest number."""
    radius = 0.1
    nearest = float(torch.tensor(radius))
    result = certified_accuracy(MODEL, (INPUTS[:1], LABELS[:1]), [radius], lipschitz=math.sqrt(2) / radius * (1 - 1e-9))
    assert radius < nearest
    assert result[radius] == 1


def test_radii_are_linear_in_the_margin_and_never_above_the_quotient():
    logits = torch.tensor([[3.0, 1.0, 2.5], [0.0, 4.0, 0.0], [1.0, 1.0, 0.0]])
    labels = torch.tensor([0, 0, 1])
    radii = certified_radii(logits, labels, 2.0)
    assert radii.dtype == torch.float64
    assert radii.tolist() == pytest.approx([0.5 / (2 * math.sqrt(2)), -4 / (2 * math.sqrt(2)), 0])
    assert float(radii[0]) ** 2 * 8 < 0.25


def test_a_constant_classifier_is_certain_everywhere():
    model = linear([0.0], [0.0])
    model.bias = nn.Parameter(torch.tensor([1.0, 0.0]))
    inputs, labels = torch.zeros(2, 1), torch.tensor([0, 1])
    assert certified_accuracy(model, (inputs, labels), [0, 1e300], lipschitz=0.0)[1e300] == 0.5
    assert certified_radii(torch.zeros(1, 2), labels[:1], 0.0).tolist() == [0]


@pytest.mark.parametrize(
    "data",
    [
        [(INPUTS, LABELS)],
        [(INPUTS[:1], LABELS[:1]), (INPUTS[1:], LABELS[1:])],
        [[INPUTS, LABELS], (INPUTS[:0], LABELS[:0])],
        DataLoader(TensorDataset(INPUTS, LABELS), batch_size=3),
        [INPUTS, LABELS.int()],
    ],
)
def test_data_in_batches(data):
    result = certified_accuracy(MODEL, data, [0, 0.9], lipschitz=LIPSCHITZ, batch_size=3)
    assert dict(result) == {0: 0.5, 0.9: 0.25}


def test_modes_are_respected_and_restored():
    model = nn.Sequential(nn.Dropout(0.9), MODEL, nn.BatchNorm1d(2, affine=False))
    model.train()
    model[1].eval()
    result = certified_accuracy(model, (INPUTS, LABELS), [0], lipschitz=LIPSCHITZ)
    assert result[0] == 0.5
    assert [module.training for module in model] == [True, False, True]
    assert model[2].num_batches_tracked == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"radii": []}, "radii must be one or more"),
        ({"radii": [0.1, -0.1]}, "radii must be one or more finite numbers of at least 0"),
        ({"radii": [math.nan]}, "radii"),
        ({"radii": [math.inf]}, "radii"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"data": (INPUTS[:0], LABELS[:0])}, "no samples"),
        ({"data": iter([])}, "no samples"),
        ({"data": (INPUTS, LABELS[:3])}, "4 inputs and 3 labels"),
        ({"data": (INPUTS, LABELS + 2)}, "labels run from 2 to 2, expected 0 to 1"),
        ({"data": (INPUTS, LABELS - 1)}, "labels run from -1 to -1"),
        ({"data": (INPUTS, LABELS.float())}, "must be integers"),
        ({"data": (INPUTS / 0, LABELS)}, "non-finite"),
        ({"data": TensorDataset(INPUTS, LABELS)}, "batch axis"),
        ({"lipschitz": math.inf}, "no finite constant.*certify the model with a domain"),
        ({"lipschitz": math.nan}, "at least 0, got nan"),
        ({"lipschitz": -1.0}, "at least 0, got -1"),
        ({"model": linear([1.0, 0.0])}, "at least 2 classes"),
    ],
)
def test_what_is_refused(changes, message):
    given = {"model": MODEL, "data": (INPUTS, LABELS), "radii": [0.1], "lipschitz": LIPSCHITZ, **changes}
    with pytest.raises(ValueError, match=message):
        certified_accuracy(**given)


def test_the_constant_is_certified_unless_given():
    result = certified_accuracy(MODEL, (INPUTS, LABELS), [0, 0.49, 0.51, 0.9], batch_size=3)
    assert result.lipschitz == pytest.approx(math.sqrt(2))
    assert result == certified_accuracy(MODEL, (INPUTS, LABELS), [0, 0.49, 0.51, 0.9], lipschitz=result.lipschitz)
    assert dict(result) == {0: 0.5, 0.49: 0.5, 0.51: 0.25, 0.9: 0.25}


def test_a_model_without_a_constant_is_refused_with_the_way_out():
    class Square(nn.Module):
        def forward(self, x):
            return x * x

    with pytest.raises(ValueError, match="certify the model with a domain"):
        certified_accuracy(Square(), (INPUTS, LABELS), [0.1])


def test_no_attack_changes_a_certified_decision():
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)).double()
    for weight in model.parameters():
        nn.init.normal_(weight, generator=generator)
    inputs = torch.randn(200, 6, dtype=torch.float64, generator=generator)
    logits = model(inputs)
    labels = logits.argmax(1)
    lipschitz = math.prod(float(spectral_norm_bound(layer.weight)) for layer in (model[0], model[2]))
    radii = certified_radii(logits, labels, lipschitz)
    attacked = pgd_attack(model, inputs, labels, radii, generator=generator)
    assert torch.equal(model(attacked).argmax(1), labels)
    beyond = pgd_attack(model, inputs, labels, 8 * radii, generator=generator)
    assert not torch.equal(model(beyond).argmax(1), labels)
