import pytest

from modular_manifolds.text_table import align, headed

ROWS = [("name", "size", "why"), ("a", "1", ""), ("total", "12345", "all of it")]


def test_cells_line_up_without_trailing_spaces():
    assert align(ROWS, right={1}) == ["name    size  why", "a          1", "total  12345  all of it"]


def test_columns_are_flush_left_unless_asked_otherwise():
    assert align(ROWS)[1:] == ["a      1", "total  12345  all of it"]


def test_the_rule_is_as_long_as_the_longest_line():
    lines = headed(ROWS, right={1}).splitlines()
    assert lines == [align(ROWS, right={1})[0], "-" * 23, *align(ROWS, right={1})[1:]]


def test_a_header_alone_has_its_rule():
    assert headed(ROWS[:1]) == "name  size  why\n---------------"


def test_rows_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        align([("a", "b"), ("c",)])
