"""Several processes that share each batch give what one gives; killing one ends the run."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import several_processes
import tiny
from test_trl_parity import CURRENT, ROOT, installed

from rlhf_lessons import data, paths
from rlhf_lessons.cli import main
from rlhf_lessons.lm import processes
from rlhf_lessons.stages.run import load_state, read_metrics

PROCESSES = 2
LOST = "another process of this run has ended"


def launched(*command, **more) -> subprocess.Popen:
    """A program, with arguments, in two processes."""
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    return subprocess.Popen(
        [*launcher, "--num_processes", str(PROCESSES), "--main_process_port", "0", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": installed(CURRENT), "OMP_NUM_THREADS": "1", **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The metrics of every stage by two processes, and by one."""
    file = tmp_path_factory.mktemp("two") / "metrics.json"
    process = launched("tests/several_processes.py", str(file))
    alone = several_processes.run_all()
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]
    return json.loads(file.read_text()), json.loads(json.dumps(alone))


@pytest.mark.parametrize("name", ["pretrain", "sft", "reward", "dpo", "ppo", "rloo", "grpo"])
def test_two_processes_give_what_one_gives(both, name):
    two, one = (found[name] for found in both)
    assert len(two) == len(one) == several_processes.STEPS
    for step, expected in zip(two, one):
        assert step == pytest.approx(expected, abs=1e-4, nan_ok=True)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Folders for tiny models and data, and for runs, as environment variables; here, too."""
    tiny.small_data(tmp_path / "data")
    tiny.checkpoints(tmp_path / "data" / "checkpoints")
    monkeypatch.setattr(paths, "DATA", tmp_path / "data")
    monkeypatch.setattr(paths, "RUNS", tmp_path / "runs")
    return {
        "RLHF_LESSONS_DATA": str(tmp_path / "data"),
        "RLHF_LESSONS_RUNS": str(tmp_path / "runs"),
    }


def ppo(folder) -> list[str]:
    settings = "--steps 20 --batch-size 8 --num-minibatches 2 --max-new-tokens 8".split()
    return ["ppo", *settings, "--out", str(folder)]


def test_a_killed_process_ends_the_run_with_one_error_and_the_same_command_resumes(world, tmp_path):
    runs = tmp_path / "runs"
    for killed, steps in ((1, 3), (0, 6)):
        process = launched("tests/often_saved.py", *ppo(runs / "ppo"), **world)
        until = time.monotonic() + 120
        while len(data.json_rows(runs / "ppo.run" / "metrics.jsonl")) < steps:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        os.kill(int((runs / f"{killed}.pid").read_text()), signal.SIGKILL)
        said, _ = process.communicate(timeout=60)
        assert process.returncode and said.count(LOST) == 1, said
        assert "the same command continues" in said
        assert steps - 1 <= load_state(runs / "ppo.run" / "state.pt")["step"] < 20
    process = launched("-m", "rlhf_lessons", *ppo(runs / "ppo"), **world)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert said.count("Finished: ") == 1
    assert main(ppo(runs / "alone")) == 0
    found, expected = (read_metrics(runs / name) for name in ("ppo.run", "alone.run"))
    assert len(found) == len(expected) == 20
    for step, other in zip(found, expected):
        assert step == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize("rank, size, times", [("0", "2", 1), ("1", "2", 0), ("1", "1", 1)])
def test_what_does_not_fit_is_said_by_the_first_process_only(
    monkeypatch, capsys, rank, size, times
):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    monkeypatch.setattr(processes, "join", lambda: None)
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # put back after the test
    assert main(["sft", "--epochs", "0"]) == 2
    assert capsys.readouterr().err.count("epochs must be above 0") == times
