"""The table as rows."""

import pytest

from modular_manifolds import Geometry, manifolds, norms
from modular_manifolds.lmo import geometries
from modular_manifolds.manifolds import Euclidean, Oblique, Product, SpectralSphere, Sphere, Stiefel
from modular_manifolds.norms import MaxEntry, MaxRow, PerBlock, RMSOperator, Schatten, Spectral

ARGUMENTS = {
    "FixedRank": (2,),
    "LowRankFactors": (4,),
    "SpectralBand": (0.5, 1.0),
    "Product": (Stiefel(), 2),
    "Schatten": (3.0,),
    "PerBlock": (Spectral(), 2),
    "PerHead": (Spectral(), 2),
}
"""Of types that need some."""

OURS = [
    row
    for row in geometries()
    if all(kind.__module__.startswith("modular_manifolds") for kind in (row.manifold, row.norm))
]


def kind(manifold, norm):
    return {row.kind for row in OURS if row.manifold is manifold and row.norm is norm}


def test_kinds():
    assert kind(Stiefel, Spectral) == {"closed form"}
    assert kind(Stiefel, RMSOperator) == {"closed form"}
    assert kind(Stiefel, Schatten) == {"iterative"}
    assert kind(Sphere, Spectral) == {"root"}
    assert kind(SpectralSphere, Spectral) == {"root"}
    assert kind(Sphere, MaxEntry) == {"closed form"}
    assert kind(Oblique, Spectral) == {"iterative"}
    assert kind(Oblique, MaxRow) == {"closed form"}
    assert kind(Euclidean, MaxEntry) == {"closed form"}
    assert kind(Product, PerBlock) == {"closed form"}
    assert kind(Stiefel, MaxEntry) == set()


@pytest.mark.parametrize("row", OURS, ids=str)
def test_every_row_can_be_had(row):
    assert row.cost
    assert row.source
    if row.manifold.__name__ == "LowRankFactors" and row.norm.__name__ in ("PerBlock", "PerHead"):
        return  # cut between the factors, which ARGUMENTS are not: see test_product
    norm = row.norm(*ARGUMENTS.get(row.norm.__name__, ()))
    fields = eval(f"dict({row.only})")
    manifold = row.manifold(*ARGUMENTS.get(row.manifold.__name__, ()), **fields)
    if isinstance(manifold, Product) and isinstance(norm, PerBlock | norms.PerHead):
        norm = PerBlock(Spectral(), 2)
    Geometry(manifold, norm)


def test_prints_as_one_table():
    text = str(geometries())
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["manifold", "norm", "kind"]
    assert len(lines) == len(geometries()) + 2
    assert repr(geometries()) == text
    assert any(line.startswith("Oblique(axis='rows')") for line in lines)


def test_every_public_manifold_and_norm_is_in_some_row():
    assert {row.manifold.__name__ for row in OURS} == {*manifolds.__all__} - {"Manifold", "NoClosedFormError"}
    assert {row.norm.__name__ for row in OURS} == {*norms.__all__} - {"Norm", "Blockwise"}
