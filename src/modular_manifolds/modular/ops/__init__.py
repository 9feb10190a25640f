"""The rules for torch's operations. Importing this enters them."""

from modular_manifolds.modular.ops import attention, einsum, elementwise, linear, normalisation, reductions, shapes

__all__ = ["attention", "einsum", "elementwise", "linear", "normalisation", "reductions", "shapes"]
