"""The code of docs/distributed.md runs, on four ranks."""

import re
from pathlib import Path

import pytest

from tests.distributed import programs
from tests.distributed.gang import ROOT, Gang


@pytest.mark.xdist_group("gang4")
def test_every_block_runs(gang4: Gang, tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "distributed.md").read_text(), re.DOTALL)
    assert len(blocks) == 9
    for trained in gang4.run(programs.run_blocks, blocks, str(tmp_path)):
        assert trained == 6  # all but definitions, the checkpoint, and the step itself
