"""Nested dataclasses survive the way through plain data."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

import modular_manifolds as mm
from modular_manifolds.manifolds import Product
from modular_manifolds.plain_data import describe, rebuild


@pytest.mark.parametrize(
    "manifold",
    [
        mm.Stiefel(2.0),
        mm.Oblique("columns"),
        Product(mm.Stiefel(), 3),
        Product((mm.Stiefel(), Product((mm.Sphere(0.5), mm.Euclidean()), (1, 2), "columns")), (2, 3)),
    ],
    ids=str,
)
def test_manifolds_come_back(manifold):
    assert rebuild(mm.Manifold, json.loads(json.dumps(describe(manifold)))) == manifold


def test_numpy_floats_become_floats():
    assert type(describe(mm.Stiefel(np.float64(2.0)))["radius"]) is float


def test_what_is_unknown_or_ambiguous_is_refused():
    with pytest.raises(ValueError, match=r"0 types of Manifold are called 'Torus'; known are .*Sphere"):
        rebuild(mm.Manifold, {"type": "Torus"})
    with pytest.raises(ValueError, match="0 types of Norm are called 'Sphere'"):
        rebuild(mm.Norm, describe(mm.Sphere()))

    twins = [dataclass(frozen=True)(type("Twin", (mm.Sphere,), {})) for _ in range(2)]
    with pytest.raises(ValueError, match="2 types of Manifold are called 'Twin'"):
        rebuild(mm.Manifold, describe(twins[0]()))
