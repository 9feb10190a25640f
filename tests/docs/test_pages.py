"""The code on the README and on the pages of the documentation runs, as it stands and in its order."""

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

import modular_manifolds as mm

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/index.md", "docs/theory.md", "docs/choosing.md", "docs/moving.md", "docs/faq.md")
"""Those whose blocks follow on one another; tests/docs/test_fragments.py has the others."""


def blocks(page: str) -> list[str]:
    """Python blocks as source; of sessions, what was typed."""
    found = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)
    return [
        "".join(example.source for example in doctest.DocTestParser().get_examples(block))
        if block.startswith(">>>")
        else block
        for block in found
    ]


def run(page: str, first: int | None = None) -> dict[str, Any]:
    names: dict[str, Any] = {}
    for number, code in enumerate(blocks(page)[:first], 1):
        exec(compile(code, f"{page}, block {number}", "exec"), names)
    return names


@pytest.mark.parametrize("page", PAGES)
def test_every_block_runs(page: str) -> None:
    assert blocks(page)
    run(page)


def test_the_ten_lines_train_a_model() -> None:
    for page in ("README.md", "docs/index.md"):
        optimizer = run(page, first=1)["optimizer"]
        assert isinstance(optimizer, mm.ModularOptimizer)
        assert optimizer.state
