"""A USB stick: what `start.py download` puts on it, and what a computer without a network does.

The folder, the tiny package and the commands are those of test_start.py; no test needs the network.
"""

import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_start import PROJECT, begun, empty_environment, home, load, make_wheel, start  # noqa: F401

from setup import offline


@pytest.fixture
def course(begun):  # noqa: F811
    """A course with things that its owner made; pip knows a folder with its packages."""
    (begun / "setup").mkdir(exist_ok=True)
    shutil.copy(PROJECT / "setup" / "offline.py", begun / "setup")
    made = ("my_lessons/0.ipynb", "runs/ratings.sqlite3", "data/prompts.jsonl")
    for name in (*made, ".gitignore", ".git/x"):
        (begun / name).parent.mkdir(exist_ok=True)
        (begun / name).write_text(name)
    return begun


@pytest.fixture
def no_network(monkeypatch):
    """From now on pip knows no folder, and nobody answers where it looks for packages."""

    def cut():
        monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.delenv("PIP_FIND_LINKS")
        monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")

    return cut


def carry(stick: Path, laptop: Path) -> Path:
    """Copy the stick's folder to a laptop, and let the stick go."""
    shutil.copytree(stick, laptop)
    shutil.rmtree(stick)
    return laptop


def test_a_stick_holds_all_that_a_laptop_without_a_network_needs(course, tmp_path, no_network):
    stick = tmp_path / "the stick" / "rlhf"
    filled = start(course, "download", str(stick))
    no_network()
    laptop = carry(stick, tmp_path / "laptop")
    first, second = start(laptop, "course"), start(laptop, "course")

    assert filled.returncode == 0 and "Ready" in filled.stdout and str(stick) in filled.stdout, (
        filled.stderr
    )
    assert first.returncode == 0 and "course 1.0" in first.stdout, first.stderr
    assert "from the folder wheels" in first.stdout and "MB to download" not in first.stdout
    assert second.stdout.startswith("course 1.0")


def test_what_the_owner_made_stays_at_home_and_what_is_on_the_stick_stays_there(course, tmp_path):
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "holiday.jpg").write_text("not ours")
    asked = []
    for _ in range(2):
        offline.fill(course, stick, lambda *words: asked.append(words), "https://index")

    there = {path.relative_to(stick).as_posix() for path in stick.rglob("*") if path.is_file()}
    assert there >= {
        "start.py",
        "requirements.txt",
        "data/prompts.jsonl",
        ".gitignore",
        "holiday.jpg",
    }
    assert not [name for name in there if name.startswith(("my_lessons", "runs", ".venv", ".git/"))]
    words = (
        "wheel",
        "-r",
        "requirements.txt",
        "--wheel-dir",
        str(stick.resolve() / "wheels"),
        "--extra-index-url",
        "https://index",
    )
    assert asked == [words] * 2


def test_a_second_kind_of_computer_adds_its_packages(course, tmp_path):
    stick = tmp_path / "stick"
    start(course, "download", str(stick))
    make_wheel(stick / "wheels", version="0.9")
    start(course, "download", str(stick))

    assert len(list((stick / "wheels").glob("tinytool-*.whl"))) == 2


def test_a_stick_for_another_kind_of_computer_says_so_in_one_line(course, tmp_path, no_network):
    stick = tmp_path / "stick"
    start(course, "download", str(stick))
    no_network()
    (stick / "wheels" / "tinytool-1.0-py3-none-any.whl").rename(
        stick / "wheels" / "tinytool-1.0-cp27-none-any.whl"
    )
    failed = start(stick, "course")

    assert failed.returncode == 1 and failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("The folder wheels has not all that this computer needs"), (
        failed.stderr
    )


@pytest.mark.parametrize("where", [".", "usb", "data/usb"])
def test_a_folder_in_the_course_itself_is_refused(course, where):
    with pytest.raises(ValueError, match="lies in the course itself"):
        offline.fill(course, course / where, print, None)
    assert not (course / "usb").exists()


def test_a_stick_that_is_too_full_is_noticed_before_the_download(course, tmp_path, monkeypatch):
    monkeypatch.setattr(offline.shutil, "disk_usage", lambda path: SimpleNamespace(free=2e8))
    with pytest.raises(ValueError, match="too full"):
        offline.fill(course, tmp_path / "stick", print, None)


def test_no_network_while_filling_is_told_in_one_line(course, tmp_path, no_network):
    no_network()
    failed = start(course, "download", str(tmp_path / "stick"))

    assert failed.returncode == 1 and failed.stderr.startswith("No connection"), failed.stderr


def test_on_linux_the_stick_gets_pytorch_without_a_gpus_libraries(course, tmp_path, monkeypatch):
    module = load(course)
    (course / ".cache").mkdir(exist_ok=True)
    asked = []
    module.LEARNER.folder.mkdir(exist_ok=True)
    module.LEARNER.write({"python": [3, 12]})
    monkeypatch.setattr(module.Environment, "ask", lambda self: ([3, 12], tmp_path))
    monkeypatch.setattr(module, "run_pip", lambda at, words: asked.append(words) or (0, []))
    monkeypatch.setattr(module.sys, "platform", "linux")
    monkeypatch.setattr(module.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(
        module.urllib.request, "urlopen", lambda request, timeout: SimpleNamespace(close=int)
    )
    monkeypatch.setitem(sys.modules, "setup.offline", offline)

    assert module.main(["download", os.fspath(tmp_path / "stick")]) == 0
    assert asked[0][-2:] == ("--extra-index-url", module.CPU_INDEX)
