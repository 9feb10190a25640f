"""Formulas in the dtype to compute in, for tensors in the dtype to store."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

from torch import Tensor

from modular_manifolds.linalg.precision import working_dtype

P = ParamSpec("P")


def lifted(formula: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """`formula`, computed in the `working_dtype` of its first tensor argument and rounded back to that one's dtype.

    Raises:
        TypeError: that tensor is not a real floating-point tensor.
    """

    @wraps(formula)
    def rounded(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        dtype = next(value.dtype for value in (*args, *kwargs.values()) if isinstance(value, Tensor))

        def lift(value: Any) -> Any:
            return value.to(working_dtype(dtype)) if isinstance(value, Tensor) else value

        return formula(*map(lift, args), **{name: lift(value) for name, value in kwargs.items()}).to(dtype)

    return rounded
