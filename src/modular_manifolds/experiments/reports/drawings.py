"""A figure's <svg> among others on one page."""

import re

_WIDE = 360
"""Points from which a figure has a row of its own."""

_PHONE = 340
"""Points up to which a figure can be read at the width of a phone; wider ones are moved sideways there."""

_REFERENCE = re.compile(r"""(\bid="|\burl\(#|href="#)([^")]+)""")
_WIDTH = re.compile(r'<svg [^>]*viewBox="\S+ \S+ (\S+) ')


def with_own_ids(drawing: str, prefix: str) -> str:
    """The drawing with `prefix` before each of its ids, and where it refers to them."""
    return _REFERENCE.sub(lambda found: f"{found[1]}{prefix}{found[2]}", drawing)


def is_wide(drawing: str) -> bool:
    """Whether it needs a row of its own."""
    return width(drawing) >= _WIDE


def bounds(drawing: str) -> str:
    """The CSS that keeps its letters readable, on a phone and on a large screen."""
    points = width(drawing)
    least = f"min-width:{points:.0f}px;" if points > _PHONE else ""
    return f"{least}max-width:{1.8 * points:.0f}px" if points else ""


def width(drawing: str) -> float:
    """In points, as it was drawn; 0 where it does not say."""
    found = _WIDTH.match(drawing)
    return float(found[1]) if found else 0.0
