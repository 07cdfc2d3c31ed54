"""Is a first set-up that is killed at any instant completed by the same command?

    python benchmarks/kill_start.py             20 kills in about four minutes; POSIX only

Each trial copies start.py into a new folder, whose requirements are thirty small packages on this
disk, starts it, and kills it (SIGKILL) at a random instant: in turn start.py alone, whose children
live on, and all of them at once, as when a computer goes off. Then the same command must end well,
with every file of every package in place. HOME, the folder for temporary files and the Python that
runs this must be as they were.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from pathlib import Path

START = Path(__file__).resolve().parents[1] / "start.py"
COMMAND = [sys.executable, "start.py", "course", "--torch-index", "https://localhost:1"]
PACKAGES, MODULES = 30, 60


def make_wheel(folder: Path, name: str) -> None:
    """Write a wheel with many small modules, each of which says that it is whole."""
    info = f"{name}-1.0.dist-info"
    files = {f"{name}/m{i}.py": "#" * 5000 + "\nwhole = True\n" for i in range(MODULES)}
    files[f"{name}/__init__.py"] = ""
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [f"{file},,{len(text)}\n" for file, text in files.items()]
    files[f"{info}/RECORD"] = "".join(record) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)


def make_course(root: Path) -> None:
    """Write a course whose `course` imports every module of every package."""
    names = [f"part{i}" for i in range(PACKAGES)]
    (root / "rlhf_lessons").mkdir(parents=True)
    shutil.copy(START, root)
    (root / "requirements.txt").write_text("\n".join(names))
    (root / "rlhf_lessons" / "__init__.py").touch()
    modules = [f"{name}.m{i}" for name in names for i in range(MODULES)]
    (root / "rlhf_lessons" / "__main__.py").write_text(
        "import importlib\n"
        f"assert all(importlib.import_module(name).whole for name in {modules})\n"
        "print('course', 'whole')\n"
    )


def snapshot(*folders: Path) -> dict:
    """Return size and time of change of all files in these folders, Python's caches left out."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if "__pycache__" not in path.parts:
                status = path.lstat()
                found[path] = (status.st_size, status.st_mtime_ns)
    return found


def trial(root: Path, env: dict, after: float | None, everything: bool) -> str:
    """Start the set-up, kill it after so many seconds, start it again; return what went wrong."""
    make_course(root)
    log = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8"}
    options = {"cwd": root, "env": env, **log}
    if after is not None:
        process = subprocess.Popen(COMMAND, start_new_session=True, **options)
        time.sleep(after)
        if everything:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
    again = subprocess.run(COMMAND, timeout=300, **options)
    return "" if "course whole" in again.stdout else again.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="kill-start-") as folder:
        work = Path(folder)
        home, temporary, wheels = (work / name for name in ("home", "temporary", "wheels"))
        for made in (home, temporary, wheels):
            made.mkdir()
        for i in range(PACKAGES):
            make_wheel(wheels, f"part{i}")
        env = {
            # not the whole of it: pip asks a Rust compiler for its version, which may write at home
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": wheels.as_uri(),
        }
        outside = [home, temporary, wheels, Path(sysconfig.get_path("purelib"))]
        before = snapshot(*outside)
        began = time.monotonic()
        failed = trial(work / "unhurt", env, None, False)
        whole = time.monotonic() - began
        assert not failed, failed
        print(f"without a kill: {whole:.1f} s")
        recovered = 0
        for number in range(options.kills):
            everything = bool(number % 2)
            after = draw.uniform(0, whole)
            root = work / f"trial {number}"
            failed = trial(root, env, after, everything)
            recovered += not failed
            what = "all processes" if everything else "start.py alone"
            how = f"{number + 1:3} {what:14} killed after {after:5.2f} s"
            print(f"{how}: {failed or 'recovered'}", flush=True)
            shutil.rmtree(root)
        touched = {path for path, at in snapshot(*outside).items() if before.get(path) != at}
        print(f"{recovered} of {options.kills} recovered by themselves")
        print(f"{len(touched)} files touched outside the folder", *sorted(touched)[:5], sep="\n")
    sys.exit(recovered < options.kills or bool(touched))


if __name__ == "__main__":
    main()
