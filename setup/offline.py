"""A folder, such as a USB stick, from which the course installs without a network.

`python start.py download FOLDER` calls `fill`. Standard library only, since it runs in whatever Python the teacher has.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

ROOM = 1.5e9  # bytes: the course with its models, and the packages for one kind of computer
OWN = (
    ".*",
    "__pycache__",
    "*.egg-info",
    "my_lessons",
    "runs",
    "build",
    "dist",
)  # stays with whoever made it
WITH_DOT = (".gitignore", ".gitattributes")


def fill(course: Path, folder: Path, pip: Callable, index: str | None) -> tuple[int, list[str]]:
    """Copy the course into a folder, over what is there, and its packages into the folder's `wheels`.

    What you made yourself (lessons, votes, models) is not copied, and nothing in the folder is removed. `pip` is called
    with arguments and the name of its command; what it returns, (exit code, lines that it printed), is returned.
    Raises ValueError when the folder lies in the course or is too full.
    """
    course, folder = course.resolve(), folder.expanduser().resolve()
    if folder == course or course in folder.parents:
        raise ValueError(
            f"{folder} lies in the course itself. Name a folder outside, such as that of a USB stick."
        )
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(folder).free < ROOM and not any(wheels.glob("torch-*")):
        raise ValueError(f"{folder} is too full: it needs {ROOM / 1e9:.1f} GB.")
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
    # "wheel" and not "download": where a package comes as source, this builds it now, while there is a network
    return pip(
        [
            "-r",
            "requirements.txt",
            "--wheel-dir",
            str(wheels),
            *(["--extra-index-url", index] if index else []),
        ],
        "wheel",
    )
