"""ModularOptimizer keeps torch.optim's conventions, and refuses what it cannot do before it changes anything."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import modular_manifolds as mm
from modular_manifolds.optim import batches as batches_module

STIEFEL = mm.Geometry(mm.Stiefel(), mm.Spectral())
DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def parameter(*shape: int, name: str = "w", dtype: torch.dtype = torch.float32) -> tuple[str, nn.Parameter]:
    return name, nn.Parameter(mm.Stiefel().random(shape, dtype=dtype))


def equal(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


# what it does


def test_it_takes_the_step_of_the_geometry():
    torch.manual_seed(0)
    _, p = parameter(9, 4)
    before, g = p.detach().clone(), torch.randn(9, 4)
    p.grad = g.clone()
    mm.ModularOptimizer([{"params": [p], "geometry": STIEFEL}], lr=0.1, momentum=0).step()
    assert torch.allclose(p, STIEFEL.step(before, g, 0.1), atol=1e-6)
    assert torch.equal(p.grad, g)


@pytest.mark.parametrize("nesterov", [True, False])
def test_momentum_is_that_of_torch_muon(nesterov):
    torch.manual_seed(0)
    _, p = parameter(6, 3)
    w, average = p.detach().clone(), torch.zeros(6, 3)
    optimizer = mm.ModularOptimizer([{"params": [p], "geometry": STIEFEL}], lr=0.1, momentum=0.8, nesterov=nesterov)
    for _ in range(4):
        g = torch.randn(6, 3)
        p.grad = g.clone()
        optimizer.step()
        average = 0.8 * average + 0.2 * g
        w = STIEFEL.step(w, 0.2 * g + 0.8 * average if nesterov else average, 0.1)
    assert torch.allclose(p, w, atol=1e-5)


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("geometry", [STIEFEL, mm.Geometry(mm.Sphere(2.0), mm.Frobenius())], ids=str)
def test_momentum_on_the_tangent_moves_along_with_the_weight(geometry, nesterov):
    """Against the velocity that is carried at once; the optimizer does it at the next step."""
    torch.manual_seed(0)
    manifold = geometry.manifold
    w = manifold.random((6, 3), dtype=torch.float64)
    p, v = nn.Parameter(w.clone()), torch.zeros_like(w)
    plain = nn.Parameter(w.clone())
    settings = {"lr": 0.3, "momentum": 0.8, "nesterov": nesterov}
    optimizer = mm.ModularOptimizer([{"params": [p], "geometry": geometry}], momentum_on="tangent", **settings)
    other = mm.ModularOptimizer([{"params": [plain], "geometry": geometry}], **settings)
    for _ in range(5):
        g = torch.randn(6, 3, dtype=torch.float64)
        p.grad, plain.grad = g.clone(), g.clone()
        optimizer.step()
        other.step()
        tangent = manifold.to_tangent(w, g)
        v = 0.8 * v + 0.2 * tangent
        assert torch.allclose(optimizer.state[p]["momentum"], v, atol=1e-13)
        w = geometry.step(w, 0.2 * tangent + 0.8 * v if nesterov else v, 0.3)
        v = manifold.to_tangent(w, v)
        assert torch.allclose(p, w, atol=1e-12)
        assert torch.equal(p.grad, g)
    assert not torch.allclose(p, plain, atol=1e-3)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_momentum_on_the_tangent_learns_resumes_and_batches(network, grouped, train, dtype):
    def start():
        model = network(dtype)
        return model, mm.ModularOptimizer(grouped(model), lr=0.05, momentum_on="tangent")

    model, optimizer = start()
    first = train(model, optimizer, 1)
    train(model, optimizer, 9)
    saved = copy.deepcopy([model.state_dict(), optimizer.state_dict()])
    assert train(model, optimizer, 30) < 0.7 * first
    resumed, optimizer = start()
    resumed.load_state_dict(saved[0])
    optimizer.load_state_dict(saved[1])
    assert optimizer.param_groups[0]["momentum_on"] == "tangent"
    train(resumed, optimizer, 30)
    assert equal(model, resumed)
    for p in model.parameters():
        assert optimizer.state[p].get("momentum", torch.zeros(1, dtype=torch.float64)).dtype != torch.bfloat16
    if dtype == torch.float64:
        apart = network(dtype)
        groups = [{**g, "params": [item]} for g in grouped(apart) for item in g["params"]]
        train(apart, mm.ModularOptimizer(groups, lr=0.05, momentum_on="tangent"), 40)
        for p, q in zip(model.parameters(), apart.parameters(), strict=True):
            assert torch.allclose(p, q, atol=1e-9)


def test_momentum_on_the_tangent_is_refused_where_velocities_form_no_space():
    class Ball(mm.Sphere):
        conic = True

    geometry = mm.Geometry(Ball(3**0.5), mm.Frobenius())
    group = {"params": [nn.Parameter(torch.eye(3))], "geometry": geometry}
    mm.ModularOptimizer([group])
    refused([group], ValueError, "has a boundary.*momentum_on='gradient'", momentum_on="tangent")
    refused([{**group, "geometry": None}], ValueError, "momentum_on must be", momentum_on="velocity")


def test_iterative_directions_start_where_the_last_one_ended():
    geometry = mm.Geometry(mm.Oblique(), mm.Spectral())
    assert geometry.remembers
    w = mm.Oblique().random((6, 4), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p, memory = nn.Parameter(w.clone()), torch.zeros_like(w)
    optimizer = mm.ModularOptimizer([{"params": [p], "geometry": geometry}], lr=0.01, momentum=0)
    for seed in range(3):
        p.grad = torch.randn(6, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        optimizer.step()
        w = geometry.step(w, p.grad, 0.01, memory)
        assert torch.allclose(p, w, atol=1e-9)
        assert torch.allclose(optimizer.state[p]["memory"], memory, atol=1e-9)
    assert memory.norm() > 0.1


def test_checkpoints_from_before_a_setting_get_its_default(network, grouped, train):
    model = network()
    optimizer = mm.ModularOptimizer(grouped(model), lr=0.05)
    train(model, optimizer, 2)
    saved = optimizer.state_dict()
    for group in saved["param_groups"]:
        del group["momentum_on"]
    optimizer.load_state_dict(saved)
    assert optimizer.param_groups[0]["momentum_on"] == "gradient"


def test_a_group_without_geometry_is_torch_adamw(network, grouped, train):
    ours, theirs = network(), network()
    settings = {"lr": 3e-3, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.2}
    train(ours, mm.ModularOptimizer([{"params": list(ours.parameters()), "geometry": None}], **settings), 20)
    train(theirs, torch.optim.AdamW(theirs.parameters(), **settings), 20)
    assert equal(ours, theirs)


def test_batching_changes_nothing(network, grouped, train):
    together, apart = network(), network()
    train(together, mm.ModularOptimizer(grouped(together), lr=0.05), 10)
    groups = [{**g, "params": [item]} for g in grouped(apart) for item in g["params"]]
    train(apart, mm.ModularOptimizer(groups, lr=0.05), 10)
    for p, q in zip(together.parameters(), apart.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_weights_stay_on_the_manifold_and_learn(network, grouped, train, dtype):
    model = network(dtype)
    optimizer = mm.ModularOptimizer(grouped(model), lr=0.05)
    first = train(model, optimizer, 1)
    assert train(model, optimizer, 40) < 0.7 * first
    for p in model.parameters():
        if p.ndim == 2:
            exact = optimizer.state[p].get("master", p.detach())
            assert exact.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
            assert mm.Stiefel().violation(exact) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("shape", [(32, 32), (40, 9), (9, 40), (33, 32), (128, 64)], ids=str)
def test_ten_thousand_steps_do_not_drift(shape, precision):
    torch.manual_seed(0)
    _, p = parameter(*shape)
    optimizer = mm.ManifoldMuon([p], lr=0.1, precision=precision)
    for _ in range(10_000):
        p.grad = torch.randn(shape)
        optimizer.step()
    assert mm.Stiefel().violation(p.detach()) < 1e-6
    assert (torch.linalg.svdvals(p.detach().double()) - 1).abs().max() < 1e-6


def test_bfloat16_steps_too_small_for_bfloat16_add_up():
    torch.manual_seed(0)
    _, p = parameter(16, 16, dtype=torch.bfloat16)
    master, g = mm.Stiefel().project(p.detach().float()), torch.randn(16, 16).bfloat16()
    optimizer = mm.ManifoldMuon([p], lr=1e-5, momentum=0)
    start = master.clone()
    for _ in range(300):
        p.grad = g
        optimizer.step()
        master = STIEFEL.step(master, g.float(), 1e-5)
    assert (master - start).norm() > 0.9 * 300e-5 * 4
    assert torch.equal(p, master.bfloat16())


def test_vectors_and_conv_stacks_follow_their_geometry():
    torch.manual_seed(0)
    vector, stack = nn.Parameter(torch.randn(7)), nn.Parameter(torch.randn(3, 3, 8, 4))
    groups = [
        {"params": [vector], "geometry": mm.Geometry(mm.Sphere(), mm.Frobenius())},
        {"params": [stack], "geometry": STIEFEL},
    ]
    mm.project_(groups)
    optimizer = mm.ModularOptimizer(groups, lr=0.1)
    vector.grad, stack.grad = torch.randn(7), torch.randn(3, 3, 8, 4)
    optimizer.step()
    assert vector.norm().item() == pytest.approx(1, abs=1e-6)
    assert mm.Stiefel().violation(stack.detach()).shape == (3, 3)
    assert mm.Stiefel().violation(stack.detach()).max() < 1e-5


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_scale_of_the_gradient_does_not_matter(scale):
    torch.manual_seed(0)
    g = torch.randn(12, 5)
    results = []
    for s in (1.0, scale):
        torch.manual_seed(1)
        _, p = parameter(12, 5)
        optimizer = mm.ManifoldMuon([p], lr=0.1)
        for _ in range(3):
            p.grad = g * s
            optimizer.step()
        results.append(p.detach())
    assert (results[0] - results[1]).abs().max() < 1e-4


def test_zero_gradients_and_empty_tensors_change_nothing():
    _, p = parameter(5, 3)
    empty = nn.Parameter(torch.zeros(0, 4, 3))
    before = p.detach().clone()
    optimizer = mm.ManifoldMuon([p, empty], lr=0.1)
    p.grad, empty.grad = torch.zeros(5, 3), torch.zeros(0, 4, 3)
    optimizer.step()
    assert torch.allclose(p, before, atol=1e-6)


def test_euclidean_groups_may_decay():
    p = nn.Parameter(torch.ones(3, 2))
    p.grad = torch.zeros(3, 2)
    euclidean = mm.Geometry(mm.Euclidean(), mm.Spectral())
    mm.ModularOptimizer([{"params": [p], "geometry": euclidean, "weight_decay": 0.5}], lr=0.1).step()
    assert torch.allclose(p, torch.full((3, 2), 0.95))


# torch.optim's conventions


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("lr", [0.05, torch.tensor(0.05)], ids=str)
def test_resumes_bit_for_bit_from_a_weights_only_checkpoint(network, grouped, train, dtype, lr):
    def start():
        model = network(dtype)
        optimizer = mm.ModularOptimizer(grouped(model), lr=copy.deepcopy(lr))
        return model, optimizer, torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, 30)

    model, optimizer, scheduler = start()
    train(model, optimizer, 10, scheduler)
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict(), scheduler.state_dict()], file)
    undisturbed = train(model, optimizer, 10, scheduler)

    file.seek(0)
    resumed, optimizer, scheduler = start()
    for part, saved in zip((resumed, optimizer, scheduler), torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(saved)
    assert train(resumed, optimizer, 10, scheduler) == undisturbed
    assert equal(model, resumed)


def test_a_loaded_state_is_a_copy(network, grouped, train):
    model = network()
    optimizer = mm.ModularOptimizer(grouped(model), lr=0.05)
    train(model, optimizer, 2)
    saved = optimizer.state_dict()
    kept = copy.deepcopy(saved)
    other = network()
    twin = mm.ModularOptimizer(grouped(other), lr=0.05)
    twin.load_state_dict(saved)
    train(other, twin, 2)
    for key, state in kept["state"].items():
        for name, value in state.items():
            assert torch.equal(value, saved["state"][key][name])


def test_state_dict_hooks_are_honoured(network, grouped, train):
    model = network()
    optimizer = mm.ModularOptimizer(grouped(model), lr=0.05)
    train(model, optimizer, 1)

    def halve(_, state_dict):
        groups = [{**g, "lr": g["lr"] / 2} for g in state_dict["param_groups"]]
        return {**state_dict, "param_groups": groups}

    optimizer.register_load_state_dict_pre_hook(halve)
    optimizer.load_state_dict(optimizer.state_dict())
    assert [g["lr"] for g in optimizer.param_groups] == [0.025, 0.005]


def test_hooks_see_plain_data_and_may_replace_the_state(network, grouped, train):
    model = network()
    optimizer = mm.ModularOptimizer(grouped(model), lr=0.05)
    train(model, optimizer, 1)
    seen = []
    optimizer.register_state_dict_post_hook(lambda _, state: seen.append(state["param_groups"][0]["geometry"]))
    saved = optimizer.state_dict()
    assert seen == [STIEFEL.to_dict()]
    fresh = mm.ModularOptimizer(grouped(network()))
    fresh.register_load_state_dict_pre_hook(lambda *_: saved)
    fresh.load_state_dict({"state": {}, "param_groups": []})
    assert fresh.param_groups[0]["geometry"] == STIEFEL
    assert fresh.param_groups[0]["lr"] == 0.05


def test_a_state_of_another_precision_is_cast(network, grouped, train):
    single, double = network(), network(torch.float64)
    optimizer = mm.ModularOptimizer(grouped(single), lr=0.05)
    train(single, optimizer, 2)
    other = mm.ModularOptimizer(grouped(double), lr=0.05)
    other.load_state_dict(optimizer.state_dict())
    train(double, other, 2)
    assert other.state[double[0].weight]["momentum"].dtype == torch.float64


def test_the_state_of_another_optimizer_is_refused(network, grouped):
    model = network()
    optimizer = mm.ModularOptimizer(grouped(model))
    before = [dict(g) for g in optimizer.param_groups]
    weights, biases = (g["params"] for g in grouped(model))
    other = torch.optim.AdamW([{"params": weights}, {"params": biases}])
    with pytest.raises(ValueError, match="group 0 of this state has no 'geometry'"):
        optimizer.load_state_dict(other.state_dict())
    assert optimizer.param_groups == before


def test_deepcopy_and_pickle_carry_on(network, grouped, train):
    for copied in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        model = network()
        optimizer = mm.ModularOptimizer(grouped(model), lr=0.05)
        train(model, optimizer, 5)
        twin, twin_optimizer = copied((model, optimizer))
        assert train(model, optimizer, 5) == train(twin, twin_optimizer, 5)
        assert equal(model, twin)


def test_closure_maximize_and_step_hooks():
    torch.manual_seed(0)
    target = torch.randn(6, 3)
    _, p = parameter(6, 3)
    optimizer = mm.ModularOptimizer([{"params": [p], "geometry": STIEFEL}], lr=0.05, maximize=True)
    called = []
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))

    def closure():
        optimizer.zero_grad()
        value = (p * target).sum()
        value.backward()
        return value

    values = [optimizer.step(closure).item() for _ in range(60)]
    assert called[:2] == ["before", "after"]
    assert values[-1] > 0.95 * torch.linalg.svdvals(target).sum()
    assert values[-1] > values[0]


def test_groups_can_be_added_in_mid_run(network, grouped, train):
    model = network()
    first, second = grouped(model)
    optimizer = mm.ModularOptimizer([first], lr=0.05)
    train(model, optimizer, 3)
    optimizer.add_param_group(second)
    bias = model[0].bias.detach().clone()
    train(model, optimizer, 3)
    assert not torch.equal(bias, model[0].bias)


def test_parameters_without_gradient_and_empty_groups_are_passed_over():
    _, p = parameter(4, 2)
    groups = [{"params": [p], "geometry": STIEFEL}, {"params": [], "geometry": None}]
    optimizer = mm.ModularOptimizer(groups, lr=0.1)
    before = p.detach().clone()
    assert optimizer.step() is None
    assert torch.equal(p, before)
    assert not optimizer.state


def test_works_with_amp_grad_scaler_and_clipping(network, grouped):
    model = network()
    optimizer = mm.ModularOptimizer(grouped(model), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    before = [p.detach().clone() for p in model.parameters()]
    scaler.scale(model(torch.randn(4, 8)).square().mean()).backward()
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    assert all(not torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


def test_the_users_groups_are_not_written_to(network, grouped):
    groups = grouped(network())
    kept = [dict(g) for g in groups]
    mm.ModularOptimizer(groups, lr=0.05)
    assert groups == kept


# what it refuses


def refused(groups, error, match, **settings):
    with pytest.raises(error, match=match):
        mm.ModularOptimizer(groups, **settings)


def test_off_the_manifold_says_how_far_and_what_to_do():
    groups = [{"params": [("layer.weight", nn.Parameter(2 * torch.eye(3)))], "geometry": STIEFEL}]
    refused(groups, ValueError, r"layer\.weight of shape \(3, 3\) is off .*Stiefel.*violation 3,.*project_")
    mm.project_(groups)
    mm.ModularOptimizer(groups)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_weights_are_off_the_manifold(bad):
    refused([{"params": [nn.Parameter(torch.full((2, 2), bad))], "geometry": STIEFEL}], ValueError, "off its manifold")


def test_a_weight_moved_from_outside_is_noticed_at_the_next_step():
    name, p = parameter(4, 3)
    optimizer = mm.ModularOptimizer([{"params": [(name, p)], "geometry": STIEFEL}])
    p.grad = torch.randn(4, 3)
    optimizer.step()
    with torch.no_grad():
        p.mul_(1.1)
    moved = p.detach().clone()
    with pytest.raises(ValueError, match=r"w of shape.*violation 0\.21"):
        optimizer.step()
    assert torch.equal(p, moved)
    mm.project_(optimizer)
    optimizer.step()


def test_a_weight_nobody_touched_is_not_looked_at_again(monkeypatch):
    _, p = parameter(4, 3)
    optimizer = mm.ModularOptimizer([{"params": [p], "geometry": STIEFEL}])
    monkeypatch.setattr(mm.Stiefel, "violation", lambda *_: pytest.fail("checked without need"))
    for _ in range(3):
        p.grad = torch.randn(4, 3)
        optimizer.step()


@pytest.mark.parametrize(
    "edit", [{"lr": float("nan")}, {"lr": -0.1}, {"weight_decay": 0.1}, {"momentum": 2.0}], ids=str
)
def test_settings_edited_out_of_range_are_noticed_before_the_step(edit):
    (_, p), (_, q) = parameter(4, 3), parameter(4, 3)
    optimizer = mm.ModularOptimizer([{"params": [p], "geometry": STIEFEL}, {"params": [q], "geometry": STIEFEL}])
    optimizer.param_groups[1].update(edit)
    before = p.detach().clone()
    p.grad, q.grad = torch.randn(4, 3), torch.randn(4, 3)
    with pytest.raises(ValueError, match=next(iter(edit)).replace("_", ".")):
        optimizer.step()
    assert torch.equal(p, before)


def test_unclaimed_parameters_are_named():
    name, p = parameter(3, 3, name="stray")
    refused([(name, p)], ValueError, "nothing claims stray")
    refused([{"params": [(name, p)]}], ValueError, "'geometry'")
    refused([{"params": [p], "geometry": "stiefel"}], TypeError, "Geometry or None, got str")


def test_weight_decay_on_a_manifold_says_why():
    name, p = parameter(3, 3)
    group = {"params": [(name, p)], "geometry": STIEFEL, "weight_decay": 0.1}
    refused([group], ValueError, "already fixes the size")
    refused([{**group, "weight_decay": 0.0}], ValueError, "negative", lr=-0.1)


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": float("nan")},
        {"lr": float("inf")},
        {"lr": torch.tensor([0.1, 0.2])},
        {"lr": torch.tensor(-0.1)},
        {"momentum": 1.0},
        {"momentum": -0.1},
        {"nonfinite": "ignore"},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings):
    (name,) = settings
    refused([{"params": [parameter(3, 3)], "geometry": STIEFEL}], ValueError, name, **settings)


@pytest.mark.parametrize("geometry", [STIEFEL, None], ids=["stiefel", "adamw"])
@pytest.mark.parametrize(
    ("tensor", "error", "match"),
    [
        (torch.ones(2, 2, dtype=torch.int64), TypeError, "int64"),
        (torch.eye(2, dtype=torch.complex64), TypeError, "complex64"),
        (torch.eye(2).to_sparse(), TypeError, "sparse"),
        ([1.0, 2.0], TypeError, "no tensor"),
        (torch.eye(2, requires_grad=True) * 1.0, ValueError, "non-leaf"),
    ],
    ids=["integer", "complex", "sparse", "list", "non-leaf"],
)
def test_tensors_that_cannot_be_stepped_are_refused(geometry, tensor, error, match):
    refused([{"params": [tensor], "geometry": geometry}], error, match)


@pytest.mark.parametrize("settings", [{"betas": (0.9, 1.0)}, {"betas": (0.9,)}, {"eps": -1.0}], ids=str)
def test_adamw_settings_out_of_range_are_refused(settings):
    (name,) = settings
    refused([{"params": [parameter(3, 3)], "geometry": None}], ValueError, name, **settings)


def test_duplicates_and_empty_lists_are_refused():
    _, p = parameter(3, 3)
    refused([{"params": [p, p], "geometry": STIEFEL}], ValueError, "occurs twice")
    refused([{"params": [p], "geometry": g} for g in (STIEFEL, None)], ValueError, "more than one parameter group")
    refused([], ValueError, "empty parameter list")
    refused(p, TypeError, "iterable of Tensors or dicts")
    refused([{"params": {p}, "geometry": STIEFEL}], TypeError, "ordered")
    refused([{"params": [p], "geometry": STIEFEL}, p], TypeError, "must be a dict")


def test_a_refused_group_leaves_the_optimizer_as_it_was():
    _, p = parameter(3, 3)
    optimizer = mm.ModularOptimizer([{"params": [p], "geometry": STIEFEL}])
    with pytest.raises(ValueError, match="off its manifold"):
        optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2, 2))], "geometry": STIEFEL})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("geometry", [STIEFEL, None], ids=["stiefel", "adamw"])
def test_a_non_finite_gradient_is_raised_by_name_or_skipped(geometry, bad):
    torch.manual_seed(0)
    good, ill = parameter(4, 3, name="good"), parameter(4, 3, name="ill")
    for policy in ("raise", "skip"):
        groups = [{"params": [good], "geometry": STIEFEL}, {"params": [ill], "geometry": geometry}]
        optimizer = mm.ModularOptimizer(groups, lr=0.1, nonfinite=policy)
        for _, p in (good, ill):
            p.grad = torch.randn(4, 3)
        optimizer.step()
        ill[1].grad[1, 2] = bad
        before = copy.deepcopy([good[1].detach(), ill[1].detach(), optimizer.state_dict()["state"]])
        if policy == "raise":
            with pytest.raises(ValueError, match="gradient of ill has a NaN or an Inf; nothing has been changed"):
                optimizer.step()
            assert torch.equal(good[1], before[0])
        else:
            optimizer.step()
            assert not torch.equal(good[1], before[0])
        assert torch.equal(ill[1], before[1])
        after = optimizer.state_dict()["state"]
        for key in after if policy == "raise" else [1]:
            assert all(torch.equal(after[key][name], before[2][key][name]) for name in after[key])


def test_sparse_gradients_are_refused_with_nothing_changed():
    embedding = nn.Embedding(5, 3, sparse=True)
    name, p = parameter(4, 3)
    mm.project_(embedding, mm.Stiefel())
    groups = [{"params": [(name, p), ("embedding", embedding.weight)], "geometry": STIEFEL}]
    optimizer = mm.ModularOptimizer(groups)
    embedding(torch.tensor([1, 2])).sum().backward()
    p.grad = torch.randn(4, 3)
    before = p.detach().clone()
    with pytest.raises(TypeError, match="gradient of embedding is sparse"):
        optimizer.step()
    assert torch.equal(p, before)


def test_a_state_of_another_shape_is_refused(network, grouped):
    first, second = grouped(network())
    saved = mm.ModularOptimizer([first, second]).state_dict()
    with pytest.raises(ValueError, match="different number of parameter groups"):
        mm.ModularOptimizer([first]).load_state_dict(saved)


def test_a_budget_is_a_share_of_the_learning_rate():
    ends = []
    for lr, budget in ((0.2, 0.25), (0.05, 1.0)):
        w = torch.nn.Parameter(mm.Stiefel().random((6, 4), generator=torch.Generator().manual_seed(0)))
        b = torch.nn.Parameter(torch.zeros(4))
        groups = [
            {"params": [w], "geometry": mm.Geometry(mm.Stiefel(), mm.Spectral()), "budget": budget},
            {"params": [b], "geometry": None, "budget": budget},
        ]
        optimizer = mm.ModularOptimizer(groups, lr=lr)
        w.grad, b.grad = torch.ones(6, 4).tril(), torch.ones(4)
        optimizer.step()
        ends.append((w.detach().clone(), b.detach().clone()))
    assert torch.allclose(ends[0][0], ends[1][0], atol=1e-6)
    assert torch.allclose(ends[0][1], ends[1][1], atol=1e-7)


@pytest.mark.parametrize("budget", [-1.0, float("nan"), float("inf")])
def test_a_budget_must_be_a_share(budget):
    with pytest.raises(ValueError, match="budget"):
        mm.ModularOptimizer([{"params": [torch.nn.Parameter(torch.zeros(2))], "geometry": None, "budget": budget}])


def test_the_taps_of_a_convolution_are_stepped_one_by_one():
    generator = torch.Generator().manual_seed(0)
    taps = mm.Stiefel().random((3, 3, 8, 4), generator=generator, dtype=torch.float64)
    w = torch.nn.Parameter(taps.movedim((-2, -1), (0, 1)).clone())
    g = torch.randn(8, 4, 3, 3, generator=generator, dtype=torch.float64)
    geometry = mm.Geometry(mm.Stiefel(), mm.Spectral(), kernel_axes=2)
    optimizer = mm.ModularOptimizer(
        [{"params": [("conv", w)], "geometry": geometry}], lr=0.1, momentum=0.5, nesterov=False
    )
    w.grad = g.clone()
    optimizer.step()
    expected = geometry.step(taps, g.movedim((0, 1), (-2, -1)), 0.1)
    assert torch.allclose(w.movedim((0, 1), (-2, -1)), expected, atol=1e-12)
    assert optimizer.state[w]["momentum"].shape == w.shape
    with pytest.raises(ValueError, match=r"linear has shape \(8, 4\)"):
        optimizer.add_param_group({"params": [("linear", torch.nn.Parameter(taps[0, 0]))], "geometry": geometry})
    assert mm.Geometry.from_dict(geometry.to_dict()) == geometry


@pytest.mark.parametrize("largest", [1, 200, 10**6])
def test_batches_may_be_cut(monkeypatch, largest):
    """Weights of one shape move the same alone, in twos and all together."""
    monkeypatch.setattr(batches_module, "LARGEST", largest)
    torch.manual_seed(0)
    start = [mm.Stiefel().random((12, 8)) for _ in range(5)]
    grads = [torch.randn(12, 8) for _ in range(5)]
    params = [nn.Parameter(w.clone()) for w in start]
    for p, g in zip(params, grads, strict=True):
        p.grad = g
    mm.ManifoldMuon(params, lr=0.1).step()
    geometry = mm.Geometry(mm.Stiefel(), mm.Spectral())
    for p, w, g in zip(params, start, grads, strict=True):
        assert torch.allclose(p, geometry.step(w, g, 0.1), atol=1e-5)
