"""A conformance suite, for manifolds, norms and geometries of your own as for the library's.

    from modular_manifolds.testing import check_manifold

    def test_my_manifold():
        check_manifold(MyManifold())

That tries every promise on shapes of all kinds, spectra and scales, in float64, float32 and bfloat16, and raises one
error that lists all that are broken, with the number measured beside the one allowed. `check_norm` and
`check_geometry` do the same. To see each promise as a test of its own:

    @pytest.mark.parametrize("check", manifold_checks.values(), ids=str)
    def test_my_manifold(check):
        check.run(MyManifold())

and to look closer at a single case, as the error message gives it:

    manifold_checks["retraction_starts_along_its_tangent"](MyManifold(), (5, 3), torch.float32, seed=7)

Manifolds, norms and geometries say themselves which shapes they have, by raising a ValueError for the others. What has
no closed form, and says so by NoClosedFormError, is not asked for. Nothing is decided by looking at a plot: orders of
convergence are fitted. The cases are the same in every run.

Needs Hypothesis: pip install modular-manifolds[testing].
"""

try:
    import hypothesis  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "modular_manifolds.testing needs Hypothesis: pip install 'modular-manifolds[testing]'", name="hypothesis"
    ) from error

from modular_manifolds.testing.case import Case
from modular_manifolds.testing.check import Check
from modular_manifolds.testing.conformance import (
    ConformanceError,
    check_geometry,
    check_manifold,
    check_norm,
    manifold_checks,
    norm_checks,
    pair_checks,
)
from modular_manifolds.testing.dual_bound import dual_bound
from modular_manifolds.testing.mirrors import mirrored
from modular_manifolds.testing.tolerances import DTYPES, TOLERANCES, Tolerance

__all__ = [
    "DTYPES",
    "TOLERANCES",
    "Case",
    "Check",
    "ConformanceError",
    "Tolerance",
    "check_geometry",
    "check_manifold",
    "check_norm",
    "dual_bound",
    "manifold_checks",
    "mirrored",
    "norm_checks",
    "pair_checks",
]
