"""Masses and sensitivities of compositions, and the laws they obey."""

import pytest
import torch

from modular_manifolds import nn


def linear(mass: float = 1.0, size: int = 4) -> nn.Linear:
    return nn.Linear(size, size, mass=mass)


def test_composition_adds_masses_and_multiplies_sensitivities():
    module = 3.0 * linear(2.0) @ nn.RMSNorm(0.5) @ linear(0.5)
    assert module.mass == 2.5
    assert module.sensitivity == 6
    assert module.pullback(0.5) == 3


def test_composition_is_associative():
    a, b, c = linear(1.0), 2.0 * linear(2.0), linear(4.0)
    left, right = (a @ b) @ c, a @ (b @ c)
    assert left.budgets() == right.budgets()
    assert list(left.state_dict()) == list(right.state_dict())
    x = torch.randn(3, 4)
    assert torch.equal(left(x), right(x))
    assert torch.equal(left(x), a(b(c(x))))


def test_a_tuple_adds_both():
    pair = nn.Tuple(linear(2.0), 3.0 * linear(1.0))
    assert pair.mass == 3
    assert pair.sensitivity == 4
    assert pair.budgets() == pytest.approx({"0.weight": 2 / 3, "1.0.weight": 1 / 9})
    x = torch.randn(3, 4)
    assert [y.shape for y in pair(x)] == [(3, 4), (3, 4)]


def test_plain_tuples_on_either_side_of_a_composition():
    a, b, first = linear(), linear(), linear()
    x = torch.randn(3, 4)
    assert torch.equal((nn.Add() @ (a, b) @ first)(x), a(first(x)) + b(first(x)))
    assert torch.equal((nn.Add() @ ((a, b) @ first))(x), a(first(x)) + b(first(x)))
    nested = nn.Tuple(a, (b, nn.Identity()))
    assert nested.sensitivity == 3
    assert (nn.Mul(-2.0) @ nested).sensitivity == 6
    assert torch.equal((nn.Mul(-2.0) @ nested)(x)[1][1], -2 * x)


def test_negative_factors_count_by_their_size():
    assert (nn.Identity() + (-0.5) * linear()).sensitivity == 1.5
    assert (nn.Identity() - 0.5 * linear()).sensitivity == 1.5
    assert (-linear()).sensitivity == 1


def test_sums_and_differences_are_what_they_say():
    a, b, x = linear(), linear(), torch.randn(3, 4)
    assert torch.equal((a + b)(x), a(x) + b(x))
    assert torch.allclose((a - b)(x), a(x) - b(x))
    assert torch.equal((-a)(x), -a(x))


def test_a_factor_after_a_leaf_takes_from_its_budget_and_one_before_does_not():
    """c * f scales what f's weights do; f * c only what goes in."""
    leaf = linear()
    assert (4.0 * leaf).budgets() == {"0.weight": 0.25}
    assert (leaf * 4.0).budgets() == {"1.weight": 1.0}
    assert (4.0 * leaf).sensitivity == (leaf * 4).sensitivity == 4
    x = torch.randn(2, 4)
    assert torch.allclose((4.0 * leaf)(x), (leaf * 4)(x))


def test_a_power_is_made_of_independent_copies():
    block = nn.ReLU() @ linear(2.0)
    tower = block**3
    assert tower.mass == 6
    weights = list(tower.parameters())
    assert len(weights) == 3
    assert not any(torch.equal(w, block.get_parameter("0.weight")) for w in weights)
    assert not torch.equal(weights[0], weights[1])
    assert isinstance(block**0, nn.Identity)
    with pytest.raises(ValueError, match="not -1"):
        block**-1


def test_copies_share_inside_as_the_original_did():
    leaf = linear()
    assert len(list(((leaf @ leaf) ** 3).parameters())) == 3


def test_a_shared_leaf_has_one_mass_and_all_its_sensitivities():
    """The output moves by 3 |u| + |u| when the weight moves by u: once after a factor 3, once directly."""
    leaf, other = linear(2.0), linear(1.0)
    module = 3.0 * leaf @ other + leaf
    assert module.mass == 3
    assert module.budgets() == pytest.approx({"0.0.0.weight": 1 / 9, "0.0.1.weight": 2 / 3 / 4})
    assert module.sensitivity == 4
    assert len(list(module.parameters())) == 2


def test_a_shared_leaf_is_tared_once():
    leaf = linear()
    module = (leaf @ leaf).tare(3.0)
    assert leaf.mass == module.mass == 3


def test_tare_keeps_proportions_inside_and_nests():
    inner = linear(1.0) @ linear(3.0)
    outer = inner.tare(2.0) @ linear(2.0)
    assert [leaf.mass for leaf in inner.leaves()] == [1.5, 0.5]
    assert outer.tare().mass == 1
    assert inner.mass == 0.5


def test_no_mass_cannot_be_scaled():
    with pytest.raises(ValueError, match="Compose has no mass"):
        (nn.ReLU() @ nn.Identity()).tare()
    with pytest.raises(ValueError, match="no mass"):
        linear().tare(0.0).tare()
    with pytest.raises(ValueError, match="not negative"):
        linear().tare(-1.0)


def test_without_mass_or_influence_there_is_no_budget():
    module = linear(0.0) @ linear() + 0.0 * linear()
    assert module.budgets() == {"0.0.0.weight": 0.5, "0.0.1.weight": 0.0, "0.1.0.weight": 0.0}
    assert nn.Identity().budgets() == {}


def test_one_parameter_in_two_leaves_is_refused():
    a, b = linear(), linear()
    b.weight = a.weight
    with pytest.raises(ValueError, match=r"weight of shape \(4, 4\) belongs to two leaves"):
        (a @ b).budgets()


def test_a_parameter_outside_of_leaves_is_refused():
    bond = nn.ReLU()
    bond.slope = torch.nn.Parameter(torch.ones(3))
    with pytest.raises(ValueError, match=r"0.slope of shape \(3,\) belongs to no leaf"):
        (linear() @ bond).budgets()


def test_branches_are_pulled_back_member_by_member():
    """The tuple that attention takes is not equally sensitive to its members, and a factor before it keeps them so."""
    core = nn.AttentionCore(2, softmax_scale=4.0)
    assert core.pullback() == (4, 4, 1)
    assert core.sensitivity == 4
    module = core @ nn.Mul(0.5) @ (linear(), linear(), linear())
    assert module.sensitivity == 4.5
    assert list(module.budgets().values()) == pytest.approx([1 / 6, 1 / 6, 2 / 3])


def test_modular_norm_is_1_where_a_leaf_uses_up_its_budget():
    module = linear() @ nn.ReLU() @ (2.0 * linear(3.0))
    budgets = module.budgets()
    update = {name: torch.zeros(4, 4) for name in budgets}
    assert module.modular_norm(update) == 0
    update["0.weight"] = 2 * budgets["0.weight"] * torch.eye(4)
    assert module.modular_norm(update).item() == pytest.approx(2)
    update["3.weight"] = 3 * budgets["3.weight"] * torch.eye(4)
    assert module.modular_norm(update).item() == pytest.approx(3)
    assert nn.Identity().modular_norm({}) == 0
    frozen = linear(0.0)
    assert frozen.modular_norm({"weight": torch.zeros(4, 4)}) == 0
    assert frozen.modular_norm({"weight": torch.eye(4)}) == float("inf")


def test_convolutions_are_measured_tap_by_tap():
    conv = nn.Conv2d(3, 3, 2)
    update = torch.zeros(3, 3, 2, 2)
    update[:, :, 1, 0] = 0.5 * torch.eye(3)
    assert conv.modular_norm({"weight": update}).item() == pytest.approx(2)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda m: m @ torch.nn.ReLU(),
        lambda m: torch.nn.ReLU() @ m,
        lambda m: m + torch.nn.ReLU(),
        lambda m: m - 1,
        lambda m: m @ 1 / 3 * m,
        lambda m: m * "2",
        lambda m: m**0.5,
        lambda m: m @ (m, torch.nn.ReLU()),
        lambda m: nn.Compose(m, torch.nn.ReLU()),
    ],
)
def test_other_things_do_not_compose(wrong):
    with pytest.raises(TypeError):
        wrong(linear())


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (lambda: nn.Compose(), "at least one"),
        (lambda: nn.Mul(float("nan")), "finite"),
        (lambda: nn.RMSNorm(0.0), "floor must be positive"),
        (lambda: nn.Linear(4, 4, mass=-1.0), "mass must be finite"),
        (lambda: nn.Linear(4, 6, heads=4), "6 features make no 4 equal heads"),
        (lambda: nn.Rope()(torch.ones(2, 3)), "odd number"),
        (lambda: nn.AttentionCore(2, softmax_scale=-1.0), "softmax_scale must be"),
        (lambda: nn.MLP(4, 4, 4, 0), "depth must be at least 1"),
        (lambda: nn.tower(linear(), 0), "depth must be at least 1"),
        (lambda: (nn.Tuple(linear(), linear()) @ linear()).pullback((1.0, 1.0, 1.0)), "3 meets a module for 2"),
    ],
)
def test_bad_settings_are_refused(wrong, match):
    with pytest.raises(ValueError, match=match):
        wrong()


def test_a_leaf_makes_one_tensor():
    with pytest.raises(TypeError, match="expects a tuple of 3"):
        (nn.AttentionCore(2) @ linear()).budgets()
