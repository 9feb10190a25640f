"""Norms: length of an update, dual length of a gradient, and the linear minimisation oracle over the unit ball."""

from modular_manifolds.norms.blocks import Blockwise, PerBlock, PerHead
from modular_manifolds.norms.elementwise import Frobenius, MaxEntry
from modular_manifolds.norms.norm import Norm
from modular_manifolds.norms.rows import MaxColumn, MaxRow, RowSup
from modular_manifolds.norms.singular_values import (
    ConvOperator,
    Nuclear,
    RMSOperator,
    Schatten,
    Spectral,
    TransposedRMSOperator,
)

__all__ = [
    "Blockwise",
    "ConvOperator",
    "Frobenius",
    "MaxColumn",
    "MaxEntry",
    "MaxRow",
    "Norm",
    "Nuclear",
    "PerBlock",
    "PerHead",
    "RMSOperator",
    "RowSup",
    "Schatten",
    "Spectral",
    "TransposedRMSOperator",
]
