"""What Riemannian SGD and Adam have in common: they land, converge, resume, and refuse what they cannot honour."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import modular_manifolds as mm
from modular_manifolds.manifolds import Product

STARTS = {
    "sgd": lambda params, **settings: mm.RiemannianSGD(params, **{"lr": 0.1, "momentum": 0.9, **settings}),
    "nesterov": lambda params, **settings: mm.RiemannianSGD(
        params, **{"lr": 0.1, "momentum": 0.8, "nesterov": True, **settings}
    ),
    "adam": lambda params, **settings: mm.RiemannianAdam(params, **{"lr": 0.1, **settings}),
    "amsgrad": lambda params, **settings: mm.RiemannianAdam(params, **{"lr": 0.1, "amsgrad": True, **settings}),
}
MANIFOLDS = [
    mm.Euclidean(),
    mm.Stiefel(2.0),
    mm.Sphere(0.5),
    mm.Oblique("columns", 3.0),
    mm.SymmetricPositiveDefinite(),
    Product((mm.Stiefel(), mm.Sphere()), 2),
]
DTYPES = [torch.float32, torch.float64, torch.bfloat16]

every_optimizer = pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
VELOCITY = {"sgd": "momentum_buffer", "nesterov": "momentum_buffer", "adam": "exp_avg", "amsgrad": "exp_avg"}


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def parameter(*shape, manifold=None, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return nn.Parameter((manifold or mm.Stiefel()).random(shape, generator=generator, dtype=dtype))


def steps(optimizer, count, seed=1):
    """Steps with random gradients."""
    for i in range(count):
        for group in optimizer.param_groups:
            for j, p in enumerate(group["params"]):
                p.grad = normal(*p.shape, seed=seed + 100 * i + j, dtype=p.dtype)
        optimizer.step()


# what they do


@every_optimizer
@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9)], ids=str)
def test_procrustes_is_solved(start, shape):
    """The nearest orthonormal matrix to T maximises <T, W>: it is its polar factor."""
    u, _, vt = torch.linalg.svd(normal(*shape, seed=5), full_matrices=False)
    target = u * torch.linspace(0.5, 1, min(shape), dtype=u.dtype) @ vt
    # from near its optimum, as no path leads from a rotation to a reflection
    p = nn.Parameter(mm.Stiefel().project(u @ vt + normal(*shape, seed=6) / sum(shape) ** 0.5))
    optimizer = start([p])
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
    for _ in range(500):
        optimizer.zero_grad()
        (-(p * target).sum()).backward()
        optimizer.step()
        schedule.step()
    assert (p - u @ vt).norm() < 1e-3


@every_optimizer
@pytest.mark.parametrize("manifold", MANIFOLDS, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_weights_stay_on_the_manifold(start, manifold, dtype):
    p = parameter(6, 6, manifold=manifold, dtype=dtype)
    before = p.detach().clone()
    optimizer = start([p], manifold=manifold)
    steps(optimizer, 20)
    exact = optimizer.state[p].get("master", p.detach())
    assert exact.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert manifold.violation(exact) < (1e-13 if dtype == torch.float64 else 2e-6)
    assert torch.equal(p, exact.to(dtype))
    assert not torch.equal(p, before)


@pytest.mark.parametrize("name", STARTS)
@pytest.mark.parametrize("manifold", MANIFOLDS, ids=str)
def test_velocities_are_tangent_where_they_were_used(name, manifold):
    p = parameter(6, 6, manifold=manifold)
    optimizer = STARTS[name]([p], manifold=manifold)
    for i in range(5):
        before = p.detach().clone()
        steps(optimizer, 1, seed=10 + i)
        v = optimizer.state[p][VELOCITY[name]]
        assert v.norm() > 0.1
        assert torch.allclose(manifold.to_tangent(before, v), v, atol=1e-13)


@every_optimizer
def test_maximize_is_descent_along_the_negative_gradient(start):
    p, q = parameter(6, 3), parameter(6, 3)
    up, down = start([p], maximize=True), start([q])
    for i in range(5):
        p.grad = normal(6, 3, seed=i)
        q.grad = -p.grad
        up.step()
        down.step()
        assert torch.equal(p, q)
        assert torch.equal(p.grad, normal(6, 3, seed=i))


@every_optimizer
def test_batching_changes_nothing_also_for_weights_that_join_late(start):
    """Some weights have no gradient at first, so that their averages and step counts lag behind."""
    together = [parameter(6, 4, seed=i) for i in range(3)]
    apart = [nn.Parameter(p.detach().clone()) for p in together]
    optimizers = [start(together)], [start([p]) for p in apart]
    for step in range(6):
        for i, pair in enumerate(zip(together, apart, strict=True)):
            for p in pair:
                p.grad = normal(6, 4, seed=10 * step + i) if step >= 2 or i == 0 else None
        for optimizer in (o for side in optimizers for o in side):
            optimizer.step()
    for p, q in zip(together, apart, strict=True):
        assert torch.allclose(p, q, atol=1e-13)


@every_optimizer
def test_wide_is_the_transpose_of_tall(start):
    p, q = parameter(7, 3), nn.Parameter(parameter(7, 3).detach().mT.clone())
    tall, wide = start([p]), start([q])
    for i in range(4):
        p.grad = normal(7, 3, seed=i)
        q.grad = p.grad.mT.clone()
        tall.step()
        wide.step()
    assert torch.allclose(p, q.mT, atol=1e-13)


@pytest.mark.parametrize("name", STARTS)
def test_vectors_and_stacks_follow_the_manifold_of_their_group(name):
    vector, bias, stack = (nn.Parameter(normal(*shape)) for shape in [(7,), (5,), (3, 3, 8, 4)])
    groups = [{"params": [vector], "manifold": mm.Sphere()}, {"params": [bias], "manifold": mm.Euclidean()}]
    groups += [{"params": [stack]}, {"params": [nn.Parameter(torch.zeros(0, 4, 3))], "manifold": mm.Stiefel()}]
    mm.project_([*groups[:2], {"params": [stack], "manifold": mm.Stiefel()}])
    optimizer = STARTS[name](groups)
    steps(optimizer, 3)
    assert vector.norm().item() == pytest.approx(1)
    assert bias.norm() > 1.1
    assert mm.Stiefel().violation(stack.detach()).max() < 1e-13
    for p in (vector, bias, stack):
        assert optimizer.state[p][VELOCITY[name]].shape == p.shape


@every_optimizer
def test_bfloat16_steps_too_small_for_bfloat16_add_up(start):
    p = parameter(16, 16, dtype=torch.bfloat16)
    master = mm.Stiefel().project(p.detach().float())
    q = nn.Parameter(master.clone())
    small, reference = start([p], lr=1e-5), start([q], lr=1e-5)
    for i in range(30):
        p.grad = normal(16, 16, seed=i, dtype=torch.bfloat16)
        q.grad = p.grad.float()
        small.step()
        reference.step()
    assert torch.equal(small.state[p]["master"], q)
    assert torch.equal(p, q.bfloat16())
    assert not torch.equal(q, master)
    assert (q - master).abs().median() < 2**-9 * master.abs().median()  # less than bfloat16 resolves


@every_optimizer
def test_a_zero_gradient_moves_nothing(start):
    p = parameter(5, 3)
    before = p.detach().clone()
    optimizer = start([p])
    p.grad = torch.zeros_like(p)
    optimizer.step()
    assert torch.allclose(p, before, atol=1e-15)


# torch.optim's conventions


@every_optimizer
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("lr", [0.05, torch.tensor(0.05)], ids=str)
def test_resumes_bit_for_bit_from_a_weights_only_checkpoint(start, dtype, lr):
    def begin():
        weights = [parameter(6, 3, seed=i, dtype=dtype) for i in range(2)]
        product = Product((mm.Stiefel(), mm.Sphere()), 2)
        fused = parameter(6, 3, manifold=product, dtype=dtype)
        optimizer = start([{"params": weights}, {"params": [fused], "manifold": product}], lr=copy.deepcopy(lr))
        return nn.ParameterList([*weights, fused]), optimizer

    weights, optimizer = begin()
    steps(optimizer, 5)
    file = io.BytesIO()
    torch.save([weights.state_dict(), optimizer.state_dict()], file)
    steps(optimizer, 5, seed=7)

    file.seek(0)
    resumed, fresh = begin()
    for part, saved in zip((resumed, fresh), torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(saved)
    assert [g["manifold"] for g in fresh.param_groups] == [g["manifold"] for g in optimizer.param_groups]
    steps(fresh, 5, seed=7)
    for p, q in zip(weights, resumed, strict=True):
        assert torch.equal(p, q)


@every_optimizer
def test_deepcopy_and_pickle_carry_on(start):
    for copied in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        p = parameter(5, 3)
        optimizer = start([p])
        steps(optimizer, 3)
        q, twin = copied((p, optimizer))
        steps(optimizer, 3)
        steps(twin, 3)
        assert torch.equal(p, q)
        twin.add_param_group({"params": [parameter(4, 2)]})
        assert twin.param_groups[1]["manifold"] == mm.Stiefel()


@every_optimizer
def test_a_closure_is_called_and_its_loss_returned(start):
    p = parameter(5, 3)
    optimizer = start([p], lr=0.05)

    def closure():
        optimizer.zero_grad()
        loss = (p - p.detach().roll(1, 0)).square().sum()
        loss.backward()
        return loss

    values = [optimizer.step(closure).item() for _ in range(2)]
    assert values[0] != values[1]


@every_optimizer
def test_schedulers_that_cycle_momentum_find_it(start):
    optimizer = start([parameter(3, 3)])
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10, base_momentum=0.5, max_momentum=0.7)
    (group,) = optimizer.param_groups
    assert group.get("momentum", group.get("betas", (0,))[0]) == 0.7


def test_project_goes_where_the_groups_live():
    p = nn.Parameter(normal(5, 3))
    mm.project_([{"params": [p], "manifold": mm.Sphere(2.0)}])
    optimizer = mm.RiemannianSGD([p], manifold=mm.Sphere(2.0))
    with torch.no_grad():
        p.mul_(1.5)
    p.grad = torch.zeros_like(p)
    with pytest.raises(ValueError, match="off its manifold"):
        optimizer.step()
    mm.project_(optimizer)
    assert p.norm().item() == pytest.approx(2)
    optimizer.step()


# what they refuse

CLASSES = [mm.RiemannianSGD, mm.RiemannianAdam]
both = pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)


@both
@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"lr": -1.0}, ValueError, "lr must be finite"),
        ({"lr": float("nan")}, ValueError, "lr must be finite"),
        ({"lr": torch.ones(2)}, ValueError, "one element"),
        ({"weight_decay": -0.1}, ValueError, "weight_decay must"),
        ({"weight_decay": 0.1}, ValueError, "already fixes the size"),
        ({"nonfinite": "ignore"}, ValueError, "nonfinite"),
        ({"manifold": None}, TypeError, r"Manifold, got NoneType; Euclidean\(\)"),
        ({"manifold": mm.Sphere}, TypeError, "Manifold"),
        ({"manifold": mm.Sphere(9.0)}, ValueError, "off its manifold"),
        ({"foreach": True}, TypeError, "foreach"),
        ({"fused": True}, TypeError, "fused"),
        ({"stabilize": 10}, TypeError, "stabilize"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_honoured(kind, settings, error, match):
    with pytest.raises(error, match=match):
        kind([parameter(3, 3)], **settings)


@both
def test_manifolds_with_a_boundary_have_no_velocities(kind):
    class Ball(mm.Sphere):
        conic = True

    with pytest.raises(ValueError, match="has a boundary"):
        kind([nn.Parameter(torch.eye(2))], manifold=Ball(2**0.5))


@both
def test_groups_that_say_where_they_live_in_another_way(kind):
    geometry = mm.Geometry(mm.Stiefel(), mm.Spectral())
    with pytest.raises(ValueError, match=f"{kind.__name__} says where it lives by 'manifold', not by 'geometry'"):
        kind([{"params": [parameter(3, 3)], "geometry": geometry}])
    with pytest.raises(ValueError, match="ModularOptimizer says where it lives by 'geometry', not by 'manifold'"):
        mm.ModularOptimizer([{"params": [parameter(3, 3)], "geometry": geometry, "manifold": mm.Stiefel()}])


@both
def test_vectors_need_a_manifold_of_their_own(kind):
    bias = ("bias", nn.Parameter(torch.ones(1)))
    with pytest.raises(ValueError, match=r"bias has shape \(1,\), not that of a matrix; .*Euclidean"):
        kind([("weight", parameter(3, 3)), bias])
    kind([bias], manifold=mm.Euclidean())


@both
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_non_finite_gradient_is_raised_by_name_or_skipped(kind, bad):
    for policy in ("raise", "skip"):
        good, ill = parameter(4, 3), parameter(4, 3)
        optimizer = kind([("good", good), ("ill", ill)], lr=0.1, nonfinite=policy)
        steps(optimizer, 1)
        good.grad = normal(4, 3)
        ill.grad[1, 2] = bad
        before = copy.deepcopy([good.detach(), ill.detach(), optimizer.state_dict()["state"]])
        if policy == "raise":
            with pytest.raises(ValueError, match="gradient of ill has a NaN or an Inf; nothing has been changed"):
                optimizer.step()
        else:
            optimizer.step()
        assert torch.equal(good, before[0]) == (policy == "raise")
        assert torch.equal(ill, before[1])
        after = optimizer.state_dict()["state"].get(1, {})
        assert all(torch.equal(value, before[2][1][name]) for name, value in after.items())


@both
def test_the_state_of_another_optimizer_is_refused(kind):
    p = parameter(3, 3)
    optimizer = kind([p])
    (other,) = (other for other in CLASSES if other is not kind)
    for saved, missing in [
        (torch.optim.AdamW([p]), "manifold"),
        (mm.ManifoldMuon([p]), "manifold"),
        (other([p]), "betas" if kind is mm.RiemannianAdam else "momentum"),
    ]:
        with pytest.raises(ValueError, match=f"group 0 of this state has no '{missing}'"):
            optimizer.load_state_dict(saved.state_dict())
