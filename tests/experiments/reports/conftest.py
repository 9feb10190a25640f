"""A page with everything that a page can have."""

from collections.abc import Callable

import pytest

from modular_manifolds.experiments import plots
from modular_manifolds.experiments.reports import Figure, Finding, Page, Section, Table

SORTED = Table(
    ("name", "number", "spread", "note"),
    (
        ("gamma", 10.0, "9.50 ± 0.25", "b 10"),
        ("alpha", None, "diverged", None),
        ("beta", 9.0, "10.25 ± 1.00", "b 9"),
        ("delta", -0.5, "100.00 ± 0.50", "a"),
    ),
    caption="Four rows & <no> order.",
    highlight=(1,),
)


def _figure(name: str, size: tuple[float, float] = plots.SIZE) -> Figure:
    with plots.open_axes(size) as (canvas, axes):
        axes.plot([0, 1], [0, 1], marker="o")
        axes.imshow([[0, 1], [1, 0]])
        return plots.finish(name, f"{name} & more", "What it shows.", canvas, Table(("x", "y"), ((0, 0.0), (1, 1.0))))


@pytest.fixture(scope="package")
def make_page() -> Callable[..., Page]:
    """Builds the page; keywords replace its fields."""
    figures = (_figure("curve"), _figure("panels", (12, 3)))

    def make(**fields: object) -> Page:
        defaults: dict[str, object] = {
            "recipe": "compare",
            "subject": "digits, 3 runs",
            "headline": "alpha reaches 97.53 ± 0.20 % & more, within one standard deviation of <beta>.",
            "sections": (
                Section("Numbers", ("A paragraph.", "Another."), (SORTED,), figures),
                Section(
                    "Samples", preformatted=(("First", "To be\n" + "or not to be " * 40 + "x" * 300),), folded=True
                ),
            ),
            "settings": (("data", "digits"), ("path", "x" * 200)),
            "command": "modular-manifolds compare --out " + "x" * 200,
            "findings": (Finding("97.53 ± 0.20 %", "test accuracy"), Finding("1/49", "the time")),
        }
        return Page(**{**defaults, **fields})  # type: ignore[arg-type]

    return make
