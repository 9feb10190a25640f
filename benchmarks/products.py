"""In which dtypes a step multiplies matrices."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

_SHORT = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32", torch.float64: "fp64"}


class ProductDtypes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts floating-point operations of matrix products by dtype; factorisations and solves are no products."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._flops: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if func.overloadpacket in flop_registry:
            dtype = next(x.dtype for x in args if isinstance(x, Tensor))
            self._flops[_SHORT.get(dtype, str(dtype))] += flop_registry[func.overloadpacket](
                *args, **kwargs, out_val=out
            )
        return out

    def shares(self) -> dict[str, float]:
        """The share of each dtype, the largest first; empty where nothing was multiplied."""
        total = sum(self._flops.values())
        return {dtype: flops / total for dtype, flops in self._flops.most_common() if flops}
