import json
import math

import pytest
import torch

from modular_manifolds.experiments.results import Epoch, Result, measure_layers, singular_values


def test_json_is_strict_and_leads_back(make_result):
    result = make_result(test_loss=math.nan, curve=(Epoch(1, 1.0, math.inf, 60.0, 50.0),))
    row = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert row["test_loss"] is None
    assert row["layers"][0]["shape"] == [4, 3]
    again = Result.from_json(row)
    assert math.isnan(again.test_loss)
    assert again.to_json() == row
    assert again.layers == result.layers


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4)])
def test_singular_values_agree_with_the_svd(shape):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = torch.linalg.svdvals(weight.double()).flip(0)
    assert torch.allclose(singular_values(weight), expected, rtol=1e-9)


def test_singular_values_of_an_orthonormal_matrix_are_one():
    weight = torch.linalg.qr(torch.randn(300, 40, dtype=torch.float64))[0]
    assert singular_values(weight).sub(1).abs().max() < 1e-12


def test_diverged_weights_have_no_singular_values():
    layer = measure_layers({"w": torch.full((3, 2), math.inf)})[0]
    assert math.isnan(layer.violation)


def test_violation_is_the_distance_of_singular_values_from_one():
    layer = measure_layers({"w": torch.diag(torch.tensor([0.4, 1.3]))})[0]
    assert (layer.name, layer.shape) == ("w", (2, 2))
    assert layer.violation == pytest.approx(0.6, abs=1e-6)
