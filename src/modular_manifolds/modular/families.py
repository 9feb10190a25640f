"""Operations that only hand on what they are given, by what they do to its shape."""


def _aten(*names: str) -> frozenset[str]:
    return frozenset(f"aten.{name}" for name in names)


COPIES = _aten("to", "_to_copy", "contiguous", "clone", "alias", "type_as", "detach", "detach_", "lift_fresh_copy")
RESHAPES = _aten(
    *("view", "view_as", "reshape", "reshape_as", "_unsafe_view", "flatten", "unflatten", "unsqueeze", "squeeze")
)
TRANSPOSES = _aten("t", "transpose", "permute", "numpy_T", "mT")
ORDERS = TRANSPOSES | _aten("movedim", "swapaxes", "swapdims")
PARTS = _aten("slice", "narrow", "select")
REPEATS = _aten("expand", "expand_as", "broadcast_to")
DROPOUTS = _aten("dropout", "feature_dropout", "alpha_dropout")
"""In evaluation they return their input itself."""
