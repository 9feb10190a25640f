"""The example runs as its help says."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "train_gpt_fsdp.py"
TINY = ["--width", "16", "--heads", "2", "--depth", "1", "--context", "16", "--batch-size", "4", "--log-every", "1"]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("a rose is a rose is a rose, said she; and so it is. " * 40)
    return path


def command(processes, text, out, *options):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [*torchrun, str(SCRIPT), "--file", str(text), "--out", str(out), *TINY, *map(str, options)]


def run(*arguments):
    ran = subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def held_out(output):
    return float(re.search(r"held out: (\d+\.\d+)", output).group(1))


def test_two_processes(text, tmp_path):
    output = run(2, text, tmp_path / "out", "--steps", 6, "--save-every", 2)
    losses = [float(loss) for loss in re.findall(r"step \d+/6: loss (\d+\.\d+)", output)]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    assert output.splitlines()[-1] == f"checkpoint: {tmp_path / 'out' / 'step-000006'}"
    assert [path.name for path in sorted((tmp_path / "out").glob("step-*"))] == ["step-000004", "step-000006"]


@pytest.mark.slow
def test_killed_and_resumed_on_another_number_of_processes(text, tmp_path):
    undisturbed = held_out(run(1, text, tmp_path / "whole", "--steps", 200, "--save-every", 100))
    process = subprocess.Popen(command(2, text, tmp_path / "out", "--steps", 200, "--save-every", 5))
    until = time.monotonic() + 60
    while not (tmp_path / "out" / "step-000020" / ".metadata").is_file():
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    assert process.wait(timeout=60) != 0
    assert not (tmp_path / "out" / "step-000200").exists()
    again = subprocess.run(command(2, text, tmp_path / "out"), capture_output=True, text=True)
    assert again.returncode != 0
    assert "has a run already: --resume carries on" in again.stderr
    resumed = run(1, text, tmp_path / "out", "--steps", 200, "--save-every", 100, "--resume")
    assert re.search(r"from step [1-9]\d+ to 200", resumed)
    assert held_out(resumed) == pytest.approx(undisturbed, abs=0.01)


def test_help_shows_an_example():
    helped = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True)
    assert "torchrun --nproc-per-node 2 examples/train_gpt_fsdp.py" in helped.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "start it by torchrun"),
        (["--heads", "3"], "--width 64 is not divisible by --heads 3"),
        (["--steps", "0"], "must be 1 or more"),
        (["--file", "nowhere.txt"], "nowhere.txt is no file"),
    ],
)
@pytest.mark.slow
def test_refused(options, message):
    ran = subprocess.run([sys.executable, str(SCRIPT), *options], capture_output=True, text=True)
    assert ran.returncode != 0
    assert message in ran.stderr
