"""The README's code runs."""

import re
from pathlib import Path

import modular_manifolds as mm

README = Path(__file__).parents[1] / "README.md"


def test_the_ten_lines_train_a_model():
    code, *_ = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(code, names)
    assert isinstance(names["optimizer"], mm.ModularOptimizer)
    assert names["optimizer"].state
