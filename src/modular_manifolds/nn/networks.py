"""Networks: residual towers, multilayer perceptrons and the transformer of modula (arXiv 2405.14813)."""

from itertools import pairwise
from typing import Any

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.nn.attention import Attention
from modular_manifolds.nn.bonds import GELU, Positions, ReLU
from modular_manifolds.nn.composition import Add, Compose, Mul, Tuple
from modular_manifolds.nn.leaves import Embedding, Linear
from modular_manifolds.nn.module import Module, Uses
from modular_manifolds.nn.sensitivity import Sensitivity, plus, times
from modular_manifolds.nn.sharpness import LINEAR, Sharpness, composed


class Residual(Module):
    """(1 - share) x + share branch(x): (1 - share) * Identity() + share * branch, under shorter names.

    Its sensitivity is 1 if the branch's is, for a share from 0 to 1.
    """

    def __init__(self, branch: Module, share: float) -> None:
        super().__init__()
        self.branch = branch
        self.share = share

    def forward(self, x: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return (1 - self.share) * x + self.share * self.branch(x)

    def sweep(self, s: Sensitivity, into: Sensitivity, uses: Uses) -> Sensitivity:
        into = self.branch.sweep(times(s, abs(self.share)), into, uses)
        return plus(into, times(s, abs(1 - self.share)))

    @property
    def sharpness(self) -> Sharpness:
        """(a / share, b, share c) of the branch's (a, b, c)."""
        moves = 1.0 if self.branch.mass else 0.0
        sensitivities = self.branch.sensitivity, abs(self.share)
        return composed(LINEAR, self.branch.sharpness, (moves, 0.0), sensitivities)

    def extra_repr(self) -> str:
        return f"share={self.share:g}"


def tower(block: Module, depth: int) -> Module:
    """((1 - 1/depth) Identity + 1/depth block) ** depth, of the block's sensitivity if that is 1, at any depth.

    Its blocks are copies of `block`, drawn anew; its mass is depth times the block's, see `Module.tare`.

    Raises:
        ValueError: depth is less than 1.
    """
    _check_depth(depth)
    return Residual(block, 1 / depth) ** depth


class MLP(Compose):
    """`depth` Linear layers of the given width, with ReLU between them.

    Raises:
        ValueError: depth is less than 1.
    """

    def __init__(
        self, in_features: int, width: int, out_features: int, depth: int, *, device: Any = None, dtype: Any = None
    ) -> None:
        _check_depth(depth)
        sizes = [in_features, *[width] * (depth - 1), out_features]
        steps: list[Module] = []
        for m, n in pairwise(sizes):
            steps += [ReLU(), Linear(m, n, device=device, dtype=dtype)]
        super().__init__(*steps[1:])


class GPT(Compose):
    """modula's transformer: no norms, residual branches that weigh 1 / (2 depth), of sensitivity 1 at any depth.

    A block is a residual `Attention` and then a residual Linear @ GELU @ Linear. The embedding and the output have mass
    1 each, the blocks `blocks_mass` together: with 5, that is 5/7 of the change.

    Args:
        vocab_size: tokens.
        embed_dim: features.
        heads: of each attention.
        depth: blocks.
        context: None for rotary positions, as published; or, for learned ones, the longest sequence. The embedding is
            then the mean of the token's and the position's, which share its mass.
        blocks_mass: of all blocks.
        mlp_ratio: width of the inner layer over embed_dim.
        softmax_scale: of every attention; its sensitivity is (1 + 2 softmax_scale) / 3.
        final_scale: times the logits.

    Raises:
        ValueError: depth is less than 1, blocks_mass is negative or not finite, or as for `Attention`.
    """

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int,
        heads: int,
        depth: int,
        *,
        context: int | None = None,
        blocks_mass: float = 5.0,
        mlp_ratio: int = 4,
        softmax_scale: float = 1.0,
        final_scale: float = 1.0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        _check_depth(depth)
        place = {"device": device, "dtype": dtype}
        width = mlp_ratio * embed_dim
        attention = Attention(embed_dim, heads, softmax_scale=softmax_scale, rope=context is None, **place)
        mlp = Linear(width, embed_dim, **place) @ GELU() @ Linear(embed_dim, width, **place)
        share = 1 / (2 * depth)
        block = Compose({"attention": Residual(attention, share), "mlp": Residual(mlp, share)})
        steps = {
            "embedding": _embedding(vocab_size, embed_dim, context, place),
            "blocks": (block**depth).tare(blocks_mass),
            "unembedding": Linear(embed_dim, vocab_size, **place),
        }
        super().__init__(steps if final_scale == 1 else {**steps, "scale": Mul(final_scale)})


def _embedding(vocab_size: int, embed_dim: int, context: int | None, place: dict[str, Any]) -> Module:
    token = Embedding(vocab_size, embed_dim, **place)
    if context is None:
        return token
    position = Compose({"index": Positions(), "table": Embedding(context, embed_dim, **place)})
    tables = Tuple({"token": token, "position": position})
    return Compose({"tables": tables, "add": Add(), "scale": Mul(0.5)}).tare()


def _check_depth(depth: int) -> None:
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}")
