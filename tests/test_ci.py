"""What the continuous integration does, with programs that only write down how they were called."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
BASH = shutil.which("bash")
TOOLS = ("bash", "dirname", "env")  # what the script itself needs of the system

pytestmark = pytest.mark.skipif(os.name == "nt" or not BASH, reason="the script is for bash")


@pytest.fixture
def ci(tmp_path):
    """A copy of .ci/run in a folder with programs of its own: `ci(uid=0, without=["chromium"])`."""

    def run(uid: int = 0, apt_fails: bool = False, without=()) -> tuple[list[str], str]:
        programs, log = tmp_path / "bin", tmp_path / "calls"
        programs.mkdir()
        (tmp_path / ".ci").mkdir()
        shutil.copy(PROJECT / ".ci" / "run", tmp_path / ".ci")
        says = {
            "id": f"echo {uid}",
            "chromium": "",
            "pg_ctlcluster": "",
            "sudo": '"${@:2}"',
            "apt-get": "exit 1" if apt_fails else "",
            "python": "",
        }
        for name, what in says.items():
            if name not in without:
                note = (
                    ""
                    if name in ("id", "chromium", "pg_ctlcluster")
                    else f'echo "{name} $*$CI_REQUIRES_BROWSER$CI_REQUIRES_POSTGRESQL" >>"$LOG"\n'
                )
                (programs / name).write_text(f"#!{BASH}\n{note}{what}\n")
                (programs / name).chmod(0o755)
        for tool in TOOLS:
            (programs / tool).symlink_to(shutil.which(tool))
        done = subprocess.run(
            [programs / "bash", tmp_path / ".ci" / "run", "-k", "this or that"],
            capture_output=True,
            text=True,
            env={"PATH": str(programs), "LOG": str(log)},
        )
        assert done.returncode == 0, done.stderr
        return [
            line for line in log.read_text().splitlines() if not line.startswith("python -c")
        ], done.stderr

    return run


INSTALL = ["apt-get update", "apt-get install -y --no-install-recommends "]
# The 11 at the end: CI_REQUIRES_BROWSER and CI_REQUIRES_POSTGRESQL are both 1
TEST = ["python tests/postgresql.py python start.py test -k this or that11"]
PROGRAMS = {"chromium": "chromium", "pg_ctlcluster": "postgresql"}  # and Debian's packages


def installed(*packages):
    return [INSTALL[0], INSTALL[1] + " ".join(packages)]


def test_with_all_there_it_runs_the_readmes_command_beside_a_server_and_requires_both(ci):
    assert ci() == (TEST, "")
    assert "python start.py test" in (PROJECT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("program", PROGRAMS)
def test_root_installs_debians_package_where_a_program_is_missing(ci, program):
    calls, said = ci(without=[program])
    assert calls[:2] == installed(PROGRAMS[program]) and said == ""
    assert len(calls) == 3 and calls[2].endswith("start.py test -k this or that11")


def test_both_are_installed_at_once(ci):
    assert ci(without=PROGRAMS)[0][:2] == installed(*PROGRAMS.values())


def test_without_chromium_another_user_installs_it_by_sudo_without_a_password(ci):
    calls, _ = ci(uid=1000, without=["chromium"])
    assert [call for call in calls if call.startswith("sudo")] == [
        f"sudo -n {call}" for call in installed("chromium")
    ]
    assert calls[-1:] == TEST


@pytest.mark.parametrize(
    "how", [{"apt_fails": True, "without": ["chromium"]}, {"without": ["chromium", "apt-get"]}]
)
def test_where_it_cannot_be_installed_the_tests_run_and_say_so_themselves(ci, how):
    calls, said = ci(**how)
    assert calls[-1:] == TEST and ("could not be installed" in said) == ("apt_fails" in how)


def test_without_a_browser_its_tests_are_skipped_and_one_line_says_how_to_get_it(tmp_path):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/browser/test_card_saving.py",
    ]
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("CHROMIUM", "CI_REQUIRES_BROWSER")
    }
    done = subprocess.run(
        command, cwd=PROJECT, capture_output=True, text=True, env=env | {"PATH": str(tmp_path)}
    )
    assert done.returncode == 0 and "passed" not in done.stdout, done.stdout
    assert done.stdout.count("no Chromium here") == done.stdout.count("apt install chromium") == 1


def test_where_a_browser_is_required_its_tests_fail_without_debians(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location(
        "browser_conftest", PROJECT / "tests" / "browser" / "conftest.py"
    )
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    monkeypatch.setenv("CI_REQUIRES_BROWSER", "1")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(pytest.fail.Exception, match="apt install chromium"):
        conftest.find_chromium()
    chromium = tmp_path / "chromium"
    for version in (
        "Google Chrome for Testing 150.0",
        "Chromium 150.0 built on Debian GNU/Linux 12 (bookworm)",
    ):
        chromium.write_text(f"#!{BASH}\necho '{version}'\n")
        chromium.chmod(0o755)
        if "Debian" in version:
            assert conftest.find_chromium() == str(chromium)
        else:
            with pytest.raises(pytest.fail.Exception, match="not the Chromium of Debian's package"):
                conftest.find_chromium()


def test_no_browser_is_ever_downloaded_by_playwright():
    files = [PROJECT / name for name in (".ci/run", "start.py", "README.md", "pyproject.toml")]
    files += (PROJECT / "tests" / "browser").glob("*.py")
    texts = {file.name: file.read_text(encoding="utf-8") for file in files}
    assert not [name for name, text in texts.items() if "playwright install" in text]
    launches = {name: text.count(".launch(") for name, text in texts.items() if ".launch(" in text}
    assert launches == {"conftest.py": 1} and ".launch(executable_path=path" in texts["conftest.py"]
