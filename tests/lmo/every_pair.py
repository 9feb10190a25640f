"""Examples of every pair that the table has, with the kind of its direction."""

from modular_manifolds import Geometry, geometries
from modular_manifolds.lmo import NoLMOError
from modular_manifolds.manifolds import (
    DGram,
    DoublyStochastic,
    Euclidean,
    FixedRank,
    Grassmann,
    LowRankFactors,
    Manifold,
    Oblique,
    Product,
    SpectralBall,
    SpectralBand,
    SpectralSphere,
    Sphere,
    Stiefel,
    SymmetricPositiveDefinite,
)
from modular_manifolds.norms import (
    ConvOperator,
    Frobenius,
    MaxColumn,
    MaxEntry,
    MaxRow,
    Norm,
    Nuclear,
    PerBlock,
    PerHead,
    RMSOperator,
    RowSup,
    Schatten,
    Spectral,
    TransposedRMSOperator,
)

MANIFOLDS: dict[type[Manifold], list[Manifold]] = {
    DGram: [DGram()],
    DoublyStochastic: [DoublyStochastic()],
    Euclidean: [Euclidean()],
    FixedRank: [FixedRank(2)],
    Grassmann: [Grassmann(0.7)],
    LowRankFactors: [LowRankFactors(3)],
    Oblique: [Oblique("rows"), Oblique("columns", 0.3)],
    Product: [Product((Sphere(), Stiefel(2.0)), (2, 3))],
    SpectralBall: [SpectralBall(0.5)],
    SpectralBand: [SpectralBand(0.5, 2.0)],
    SpectralSphere: [SpectralSphere(2.0)],
    Sphere: [Sphere(2.5)],
    Stiefel: [Stiefel(3.0)],
    SymmetricPositiveDefinite: [SymmetricPositiveDefinite(), SymmetricPositiveDefinite("euclidean")],
}
NORMS: dict[type[Norm], list[Norm]] = {
    ConvOperator: [ConvOperator(9)],
    Frobenius: [Frobenius()],
    MaxColumn: [MaxColumn()],
    MaxEntry: [MaxEntry()],
    MaxRow: [MaxRow()],
    Nuclear: [Nuclear()],
    PerBlock: [PerBlock((Frobenius(), Spectral()), (2, 3)), PerBlock(Spectral(), (3, 4))],
    PerHead: [PerHead(Spectral(), 2, "columns")],
    RMSOperator: [RMSOperator()],
    RowSup: [RowSup()],
    Schatten: [Schatten(3.0)],
    Spectral: [Spectral()],
    TransposedRMSOperator: [TransposedRMSOperator()],
}
VARIANTS = (RMSOperator, TransposedRMSOperator, RowSup, PerBlock, PerHead)
"""Norms whose pairs, but for those of products, are found as another norm's are."""


def exists(manifold: Manifold, norm: Norm) -> bool:
    try:
        Geometry(manifold, norm)
    except NoLMOError:
        return False
    blocks = norm.split if isinstance(norm, PerBlock) else None
    return blocks is None or sum(blocks) == (7 if isinstance(manifold, LowRankFactors) else 5)


def is_variant(geometry: Geometry) -> bool:
    manifold, norm = geometry.manifold, geometry.norm
    return isinstance(norm, VARIANTS) and not isinstance(manifold, Euclidean | LowRankFactors | Product)


TABLE = {
    Geometry(manifold, norm): row.kind
    for row in geometries()
    if row.manifold.__module__.startswith("modular_manifolds.") and row.norm.__module__.startswith("modular_manifolds.")
    for manifold in MANIFOLDS[row.manifold]
    for norm in NORMS[row.norm]
    if (not row.only or row.only in repr(manifold)) and exists(manifold, norm)
}
