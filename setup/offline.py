"""A folder, such as a USB stick, from which the course installs without a network.

`python start.py download FOLDER` calls `fill`. Standard library only, since it runs in whatever
Python the teacher has.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

NEEDED = 1.5e9  # bytes: the course with its models, and the packages for one kind of computer
# Stays with whoever made it
OWN = (".*", "__pycache__", "*.egg-info", "my_lessons", "runs", "build", "dist")
WITH_DOT = (".gitignore", ".gitattributes")


def fill(course: Path, folder: Path, pip: Callable, index: str | None) -> None:
    """Copy the course into a folder, over what is there, and its packages into `wheels` in there.

    What you made yourself (lessons, votes, models) is not copied, and nothing in the folder is
    removed. `pip` is called with the words of a command line. Raises ValueError when the folder
    lies in the course or is too full.
    """
    course, folder = course.resolve(), folder.expanduser().resolve()
    if folder == course or course in folder.parents:
        raise ValueError(
            f"{folder} lies in the course itself. Name a folder outside, as on a USB stick."
        )
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < NEEDED and not any(wheels.glob("torch-*")):
        raise ValueError(f"{folder} is too full: it needs {NEEDED / 1e9:.1f} GB.")
    # copyfile, since the file systems of sticks know no permissions
    shutil.copytree(
        course,
        folder,
        ignore=shutil.ignore_patterns(*OWN),
        copy_function=shutil.copyfile,
        dirs_exist_ok=True,
    )
    for name in WITH_DOT:
        if (course / name).exists():
            shutil.copyfile(course / name, folder / name)
    print(f"The course is in {folder}. Downloading its packages: up to 400 MB, 2 to 10 minutes")
    # "wheel", not "download": a package that comes as source is built now, with a network
    extra = ["--extra-index-url", index] if index else []
    pip("wheel", "-r", "requirements.txt", "--wheel-dir", str(wheels), *extra)
