"""Makes the book: lessons, glossary and the teacher's kit as a site to be read without a network.

    python teaching/book.py            writes dist/book/index.html

The first time, it installs Jupyter Book into an environment of its own, .cache/book (about 300 MB).
The outputs in the book are those of the committed lessons: nothing is run. Python 3.11 or newer.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".cache" / "book"
PARTS = (
    "README.md",
    "LICENSE",
    "CITATION.cff",
    "start.py",
    "data/README.md",
    "notebooks",
    "teaching",
    "benchmarks",
)
# Would fetch code from a server, to run cells with; the book runs none
THEBE = re.compile(
    r"<script[^>]*>const THEBE_JS_URL.*?</script>|<script[^>]*sphinx-thebe\.js[^>]*></script>", re.S
)


def jupyter_book() -> str | None:
    """Return the path of the program, from its own environment or the active one, or None."""
    own = ENVIRONMENT / ("Scripts" if os.name == "nt" else "bin")
    return shutil.which("jupyter-book", path=str(own)) or shutil.which("jupyter-book")


def install() -> str:
    """Make the environment and return the path of the program in it."""
    print("Installing Jupyter Book into .cache/book, once")
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    python = ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "-r", ROOT / "teaching/book/requirements.txt"],
        check=True,
    )
    return jupyter_book()


def adapt(source: Path) -> None:
    """Change the copies where a book is no folder: nothing runs on Colab, the slides are a page."""
    for notebook in (source / "notebooks").glob("*.ipynb"):
        book = json.loads(notebook.read_text("utf-8"))
        book["cells"] = [
            cell for cell in book["cells"] if not cell.get("id", "").endswith("-colab")
        ]
        notebook.write_text(json.dumps(book), "utf-8")
    for page in (source / "teaching").glob("*.md"):
        text = re.sub(
            r"\[([^]]*)\]\(slides\.md\)",
            r'<a href="../slides.html">\1</a>',
            page.read_text("utf-8"),
        )
        page.write_text(text, "utf-8")


def build(program: str, target: Path) -> Path:
    """Build the book in the folder `target`, whatever was there before, and return its first page.

    Only what the book holds is copied to where it is built, so that Sphinx looks through no
    environment and no runs.
    """
    shutil.rmtree(target, ignore_errors=True)
    source, work = target / "source", target / "work"
    for part in PARTS:
        (source / part).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / part).is_dir():
            shutil.copytree(
                ROOT / part, source / part, ignore=shutil.ignore_patterns(".*", "__pycache__")
            )
        else:
            shutil.copy(ROOT / part, source / part)
    adapt(source)
    settings = source / "teaching" / "book"
    command = [
        program,
        "build",
        source,
        "--toc",
        settings / "_toc.yml",
        "--config",
        settings / "_config.yml",
        "--path-output",
        work,
        "--quiet",
        "--all",
    ]
    made = subprocess.run(command, cwd=source, env=os.environ | {"PYTHONUTF8": "1"})
    if made.returncode:
        raise SystemExit("Jupyter Book could not build the book; what it said stands above.")
    for page in (work / "_build" / "html").rglob("*.html"):
        page.write_text(THEBE.sub("", page.read_text("utf-8")), "utf-8")
    for item in (work / "_build" / "html").iterdir():
        shutil.move(str(item), target)
    subprocess.run(
        [sys.executable, ROOT / "teaching" / "slides.py", target / "slides.html"], check=True
    )
    shutil.rmtree(source)
    shutil.rmtree(work)
    return target / "index.html"


def main() -> None:
    print("Open", build(jupyter_book() or install(), ROOT / "dist" / "book"))


if __name__ == "__main__":
    sys.exit(main())
