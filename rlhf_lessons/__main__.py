"""`python -m rlhf_lessons`."""

import sys

from rlhf_lessons.cli import main

if __name__ == "__main__":  # not in a process that the class page begins
    sys.exit(main(sys.argv[1:]))
