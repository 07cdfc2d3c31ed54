"""The losses equal those of TRL: of its current release, and for PPO of 1.12, the last that had it.

TRL is installed into a folder of its own, `.cache/trl`, beside the packages of the tests. Without a
network these tests are skipped, but where CI runs them they must pass.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "trl"
CURRENT, LAST_WITH_PPO = "1.16.0", "1.12.0"


def installed(version: str) -> str:
    """Return the folders to put on Python's path, after installing into them what is not there."""
    folders = {CACHE / version: f"trl=={version}", CACHE / "beside": "accelerate==1.13.0 psutil"}
    for folder, packages in folders.items():
        if (folder / "done").is_file():
            continue
        pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(folder)]
        done = subprocess.run([*pip, *packages.split()], capture_output=True, text=True)
        if done.returncode:
            reason = f"TRL could not be installed: {done.stderr[-300:]}"
            if os.environ.get("CI_REQUIRES_BROWSER"):
                pytest.fail(reason)
            pytest.skip(reason)
        (folder / "done").touch()
    return os.pathsep.join(map(str, [*folders, ROOT, ROOT / "tests"]))


@pytest.mark.parametrize(
    ("method", "version"),
    [
        *((name, CURRENT) for name in ("sft", "reward", "dpo", "rloo", "grpo", "dr_grpo")),
        ("ppo", LAST_WITH_PPO),
    ],
)
def test_the_loss_is_trls(method, version):
    path = installed(version)
    done = subprocess.run(
        [sys.executable, "tests/trl_losses.py", method],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["trl"] == version
    assert found["ours"] == pytest.approx(found["theirs"], abs=1e-5)
