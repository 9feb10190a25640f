import math

import pytest

from modular_manifolds.experiments.reports import Table
from modular_manifolds.experiments.reports.cells import number, show


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (52.4812, "52.48"),
        (0.03, "0.03"),
        (2.0, "2"),
        (-0.123456, "-0.1235"),
        (1234.56, "1235"),
        (12345.6, "12,350"),
        (99999.9, "100,000"),
        (1.23456e7, "1.235e+07"),
        (1.5e-7, "1.5e-07"),
        (0.0, "0"),
        (7, "7"),
        (50_000, "50,000"),
    ],
)
def test_numbers_have_four_digits(value, text):
    assert number(value) == text


def column(*cells):
    shown = show(Table(("x",), tuple((cell,) for cell in cells)))
    return shown.columns[0], [row[0] for _, row in shown.rows]


def test_points_are_under_each_other():
    _, cells = column(1.25, 10.5, 3, None, float("nan"))
    assert [cell.text for cell in cells] == ["1.25", "10.5\u2007", "3\u2008\u2007\u2007", "–", "–"]
    _, cells = column(1.25, 1.5e-7)
    assert [cell.text for cell in cells] == ["1.25", "1.5e-07"]


def test_columns_of_numbers_are_sorted_by_them():
    kind, cells = column(3.25, None, "9.50 ± 0.25", "diverged", "12 %", "1,024", math.inf)
    assert kind.numeric
    assert [cell.key for cell in cells] == [3.25, None, 9.5, None, 12.0, 1024.0, None]
    assert [cell.missing for cell in cells] == [False, True, False, False, False, False, True]


@pytest.mark.parametrize("cells", [("36/255", "72/255"), ("2^-3", "2^1"), ("a", 1.0), (None, None), ("1x1", "2x2"), ()])
def test_other_columns_are_words(cells):
    kind, shown = column(*cells)
    assert not kind.numeric
    assert all(cell.key is None for cell in shown)


def test_long_texts_are_broken_into_lines():
    assert column("a", "word " * 20)[0].long
    assert not column("a", "b", 1.0)[0].long
