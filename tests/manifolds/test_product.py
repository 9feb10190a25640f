"""Product: every block on its own manifold, as if alone."""

import pickle

import pytest
import torch
from torch import Tensor

from modular_manifolds.blocks import Blocks
from modular_manifolds.manifolds import (
    Euclidean,
    FixedRank,
    LowRankFactors,
    Manifold,
    NoClosedFormError,
    Oblique,
    Product,
    SpectralBall,
    Sphere,
    Stiefel,
)

MIXED = (Sphere(2.0), Stiefel(0.5), Euclidean())
PRODUCTS = [
    (Product(MIXED, (2, 4, 3)), (9, 3)),
    (Product(MIXED, (2, 4, 3), "columns"), (2, 3, 9)),
    (Product(MIXED, 3), (9, 3)),
    (Product(Stiefel(3.0), 2), (2, 8, 3)),
    (Product(Sphere(), (2, 2, 2), "columns"), (4, 6)),
    (Product(Sphere(), (1, 3)), (4, 6)),
    (Product((LowRankFactors(3), Oblique("columns")), (5, 3)), (8, 2)),
    (Product((Product(Sphere(), 2, "columns"), FixedRank(2)), 2), (2, 6, 4)),
]

every_product = pytest.mark.parametrize(("product", "shape"), PRODUCTS, ids=str)


def normal(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cut(product: Product, x: Tensor) -> list[Tensor]:
    axis = -2 if product.axis == "rows" else -1
    return list(
        x.split(list(product.split), axis) if isinstance(product.split, tuple) else x.chunk(product.split, axis)
    )


def factors(product: Product, x: Tensor) -> list[Manifold]:
    return (
        list(product.manifolds) if isinstance(product.manifolds, tuple) else [product.manifolds] * len(cut(product, x))
    )


def alone(product: Product, name: str, *tensors: Tensor) -> list[Tensor]:
    """The results of a method of every block's manifold."""
    cuts = (cut(product, x) for x in tensors)
    return [getattr(one, name)(*blocks) for one, *blocks in zip(factors(product, tensors[0]), *cuts, strict=True)]


def joined(product: Product, blocks: list[Tensor]) -> Tensor:
    return torch.cat(blocks, -2 if product.axis == "rows" else -1)


@every_product
def test_every_block_is_as_if_alone(product, shape):
    x = product.random(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    g = normal(shape, 1)
    u = product.to_tangent(x, g)
    for name, arguments in (
        ("project", (g,)),
        ("to_tangent", (x, g)),
        ("retract", (x, 0.1 * u)),
        ("whiten", (x, u)),
        ("unwhiten", (x, u)),
        ("from_gaussian", (g,)),
    ):
        result = getattr(product, name)(*arguments)
        assert torch.allclose(result, joined(product, alone(product, name, *arguments)), atol=1e-13), name
        assert result.is_contiguous()
    for y in (x, g):
        assert torch.allclose(product.violation(y), torch.stack(alone(product, "violation", y)).amax(0), atol=1e-14)
    assert product.violation(x).max() < 1e-14
    shapes = [tuple(block.shape) for block in cut(product, x)]
    counts = [one.dimension(block) for one, block in zip(factors(product, x), shapes, strict=True)]
    assert product.dimension(shape) == sum(counts)


GEODESIC = [
    product
    for product in PRODUCTS
    if not any(isinstance(one, LowRankFactors | FixedRank | Product | Stiefel) for one in product[0].factors)
] + [(Product((Sphere(2.0), Euclidean()), (3, 2)), (2, 5, 4))]


@pytest.mark.parametrize(("product", "shape"), GEODESIC, ids=str)
def test_geodesics_are_pairs_of_geodesics(product, shape):
    x, y = (product.random(shape, generator=torch.Generator().manual_seed(k), dtype=torch.float64) for k in (0, 1))
    u, v = (product.to_tangent(x, normal(shape, k)) for k in (2, 3))
    for name, arguments in (("exp", (x, u)), ("log", (x, y)), ("transport", (x, u, v))):
        result = getattr(product, name)(*arguments)
        assert torch.allclose(result, joined(product, alone(product, name, *arguments)), atol=1e-13)
    assert torch.allclose(product.exp(x, product.log(x, y)), y, atol=1e-12)
    distance = torch.stack(alone(product, "distance", x, y)).square().sum(0).sqrt()
    assert torch.allclose(product.distance(x, y), distance)
    assert torch.allclose(distance, product.log(x, y).norm(dim=(-2, -1)))
    w = product.transport(x, u, v)
    assert torch.allclose(product.inner(x, v, v), product.inner(product.exp(x, u), w, w))


def test_what_a_factor_has_no_closed_form_for_the_product_has_none_for():
    product = Product((Euclidean(), FixedRank(1)), 2)
    with pytest.raises(NoClosedFormError, match=r"FixedRank\(rank=1\) has no closed form"):
        product.log(*[product.random((4, 3))] * 2)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_distances_at_the_ends_of_the_range(scale):
    product = Product(Euclidean(), (1, 2))
    x = scale * torch.eye(3)
    assert product.distance(x, -x).item() == pytest.approx(2 * 3**0.5 * scale, rel=1e-6)


def test_order_and_boundary_are_the_worst_factor_s():
    assert Product((Sphere(), LowRankFactors(1)), 2).retraction_order == 1
    assert Product(FixedRank(1), 2).retraction_order == FixedRank.retraction_order == 2
    assert Product((Sphere(), SpectralBall()), 2).conic
    assert not Product((Sphere(), Stiefel()), 2).conic


class Counting(Euclidean):
    """Euclidean, noting the shapes that it is called with."""

    seen: list[tuple[int, ...]] = []  # noqa: RUF012

    def project(self, x: Tensor) -> Tensor:
        self.seen.append(tuple(x.shape))
        return super().project(x)


@pytest.mark.parametrize("split", [4, (2, 2, 2, 2)], ids=str)
@pytest.mark.parametrize("axis", ["rows", "columns"])
def test_equal_blocks_are_one_batch(split, axis):
    Counting.seen.clear()
    Product(Counting(), split, axis).project(normal((3, 8, 8)))
    assert Counting.seen == [(3, 4, 2, 8) if axis == "rows" else (3, 4, 8, 2)]


@every_product
def test_arguments_are_left_alone(product, shape):
    x, g = product.random(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64), normal(shape)
    kept = x.clone(), g.clone()
    for result in (product.project(g), product.to_tangent(x, g), product.retract(x, g), product.violation(x)):
        result.fill_(7.0)
        assert torch.equal(x, kept[0])
        assert torch.equal(g, kept[1])


@pytest.mark.parametrize("axis", ["rows", "columns"])
@pytest.mark.parametrize("split", [1, 2, (1, 3), (4,), (2, 1, 1)], ids=str)
def test_cut_and_join(split, axis):
    x = normal((2, 4, 4))
    blocks = Blocks(split, axis)
    pieces = blocks.cut(x)
    assert len(pieces) == len(blocks) == len(blocks.sizes(x.shape))
    assert [tuple(piece.shape[-2:]) for piece in pieces] == blocks.shapes(x.shape)
    assert torch.equal(blocks.join(pieces), x)
    assert torch.equal(blocks.matrices([None] * len(blocks), lambda _, x: x + 1, x), x + 1)
    entries = blocks.numbers([None] * len(blocks), lambda _, x: x.sum((-2, -1)), x)
    assert torch.allclose(entries, torch.stack([piece.sum((-2, -1)) for piece in pieces], -1))


def test_products_are_values():
    for product, _ in PRODUCTS:
        assert eval(repr(product)) == product
        assert pickle.loads(pickle.dumps(product)) == product
        assert hash(pickle.loads(pickle.dumps(product))) == hash(product)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: Product(Sphere(), 0), ValueError, "split must be .* got 0"),
        (lambda: Product(Sphere(), (1, 0)), ValueError, r"split must be .* got \(1, 0\)"),
        (lambda: Product((Sphere(),), (1, 2)), ValueError, "manifolds has 1 entries for 2 blocks"),
        (lambda: Product(Sphere(), 2, "diagonal"), ValueError, "axis must be 'rows' or 'columns', got 'diagonal'"),
        (lambda: Product((Sphere(), Sphere), 2), TypeError, "manifolds must be made of Manifold, got"),
    ],
)
def test_bad_products_are_refused(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    "call",
    [
        lambda manifold, x: manifold.project(x),
        lambda manifold, x: manifold.to_tangent(x, x),
        lambda manifold, x: manifold.retract(x, x),
        lambda manifold, x: manifold.distance(x, x),
        lambda manifold, x: manifold.violation(x),
        lambda manifold, x: manifold.random(x.shape),
        lambda manifold, x: manifold.dimension(x.shape),
    ],
)
def test_shapes_that_cannot_be_cut_are_refused(call):
    with pytest.raises(ValueError, match=r"5 rows of a tensor of shape \(5, 4\) make no 2 equal blocks"):
        call(Product(Sphere(), 2), torch.ones(5, 4))
    with pytest.raises(ValueError, match=r"blocks of \(2, 3\) columns make 5, but a tensor of shape \(5, 4\) has 4"):
        call(Product(Sphere(), (2, 3), "columns"), torch.ones(5, 4))
