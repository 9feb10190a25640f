"""MkDocs hook: formulas become MathML when the site is built, so that reading it takes no script and no web font.

In the sources they are `$...$` and fences of `math`, which GitHub sets as well.
"""

import re
from html import unescape
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<bracket>[(\[])(?P<tex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)

OPEN, CLOSE = "<mo>&#x00028;</mo>", "<mo>&#x00029;</mo>"
"""Parentheses around a matrix. The stylesheet draws them, as few readers have a font whose own can stretch."""


def on_page_content(html: str, **_: Any) -> str:
    """The page with every formula that arithmatex has marked as a <math> element.

    Raises:
        PluginError: a formula has a command that is not known.
    """
    return FORMULA.sub(_mathml, html)


def _mathml(match: re.Match[str]) -> str:
    displayed = match["bracket"] == "["
    formula = convert(unescape(match["tex"]).strip(), display="block" if displayed else "inline")
    unknown = re.search(r"\\\w+", formula)
    if unknown:
        raise PluginError(f"latex2mathml does not know {unknown[0]}, in the formula {match['tex']}")
    formula = formula.replace(f"{OPEN}<mtable>", '<mtable class="matrix">').replace(f"</mtable>{CLOSE}", "</mtable>")
    return f'<div class="formula">{formula}</div>' if displayed else formula
