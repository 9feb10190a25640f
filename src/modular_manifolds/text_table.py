"""Columns of text that line up."""

from collections.abc import Collection, Sequence


def align(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Every row as a line, two spaces between columns, those numbered in `right` flush right.

    Raises:
        ValueError: rows differ in length.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def headed(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """The lines of `align` as one text, with a rule below the first."""
    head, *body = align(rows, right)
    return "\n".join([head, "-" * max(map(len, [head, *body])), *body])
