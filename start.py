"""The front door of the course: sets everything up, then starts it, on Linux, macOS and Windows.

    python start.py lab       opens the lessons in JupyterLab
    python start.py course    trains all stages in the terminal
    python start.py test      runs all tests
    python start.py teacher   builds the teacher's editions of the lessons
    python start.py download FOLDER   fills a USB stick, from which others install without a network

Needs Python 3.11 to 3.14 and nothing else. What it installs goes into .venv (for the tests, into
.cache/tests besides); what programs keep for later goes into .cache. Nothing outside this folder
is touched.
"""

import argparse
import contextlib
import csv
import errno
import functools
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

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None

ROOT = Path(os.path.abspath(__file__)).parent
CACHE = ROOT / ".cache"
WHEELS = ROOT / "wheels"  # packages that `download` put there, to install from without a network
# PyTorch without the gigabytes that only a GPU needs
CPU_INDEX = "https://download.pytorch.org/whl/cpu"

DISK_FULL = "The disk is full. Free a few gigabytes, then start again: it continues from there."
COMPUTER = f"(Python {sys.version.split()[0]}, {sys.platform})"
REASONS = [  # what pip says when it fails, and what a person can do; the first match is told
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
        f"The folder wheels has not all that this computer needs {COMPUTER}. Fill it on one like "
        "this (python start.py download), or delete it to install from the internet.",
    ),
    (
        r"No matching distribution found for (?P<package>\S+)",
        f"There is no {{package}} for this computer {COMPUTER}. "
        "PyTorch needs a 64-bit Python, and on a Mac an Apple chip.",
    ),
]


class Stop(Exception):
    """Something that the person at the keyboard must fix; its text says what and how."""


class Environment:
    """A virtual environment of ours.

    Its stamp is written when the environment is whole, before packages come in, and says which
    requirements were installed to the end. Without a stamp the environment is made again.
    """

    def __init__(self, folder):
        self.folder = folder
        self.bin = folder / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / ("python.exe" if os.name == "nt" else "python")
        self.stamp = folder / "rlhf-lessons.json"

    def read(self):
        """Return what the stamp says, nothing where there is none."""
        try:
            return dict(json.loads(self.stamp.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def write(self, stamp):
        part = self.stamp.with_suffix(".part")
        part.write_text(json.dumps(stamp, indent=1), "utf-8")
        os.replace(str(part), str(self.stamp))

    def ask(self):
        """Return (version, folder of packages) of its Python, or None if that is not ours.

        Where pyvenv.cfg is missing, the python in here is the system's: its prefix tells.
        """
        question = (
            "import json, sys, sysconfig; "
            "print(json.dumps([sys.prefix, sys.version_info[:2], sysconfig.get_path('purelib')]))"
        )
        command = [str(self.python), "-c", question]
        quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "env": variables(self)}
        try:
            answer = subprocess.run(command, timeout=120, **quiet).stdout
            prefix, version, packages = json.loads(answer.decode("utf-8"))
        except (OSError, ValueError, subprocess.SubprocessError):
            return None
        own = os.path.realpath(str(self.folder))
        inside = os.path.realpath(packages).startswith(own + os.sep)
        return (version, Path(packages)) if os.path.realpath(prefix) == own and inside else None

    def make(self, base):
        """Make it anew, empty but for pip, with the Python `base`."""
        if self.folder.exists():
            print(f"The environment in {self.folder.relative_to(ROOT)} is broken or of no use now")
            self.stamp.unlink(missing_ok=True)  # first: half an environment must not count as whole
            shutil.rmtree(str(self.folder))
        print(f"Making an environment of its own in {self.folder.relative_to(ROOT)}")
        made = subprocess.run(
            [str(base), "-I", "-m", "venv", str(self.folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=variables(self, temporary()),
            close_fds=False,
        )
        found = self.ask()
        if made.returncode or not found:
            said = " ".join(made.stdout.decode("utf-8", "replace").split())
            if shutil.disk_usage(str(ROOT)).free < 1e8:
                raise Stop(DISK_FULL)
            hint = "On Debian and Ubuntu: sudo apt install python{}.{}-venv. "
            hint = hint.format(*sys.version_info) if "ensurepip" in said else ""
            raise Stop(f"Python could not make {self.folder}. {hint}It said: {said[-300:]}")
        self.write({"python": found[0]})


LEARNER = Environment(ROOT / ".venv")
TESTS = Environment(
    CACHE / "tests"
)  # sees all that is in .venv; what only tests need is here alone


def check_python():
    if not (3, 11) <= sys.version_info[:2] <= (3, 14):
        names = [f"python3.{n}" for n in (14, 13, 12, 11)]
        found = next((name for name in names if shutil.which(name)), None)
        here = f"Use the {found} that is here"
        advice = here if found else "Get one from https://www.python.org/downloads/"
        raise Stop(
            f"The course needs Python 3.11 to 3.14, and this is {sys.version.split()[0]}. "
            f"{advice}, then: {found or 'python3.13'} start.py lab"
        )
    if os.pathsep in str(ROOT):
        raise Stop(f"Rename this folder: no program can be found in a path with {os.pathsep} in it")


def variables(environment, temporary=None):
    """Return the variables for what we start: our Python first, caches in this folder."""
    env = dict(os.environ)
    for name in ("PYTHONPATH", "PYTHONHOME"):
        env.pop(name, None)
    path = [str(environment.bin), str(LEARNER.bin), env.get("PATH", "")]
    env.update(VIRTUAL_ENV=str(environment.folder), PATH=os.pathsep.join(path), PYTHONUTF8="1")
    folders = {
        "HF_HOME": "huggingface",
        "MPLCONFIGDIR": "matplotlib",
        "IPYTHONDIR": "ipython",
        "JUPYTER_CONFIG_DIR": "jupyter/config",
        "JUPYTER_DATA_DIR": "jupyter/data",
        "PIP_CACHE_DIR": "pip",
    }
    for name, folder in folders.items():
        env.setdefault(name, str(CACHE / folder))
    env.setdefault("HF_HUB_OFFLINE", "1")  # the course downloads nothing; 0 lets you load models
    if environment is TESTS:
        shared = LEARNER.folder / "share" / "jupyter"
        env.update(JUPYTER_PATH=str(shared), JUPYTERLAB_DIR=str(shared / "lab"))
    if temporary:
        env.update(dict.fromkeys(["TMPDIR", "TEMP", "TMP"], str(temporary)))
    return env


def temporary():
    """Return a folder for what set-up needs for a while: on the disk whose space we checked."""
    folder = CACHE / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def alone():
    """Wait until no other set-up is at work in this folder, nor what a killed one left running.

    Programs started with close_fds=False hold the lock too, until they end.
    """
    CACHE.mkdir(exist_ok=True)
    with open(str(CACHE / "lock"), "w") as lock:
        if fcntl:
            os.set_inheritable(lock.fileno(), True)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("Another set-up is at work in this folder: waiting for its end")
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def torch_index(wanted, for_gpu=True):
    """Return the address of an extra package index for PyTorch, or None to take pip's own."""
    gpu = for_gpu and (shutil.which("nvidia-smi") or os.path.exists("/proc/driver/nvidia"))
    if wanted or gpu or WHEELS.is_dir() or not sys.platform.startswith("linux"):
        return wanted
    try:
        request = urllib.request.Request(CPU_INDEX + "/torch/", method="HEAD")
        urllib.request.urlopen(request, timeout=3).close()
    except Exception:  # whatever is wrong with it, we can do without
        print("PyTorch's own index does not answer: taking PyTorch from where pip looks (larger)")
        return None
    return CPU_INDEX


def announce(index, first):
    """Say what will be installed, in megabytes and minutes; stop if the disk is too small."""
    here = WHEELS.is_dir()
    megabytes, gigabytes, minutes = 400, 3, "2 to 10"
    if sys.platform.startswith("linux") and "cpu" not in (index or "") and not here:
        megabytes, gigabytes, minutes = 3000, 9, "5 to 30"  # with libraries for GPUs
    source = "from the folder wheels" if here else f"up to {megabytes} MB to download"
    if first:
        print(f"Installing PyTorch, JupyterLab and what they need: {source}, {minutes} minutes")
    else:
        gigabytes = 1
        print("Installing what is new since last time")
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if free < gigabytes:
        raise Stop(
            f"The disk is too full: the set-up needs {gigabytes} GB, and {free:.1f} GB are free "
            f"where this folder is. Free some, or move the folder to another disk."
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
    units = {"": 1e-6, "k": 1e-3, "M": 1, "G": 1e3}
    return sum(float(number) * units[unit] for number, unit in sizes)


def run_pip(environment, arguments):
    """Run pip and return (exit code, lines).

    A terminal sees one line that lives, a log sees a line now and then.
    """
    keep = temporary()
    options = "--progress-bar=off --no-input --no-color --disable-pip-version-check --retries=3"
    process = subprocess.Popen(
        [str(environment.python), "-m", "pip", *arguments, *options.split(), "--prefer-binary"],
        cwd=str(ROOT),
        env=dict(variables(environment, keep), PIP_USER="0", PIP_REQUIRE_VIRTUALENV="1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        close_fds=False,
    )
    said, shown, began, terminal = [], None, time.time(), sys.stdout.isatty()
    collect = lambda: [said.append(line) for line in process.stdout]  # noqa: E731
    reader = threading.Thread(target=collect, daemon=True)
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
        shutil.rmtree(str(keep), ignore_errors=True)


def pip(environment, *arguments):
    """Run pip, keep what it said in .cache/install.log, and stop with one line if it failed."""
    code, said = run_pip(environment, arguments)
    text = "".join(said)
    (CACHE / "install.log").write_text(text, "utf-8")
    if code == 0:
        shutil.rmtree(str(CACHE / "pip"), ignore_errors=True)  # what an interrupted one starts with
        return said
    for pattern, advice in REASONS:
        found = re.search(pattern, text)
        if found:
            raise Stop(advice.format(**found.groupdict()))
    last = next((line.strip() for line in reversed(said) if line.strip()), "nothing")
    raise Stop(f"The installer pip failed. It said: {last} (the whole of it: .cache/install.log)")


def is_whole(info):
    """Return whether all files of an installed package are there, as long as its RECORD says."""
    try:
        (info / "INSTALLER").stat()  # pip writes it near the end
        for row in csv.reader((info / "RECORD").read_text("utf-8").splitlines()):
            if row and not row[0].endswith(".pyc"):
                size = (info.parent / row[0]).stat().st_size
                if row[2] and int(row[2]) != size:
                    return False
    except (OSError, IndexError, ValueError):
        return False
    return True


def remove_halves(packages):
    """Forget the packages that an interruption cut short, so that pip installs them again."""
    for info in packages.glob("*.dist-info"):
        if not is_whole(info):
            shutil.rmtree(str(info))
    for left in packages.glob("~*"):  # where pip puts what it is about to remove
        shutil.rmtree(str(left), ignore_errors=True)


def prepare(environment, base, requirements, paths, python=None, index=None):
    """Make sure that an environment of ours holds what a requirements file names.

    `base` is the program to make it with, `python` the version that it must have, `paths` are
    folders where it finds more, `index` is an address to look for PyTorch at. What an interruption
    left is completed where that is safe, and made anew where not.
    """
    names = sorted({"requirements.txt", requirements})  # the tests' lacks what .venv has
    text = "".join((ROOT / name).read_text("utf-8") for name in names)
    wanted = hashlib.sha256(text.encode()).hexdigest()
    stamp, found = environment.read(), environment.ask()
    other_torch = bool(index and stamp.get("index", index) != index)
    if not found or found[0] != (python or stamp.get("python")) or other_torch:
        if other_torch:
            print("Another PyTorch is asked for")
        environment.make(base)
        stamp, found = environment.read(), environment.ask()
    packages = found[1]
    here = os.path.realpath(str(packages))
    for i, path in enumerate(paths):  # relative, so that the folder may be moved
        line = os.path.relpath(os.path.realpath(str(path)), here) + "\n"
        (packages / f"rlhf_lessons_{i}.pth").write_text(line, "utf-8")
    if stamp.get("installed") == wanted:
        return
    options = ["-c", "requirements.txt"]
    if environment is LEARNER:
        index = torch_index(index or stamp.get("index"))
        announce(index, first="installed" not in stamp)
        options = ["--extra-index-url", index] if index else []
        if WHEELS.is_dir():  # the tests' extras are not in it
            options = ["--no-index", f"--find-links={WHEELS}"]
    environment.write({"python": found[0], "index": index})
    remove_halves(packages)
    began = time.time()
    said = pip(environment, "install", "-r", requirements, *options)
    environment.write({"python": found[0], "index": index, "installed": wanted})
    minutes, megabytes = (time.time() - began) / 60, downloaded(said)
    print(f"Installed in {minutes:.1f} minutes, {megabytes:.0f} MB downloaded")


def prepare_lessons(index):
    base = getattr(sys, "_base_executable", sys.executable)  # not one inside a folder to be removed
    prepare(LEARNER, base, "requirements.txt", [ROOT], index=index)


def prepare_tests():
    python, packages = LEARNER.ask()
    paths = [packages, ROOT]
    prepare(TESTS, LEARNER.python, "requirements-test.txt", paths, python=python)


def run(environment, arguments):
    """Run the Python of an environment until it ends and return its exit code."""
    command = [str(environment.python), *arguments]
    process = subprocess.Popen(command, cwd=str(ROOT), env=variables(environment))
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
    page = CACHE / "jupyter" / "config" / "labconfig" / "page_config.json"
    page.parent.mkdir(parents=True, exist_ok=True)
    no_news = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    page.write_text(json.dumps(no_news), "utf-8")  # a first start asks about no news
    arguments = [
        f"--ServerApp.root_dir={ROOT}",
        "--LabApp.default_url=/lab/tree/my_lessons/00_before_and_after.ipynb",
    ]
    if getattr(os, "geteuid", lambda: 1)() == 0:
        arguments.append("--allow-root")  # as in most containers
    if options.no_browser:
        arguments.append("--no-browser")
    if options.port:
        arguments.append(f"--port={options.port}")
    for line in news:
        print(line)
    print("Your copies of the lessons are in my_lessons. Ctrl-C here ends JupyterLab.")
    return run(LEARNER, ["-m", "jupyterlab", *arguments])


def download(options):
    """Fill a folder with the course and its packages, for computers like this one."""
    from setup.offline import fill  # only now, as above

    if not (LEARNER.read() and LEARNER.ask()):
        LEARNER.make(getattr(sys, "_base_executable", sys.executable))
    index = torch_index(options.torch_index, for_gpu=False)  # laptops have none
    try:
        fill(ROOT, Path(options.folder), functools.partial(pip, LEARNER), index)
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
        "course": "train all stages in the terminal and compare the models; what else you\n"
        "write is passed on (its own help: python start.py course -- --help)",
        "test": "run all tests; what else you write is passed on to pytest",
        "teacher": "build dist/solved, the lessons with solutions, and dist/nbgrader, for grading",
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
        with alone():
            if options.command == "download":
                return download(options)
            prepare_lessons(options.torch_index)
            if options.command == "test":
                prepare_tests()
        if options.command == "lab":
            return lab(options)
        if options.command == "test":
            return run(TESTS, ["-m", "pytest", *rest])
        starts = {"course": ["rlhf_lessons", "course"], "teacher": ["teaching.editions"]}
        return run(LEARNER, ["-m", *starts[options.command], *rest])
    except Stop as stop:
        message = str(stop)
    except OSError as error:
        full = error.errno == errno.ENOSPC or getattr(error, "winerror", None) == 112
        message = DISK_FULL if full else f"{error.strerror or error}: {error.filename or ROOT}"
    except KeyboardInterrupt:
        again = "Start again with the same command: it continues from there."
        print(f"\nStopped. {again}", file=sys.stderr)
        return 130
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
