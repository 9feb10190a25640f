"""Products of manifolds x the largest of the blocks' norms: every block on its own.

The unit ball of max_i weight_i norm_i is the product of the blocks' balls, of radius 1 / weight_i each.
"""

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import Precision, largest_entry
from modular_manifolds.lmo.table import NoLMOError, bounds, directions, find_direction, land, landings, upper_bound
from modular_manifolds.manifolds import Manifold, Product
from modular_manifolds.norms import Blockwise, Norm

Part = tuple[Manifold, Norm, float]


def parts(manifold: Product, norm: Blockwise) -> list[Part]:
    """Manifold, norm and weight of every block.

    Raises:
        NoLMOError: manifold and norm are cut in different places, or a block's own pair has no direction.
    """
    if manifold.blocks != norm.blocks:
        raise NoLMOError(
            f"no LMO for {manifold} x {norm}: the manifold is cut by {manifold.blocks}, the norm by {norm.blocks}; "
            "cut both in the same places"
        )
    blocks = [(m, n, weight) for m, (n, weight) in zip(manifold.factors, norm.parts, strict=True)]
    for m, n, _ in blocks:
        find_direction(m, n)
    return blocks


@directions.register(
    Product,
    Blockwise,
    cost="the blocks' own",
    source="Bernstein, Modular Manifolds, 2025: a product of balls",
    check=parts,
)
def product(
    manifold: Product, norm: Blockwise, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision
) -> Float[Tensor, "*b m n"]:
    """The direction of every block, over its weight."""

    def one(part: Part, w: Tensor, g: Tensor) -> Tensor:
        m, n, weight = part
        return find_direction(m, n)(m, n, w, g / largest_entry(g), precision) / weight

    return manifold.blocks.matrices(parts(manifold, norm), one, w, g)


@landings.register(Product, Blockwise)
def product_landing(
    manifold: Product,
    norm: Blockwise,
    w: Float[Tensor, "*b m n"],
    g: Float[Tensor, "*b m n"],
    lr: float | Tensor,
    precision: Precision,
) -> Float[Tensor, "*b m n"]:
    """Every block lands by itself."""

    def one(part: Part, w: Tensor, g: Tensor) -> Tensor:
        m, n, weight = part
        return land(m, n, w, g / largest_entry(g), lr / weight, precision)

    return manifold.blocks.matrices(parts(manifold, norm), one, w, g)


@bounds.register(Product, Blockwise)
def product_bound(
    manifold: Product, norm: Blockwise, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]
) -> Float[Tensor, "*b"]:
    """The sum of the blocks' bounds, over their weights."""

    def one(part: Part, w: Tensor, g: Tensor) -> Tensor:
        m, n, weight = part
        return upper_bound(m, n, w, g) / weight

    return manifold.blocks.numbers(parts(manifold, norm), one, w, g).sum(-1)
