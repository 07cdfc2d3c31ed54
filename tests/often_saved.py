"""The command line with a state saved after almost every step, for tests that kill it:
`python tests/often_saved.py COMMAND ...`. Each process writes its process id beside the runs."""

import os
import sys

from rlhf_lessons import paths
from rlhf_lessons.cli import main
from rlhf_lessons.stages import run

if __name__ == "__main__":
    run.SAVE_SECONDS = 0.05
    paths.write_text(paths.RUNS / f"{os.environ.get('RANK', 0)}.pid", str(os.getpid()))
    sys.exit(main(sys.argv[1:]))
