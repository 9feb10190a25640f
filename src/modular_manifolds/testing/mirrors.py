"""What holds the transposes of a subject's matrices."""

from dataclasses import fields, is_dataclass, replace
from typing import Any

from modular_manifolds.manifolds import LowRankFactors, Manifold
from modular_manifolds.norms import MaxColumn, MaxRow, Norm, RMSOperator, RowSup, TransposedRMSOperator

OTHER_AXIS = {"rows": "columns", "columns": "rows"}

ONE_WAY = (LowRankFactors, RMSOperator, TransposedRMSOperator, RowSup)
"""Tell inputs from outputs, and offer nothing that tells them the other way round."""


def mirrored(subject: Any) -> Any:
    """The manifold, norm or geometry of the transposed matrices, or None where the library has none.

    A field `axis` is turned round, and so is every manifold and norm in the other fields; whatever has nothing of the
    kind is its own mirror.
    """
    if isinstance(subject, ONE_WAY):
        return None
    if isinstance(subject, MaxRow):
        return MaxColumn()
    if isinstance(subject, MaxColumn):
        return MaxRow()
    turned: dict[str, Any] = {}
    for field in fields(subject) if is_dataclass(subject) else ():
        value = getattr(subject, field.name)
        if field.name == "axis":
            turned["axis"] = OTHER_AXIS.get(value, value)
        elif isinstance(value, Manifold | Norm):
            turned[field.name] = mirrored(value)
        elif isinstance(value, tuple) and any(isinstance(one, Manifold | Norm) for one in value):
            turned[field.name] = tuple(mirrored(one) for one in value)
    parts = [one for value in turned.values() for one in (value if isinstance(value, tuple) else (value,))]
    return None if None in parts else replace(subject, **turned)
