"""The front door of the course: sets everything up, then starts it. The same on Linux, macOS and Windows.

    python start.py lab       opens the lessons in JupyterLab
    python start.py course    trains all four stages in the terminal
    python start.py test      runs all tests
    python start.py teacher   builds the teacher's editions of the lessons
    python start.py download FOLDER   fills a USB stick, from which others install without a network

Needs Python 3.11 to 3.14 and nothing else. What it installs goes into .venv, what programs keep for
later goes into .cache, both inside this folder.
"""

import argparse
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(os.path.abspath(__file__)).parent
CACHE = ROOT / ".cache"
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "rlhf-lessons.json"  # written last: says what was installed to the end
WHEELS = ROOT / "wheels"  # packages that `download` put there, to install from without a network
CPU_INDEX = (
    "https://download.pytorch.org/whl/cpu"  # PyTorch without the gigabytes that only a GPU needs
)

DISK_FULL = "The disk is full. Free a few gigabytes, then start again: it goes on from there."
REASONS = [  # what pip says when it fails, and what a person can do; the first that is found is told
    (r"No space left|Errno 28|not enough space on the disk", DISK_FULL),
    (
        r"[Nn]ew ?[Cc]onnection|[Nn]ame ?[Rr]esolution|getaddrinfo|[Tt]imed out|ProxyError|SSLError"
        r"|Connection (refused|reset|aborted)|Network is unreachable",
        "No connection to the package index. Check the network (or the proxy), then start again.",
    ),
    (
        r"[Ll]ong [Pp]ath",
        "This folder's path is too long for Windows. Move it to a short one: C:\\rlhf.",
    ),
    (
        r"(?s)Looking in links: .*wheels.*No matching distribution found",
        f"The folder wheels has not all that this computer needs (Python {sys.version.split()[0]}, {sys.platform}). "
        "Fill it on one like this (python start.py download), or delete it to install from the internet.",
    ),
    (
        r"No matching distribution found for (?P<package>\S+)",
        f"There is no {{package}} for this computer (Python {sys.version.split()[0]}, {sys.platform}). "
        "PyTorch needs a 64-bit Python, and on a Mac an Apple chip.",
    ),
]


class Stop(Exception):
    """Something that the person at the keyboard must mend; its text says what and how."""


def check_python():
    if (3, 11) <= sys.version_info[:2] <= (3, 14):
        return
    found = next((f"python3.{n}" for n in (14, 13, 12, 11) if shutil.which(f"python3.{n}")), None)
    advice = (
        f"Use the {found} that is here"
        if found
        else "Get one from https://www.python.org/downloads/"
    )
    raise Stop(
        f"The course needs Python 3.11 to 3.14, and this is {sys.version.split()[0]}. "
        f"{advice}, then: {found or 'python3.13'} start.py lab"
    )


def environment():
    """Return the variables for what we start: our Python comes first, and caches stay in this folder."""
    env = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")
    }
    env.update(
        VIRTUAL_ENV=str(VENV), PATH=str(BIN) + os.pathsep + env.get("PATH", ""), PYTHONUTF8="1"
    )
    folders = {
        "HF_HOME": "huggingface",
        "MPLCONFIGDIR": "matplotlib",
        "IPYTHONDIR": "ipython",
        "JUPYTER_CONFIG_DIR": "jupyter/config",
        "JUPYTER_DATA_DIR": "jupyter/data",
    }
    env = dict({name: str(CACHE / folder) for name, folder in folders.items()}, **env)
    env.setdefault(
        "HF_HUB_OFFLINE", "1"
    )  # the course downloads nothing; 0 lets you load models from the hub
    return env


def probe():
    """Return (version, folder of packages) of the Python in .venv, or None if it does not start."""
    ask = (
        "import json, pip, sys, sysconfig; "
        "print(json.dumps([sys.version_info[:2], sysconfig.get_path('purelib')]))"
    )
    try:
        answer = subprocess.run(
            [str(PYTHON), "-c", ask],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            timeout=120,
        )
        version, packages = json.loads(answer.stdout.decode("utf-8"))
        return version, Path(packages)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def make_venv():
    """Make .venv, an empty environment with pip in it, and return what `probe` says of it."""
    print("Making an environment of its own in .venv")
    base = getattr(
        sys, "_base_executable", sys.executable
    )  # not a Python inside the folder just removed
    made = subprocess.run(
        [base, "-m", "venv", str(VENV)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    found = probe()
    if made.returncode or not found:
        said = " ".join(made.stdout.decode("utf-8", "replace").split())
        if shutil.disk_usage(str(ROOT)).free < 1e8:
            raise Stop(DISK_FULL)
        hint = "On Debian and Ubuntu: sudo apt install python{}.{}-venv. ".format(*sys.version_info)
        raise Stop(
            f"Python could not make .venv. {hint * ('ensurepip' in said)}It said: {said[-300:]}"
        )
    return found


def torch_index(wanted, for_gpu=True):
    """Return the address of an extra package index for PyTorch, or None to take pip's own."""
    gpu = for_gpu and (shutil.which("nvidia-smi") or os.path.exists("/proc/driver/nvidia"))
    if wanted or gpu or WHEELS.is_dir() or not sys.platform.startswith("linux"):
        return wanted
    try:
        request = urllib.request.Request(CPU_INDEX + "/torch/", method="HEAD")
        urllib.request.urlopen(request, timeout=3).close()
    except Exception:  # whatever is wrong with it, we can do without
        print(
            "PyTorch's own index does not answer: taking PyTorch from where pip looks (it may be larger)"
        )
        return None
    return CPU_INDEX


def announce(index, first):
    """Say what is about to be installed, in megabytes and minutes, and stop if the disk is too small."""
    here = WHEELS.is_dir()
    large = (
        sys.platform.startswith("linux") and "cpu" not in (index or "") and not here
    )  # has libraries for GPUs
    megabytes, gigabytes, minutes = (3000, 9, "5 to 30") if large else (400, 3, "2 to 10")
    gigabytes = gigabytes if first else 1
    source = "from the folder wheels" if here else f"up to {megabytes} MB to download"
    print(
        f"Installing PyTorch, JupyterLab and what they need, once: {source}, {minutes} minutes"
        if first
        else "Installing what is new since last time"
    )
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if free < gigabytes:
        raise Stop(
            f"The disk is too full: the set-up needs {gigabytes} GB, and {free:.1f} GB are free where "
            f"this folder is. Free some, or move the folder to another disk."
        )


def progress(said):
    """Tell in a few words how far pip has come, from the lines that it printed so far."""
    for line in reversed(said):
        if line.startswith("Installing collected packages"):
            return f"unpacking {line.count(',') + 1} packages"
        if "Retrying" in line:
            return "no answer from the package index, trying again"
        found = re.match(r"\s*Downloading (\S+?)-\d\S* (\(.*B\))", line)
        if found:
            return "downloading " + " ".join(found.groups())
    return "looking up what is needed"


def downloaded(said):
    """Add up the sizes that pip printed beside the files it downloaded, in megabytes."""
    sizes = re.findall(r"Downloading \S+ \(([\d.]+) ([kMG]?)B\)", "".join(said))
    return sum(
        float(number) * {"": 1e-6, "k": 1e-3, "M": 1, "G": 1e3}[unit] for number, unit in sizes
    )


def pip_install(arguments, command="install"):
    """Run pip and return (exit code, lines). A terminal sees one living line, a log one now and then."""
    temporary = (
        CACHE / "tmp"
    )  # downloads land on the disk whose space we checked, not in a small /tmp
    temporary.mkdir(parents=True, exist_ok=True)
    env = dict(
        environment(), PIP_USER="0", **dict.fromkeys(["TMPDIR", "TEMP", "TMP"], str(temporary))
    )
    command = [
        str(PYTHON),
        "-m",
        "pip",
        command,
        "--progress-bar=off",
        "--no-input",
        "--no-color",
        "--disable-pip-version-check",
        "--prefer-binary",
        "--retries=3",
        *arguments,
    ]
    process = subprocess.Popen(
        command,
        cwd=str(ROOT),
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    said, shown, began, terminal = [], None, time.time(), sys.stdout.isatty()
    reader = threading.Thread(
        target=lambda: [said.append(line) for line in process.stdout], daemon=True
    )
    reader.start()
    try:
        while reader.is_alive():
            reader.join(1 if terminal else 10)
            text, seconds = progress(said), int(time.time() - began)
            if reader.is_alive() and (terminal or text != shown):
                line, shown = f"  {seconds // 60}:{seconds % 60:02d}  {text}", text
                print(f"{line[:78]:78}" if terminal else line, end="\r" if terminal else "\n")
        return process.wait(), said
    finally:
        print(" " * 78 * terminal, end="\r" * terminal)
        process.terminate()  # after a Ctrl-C; one that has ended does not mind
        process.wait()
        shutil.rmtree(str(temporary), ignore_errors=True)


def install(requirements, index, packages):
    """Install a requirements file into .venv, from the folder wheels if there is one."""
    for info in packages.glob("*.dist-info"):
        if not (
            info / "INSTALLER"
        ).exists():  # an interruption cut this package short: have it put again
            shutil.rmtree(str(info))
    began = time.time()
    source = ["--extra-index-url", index] if index else []
    if WHEELS.is_dir() and requirements == "requirements.txt":  # the tests' extras are not in it
        source = ["--no-index", f"--find-links={WHEELS}"]
    code, said = pip_install(["-r", requirements, *source])
    check(code, said)
    print(
        f"Installed in {(time.time() - began) / 60:.1f} minutes, {downloaded(said):.0f} MB downloaded"
    )


def check(code, said):
    """Keep what pip said; if it failed, stop with one line that says why."""
    text = "".join(said)
    (CACHE / "install.log").write_text(text, "utf-8")
    if code == 0:
        return
    for pattern, advice in REASONS:
        found = re.search(pattern, text)
        if found:
            raise Stop(advice.format(**found.groupdict()))
    last = next((line.strip() for line in reversed(said) if line.strip()), "nothing")
    raise Stop(f"The installer pip failed. It said: {last} (the whole of it: .cache/install.log)")


def read_stamp():
    try:
        return json.loads(STAMP.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def prepare(names, index):
    """Make sure that .venv holds what these requirements files name; the last one includes the others."""
    wanted = {
        name: hashlib.sha256((ROOT / name).read_text("utf-8").encode()).hexdigest()
        for name in names
    }
    stamp, found = read_stamp(), probe()
    other_torch = bool(stamp and index and stamp.get("index") != index)
    if not found or other_torch or stamp.get("python", found[0]) != found[0]:
        if VENV.exists():
            print(
                "Another PyTorch is asked for"
                if other_torch
                else "The environment in .venv is broken"
            )
            shutil.rmtree(str(VENV))
        stamp, found = {}, make_venv()
    version, packages = found
    up = os.path.relpath(os.path.realpath(str(ROOT)), os.path.realpath(str(packages)))
    (packages / "rlhf_lessons.pth").write_text(
        up + "\n", "utf-8"
    )  # relative, so the folder may be moved
    files = stamp.get("files", {})
    if all(files.get(name) == value for name, value in wanted.items()):
        return
    index = torch_index(index or stamp.get("index"))
    announce(index, first=not stamp)
    STAMP.unlink(missing_ok=True)
    install(names[-1], index, packages)
    STAMP.write_text(
        json.dumps({"python": version, "index": index, "files": {**files, **wanted}}, indent=1),
        "utf-8",
    )


def run(arguments):
    """Run the Python of .venv until it ends and return its exit code."""
    process = subprocess.Popen([str(PYTHON), *arguments], cwd=str(ROOT), env=environment())
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            code = process.wait()
            return code if code >= 0 else 128 - code
        except KeyboardInterrupt:
            pass  # the program has seen it too and ends in its own way


def lab(options):
    """Hand out the lessons and open JupyterLab on the first."""
    from setup.lesson_copies import hand_out  # only now: an old Python could not read it

    try:
        news = hand_out(ROOT / "notebooks", ROOT / "my_lessons")
    except ValueError as error:
        raise Stop(str(error)) from error
    page = (
        CACHE / "jupyter" / "config" / "labconfig" / "page_config.json"
    )  # a first start asks about no news
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(
        '{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}',
        encoding="utf-8",
    )
    arguments = [
        f"--ServerApp.root_dir={ROOT}",
        "--LabApp.default_url=/lab/tree/my_lessons/00_before_and_after.ipynb",
        *(
            ["--allow-root"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
        ),  # as in most containers
        *(["--no-browser"] if options.no_browser else []),
        *([f"--port={options.port}"] if options.port else []),
    ]
    print(
        *news,
        "Your copies of the lessons are in my_lessons. Ctrl-C here ends JupyterLab.",
        sep="\n",
    )
    return run(["-m", "jupyterlab", *arguments])


def download(options):
    """Fill a folder with the course and its packages, for computers like this one."""
    from setup.offline import fill  # only now, as above

    if not probe():
        make_venv()
    index = torch_index(
        options.torch_index, for_gpu=False
    )  # laptops have none, whatever this computer has
    try:
        check(*fill(ROOT, Path(options.folder), pip_install, index))
    except ValueError as error:
        raise Stop(str(error)) from error
    print(
        f"Ready, for {sys.platform} with Python {sys.version_info[0]}.{sys.version_info[1]}. "
        f"Copy {options.folder} to such a computer, and there: python start.py lab"
    )
    return 0


def parse(arguments):
    """Return the options, and the words that are passed on to the tests or to the course."""
    look = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser(description=__doc__, **look)
    commands = parser.add_subparsers(
        dest="command", metavar="lab | course | test | teacher | download"
    )
    texts = {
        "lab": "open the lessons in JupyterLab, as your own copies in my_lessons",
        "course": "train all four stages in the terminal and compare the models; what else you write "
        "is passed on\n(its own help: python start.py course -- --help)",
        "test": "run all tests; what else you write is passed on to pytest",
        "teacher": "build dist/solved, the lessons with solutions, and dist/nbgrader, exercises to grade",
        "download": "fill a folder, from which computers like this one install without a network",
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False, **look)
        command.add_argument(
            "--torch-index", metavar="URL", help="look here too for PyTorch (other builds)"
        )
        if name == "lab":
            command.add_argument(
                "--no-browser", action="store_true", help="open no browser (for a server)"
            )
            command.add_argument("--port", type=int, metavar="N", help="the port of JupyterLab")
        if name == "download":
            command.add_argument("folder", help="such as that of a USB stick")
    options, rest = parser.parse_known_args(arguments or sys.argv[1:] or ["--help"])
    if rest and options.command in ("lab", "teacher", "download"):
        parser.error("not understood: " + " ".join(rest))
    return options, [word for word in rest if word != "--"]


def main(arguments=None):
    """Set up and start what was asked for; return the exit code."""
    sys.stdout.reconfigure(errors="replace", line_buffering=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    options, rest = parse(arguments)
    try:
        check_python()
        if options.command == "download":
            return download(options)
        prepare(
            ["requirements.txt", "requirements-test.txt"][: 1 + (options.command == "test")],
            options.torch_index,
        )
        if options.command == "lab":
            return lab(options)
        starts = {"course": "rlhf_lessons course", "test": "pytest", "teacher": "teaching.editions"}
        return run(["-m", *starts[options.command].split(), *rest])
    except Stop as stop:
        message = str(stop)
    except OSError as error:
        full = error.errno == errno.ENOSPC or getattr(error, "winerror", None) == 112
        message = DISK_FULL if full else f"{error.strerror or error}: {error.filename or ROOT}"
    except KeyboardInterrupt:
        print(
            "\nStopped. Start again with the same command: it goes on from there.", file=sys.stderr
        )
        return 130
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
