"""Deliberately broken manifolds, norms and geometries, each of which the suite finds out by name."""

import pytest

from modular_manifolds import Geometry
from modular_manifolds.manifolds import Oblique, Sphere, Stiefel
from modular_manifolds.norms import Frobenius, MaxRow, Spectral
from modular_manifolds.testing import manifold_checks, norm_checks, pair_checks
from tests.testing.faulty_geometries import (
    AsLongAsTheGradient,
    ForgetsTheTangentSpace,
    LongSteps,
    LooseCertificate,
    NeverRests,
    NormalisesRounding,
    ProjectsTooLate,
    StepsOff,
    TooLong,
    Uphill,
)
from tests.testing.faulty_manifolds import (
    Aliasing,
    AlwaysContent,
    AlwaysDouble,
    ChordDistance,
    ClaimsSecondOrder,
    DoubledRotation,
    FailsOnEmpty,
    FarFromHere,
    FarProjection,
    FirstOrderRetraction,
    FrozenGradient,
    GrowingTransport,
    HalfwayProjection,
    HidesNaN,
    InPlace,
    KeepsVectors,
    MixesTheBatch,
    Mutable,
    NegativeLengths,
    NeverContent,
    NotLinear,
    NotNormal,
    OffByOne,
    OffRandom,
    OffRetraction,
    OneSidedWhitening,
    OneWayWhitening,
    Opposite,
    OwnRandom,
    PreparesElsewhere,
    Restless,
    RetractionAsExp,
    RoundCone,
    ShorteningTransport,
    ShortLog,
    SmallTangentSpace,
    StraightExp,
    StretchedExp,
    TurnsBack,
    WrongGradient,
)
from tests.testing.faulty_norms import (
    Ascends,
    HalfNorm,
    RadialBall,
    ScaleBoundLMO,
    Seminorm,
    Squared,
    WrongDual,
)

BROKEN_MANIFOLDS = [
    (DoubledRotation(), "tangent_projection_is_idempotent"),
    (HalfwayProjection(), "projection_is_idempotent"),
    (HalfwayProjection(), "projection_lands_on_the_manifold"),
    (FarProjection(), "projection_is_nearest"),
    (FirstOrderRetraction(), "retraction_starts_along_its_tangent"),
    (ClaimsSecondOrder(), "retraction_is_of_the_order_it_claims"),
    (OffRetraction(), "retraction_lands_on_the_manifold"),
    (FrozenGradient(), "retraction_has_the_gradient_it_returns"),
    (Opposite(), "projection_leaves_points_alone"),
    (Restless(), "retraction_of_zero_stays"),
    (NotLinear(), "tangent_projection_is_linear"),
    (PreparesElsewhere(), "tangent_projection_can_be_prepared"),
    (StraightExp(), "exp_stays_on_the_manifold"),
    (FarFromHere(), "distance_is_a_metric"),
    (NegativeLengths(), "inner_product_is_positive"),
    (KeepsVectors(), "transport_is_tangent_and_linear"),
    (TurnsBack(), "transport_carries_the_velocity_along"),
    (GrowingTransport(), "transport_is_parallel"),
    (NotNormal(), "tangent_projection_is_orthogonal"),
    (SmallTangentSpace(), "projection_differentiates_to_the_tangent_projection"),
    (RoundCone(), "tangent_projection_is_orthogonal"),
    (RoundCone(), "tangent_vectors_stay_on_the_manifold_to_first_order"),
    (StretchedExp(), "exp_starts_along_its_tangent"),
    (StretchedExp(), "log_inverts_exp"),
    (RetractionAsExp(), "exp_follows_a_geodesic"),
    (ShortLog(), "exp_inverts_log"),
    (ChordDistance(), "distance_is_the_length_of_log"),
    (ShorteningTransport(), "transport_is_isometric"),
    (WrongGradient(), "gradient_represents_the_differential"),
    (OneWayWhitening(), "whitening_is_invertible"),
    (OneSidedWhitening(), "whitening_is_self_adjoint"),
    (OffByOne(), "dimension_is_that_of_the_tangent_space"),
    (NeverContent(), "random_points_are_on_the_manifold"),
    (NeverContent(), "violation_tells_what_is_off"),
    (AlwaysContent(), "violation_tells_what_is_off"),
    (OffRandom(), "random_points_are_on_the_manifold"),
    (OwnRandom(), "random_points_follow_the_generator"),
    (InPlace(), "arguments_are_left_alone"),
    (Aliasing(), "arguments_are_left_alone"),
    (MixesTheBatch(), "batched_equals_looped"),
    (AlwaysDouble(), "dtype_device_and_shape_are_kept"),
    (HidesNaN(), "nan_is_passed_on"),
    (FailsOnEmpty(), "empty_tensors_are_ordinary"),
    (Mutable(), "is_a_value"),
]

BROKEN_NORMS = [
    (WrongDual(), "dual_norm_bounds_inner_products"),
    (WrongDual(2.0), "lmo_attains_the_dual_norm"),
    (ScaleBoundLMO(), "lmo_does_not_depend_on_scale"),
    (Ascends(), "lmo_attains_the_dual_norm"),
    (Squared(), "norm_is_homogeneous"),
    (HalfNorm(), "norm_obeys_the_triangle_inequality"),
    (Seminorm(), "norm_is_positive"),
    (RadialBall(), "ball_projection_is_nearest"),
]

BROKEN_GEOMETRIES = [
    (Geometry(Stiefel(), Spectral(), ForgetsTheTangentSpace()), "direction_is_feasible"),
    (Geometry(Stiefel(), Spectral(), ProjectsTooLate()), "direction_is_optimal"),
    (Geometry(Stiefel(), Spectral(), ProjectsTooLate()), "direction_meets_an_independent_bound"),
    (LooseCertificate(Stiefel(), Spectral(), ProjectsTooLate()), "direction_meets_an_independent_bound"),
    (Geometry(Sphere(), Frobenius(), TooLong()), "direction_is_feasible"),
    (Geometry(Sphere(), Frobenius(), Uphill()), "direction_is_optimal"),
    (Geometry(Sphere(), Frobenius(), Uphill()), "step_decreases"),
    (Geometry(Sphere(), Frobenius(), Uphill()), "no_tangent_direction_does_better"),
    (Geometry(Sphere(), Frobenius(), AsLongAsTheGradient()), "direction_does_not_depend_on_scale"),
    (Geometry(Stiefel(), Frobenius(), NormalisesRounding()), "direction_of_a_normal_gradient_is_zero"),
    (Geometry(Sphere(), Frobenius(), NeverRests()), "direction_of_zero_is_zero"),
    (LongSteps(Sphere(), Frobenius()), "step_follows_the_direction"),
    (StepsOff(Sphere(), Frobenius()), "step_lands_on_the_manifold"),
]


def name(it: object) -> str:
    return it if isinstance(it, str) else type(it).__name__


@pytest.mark.parametrize(("manifold", "check"), BROKEN_MANIFOLDS, ids=name)
def test_manifold_is_found_out(manifold, check):
    with pytest.raises(AssertionError, match=f"^{check}: .*{name(manifold)}"):
        manifold_checks[check].run(manifold)


@pytest.mark.parametrize(("norm", "check"), BROKEN_NORMS, ids=name)
def test_norm_is_found_out(norm, check):
    with pytest.raises(AssertionError, match=f"^{check}: .*{name(norm)}"):
        norm_checks[check].run(norm)


@pytest.mark.parametrize(
    ("geometry", "check"), BROKEN_GEOMETRIES, ids=lambda it: name(getattr(it, "solver", None) or it)
)
def test_geometry_is_found_out(geometry, check):
    with pytest.raises(AssertionError, match=f"^{check}: .*{name(geometry)}"):
        pair_checks[check].run(geometry)


def test_a_transpose_that_is_another_is_found_out():
    with pytest.raises(AssertionError, match=r"^wide_is_the_transpose_of_tall: "):
        manifold_checks["wide_is_the_transpose_of_tall"].run(Oblique("rows"), mirror=Oblique("rows"))
    with pytest.raises(AssertionError, match=r"^wide_is_the_transpose_of_tall: "):
        norm_checks["wide_is_the_transpose_of_tall"].run(MaxRow(), mirror=MaxRow())


def test_every_check_has_a_fault_that_it_finds():
    found = {check for _, check in [*BROKEN_MANIFOLDS, *BROKEN_NORMS, *BROKEN_GEOMETRIES]}
    assert {*manifold_checks, *norm_checks, *pair_checks} - found == {"wide_is_the_transpose_of_tall"}  # has its own
