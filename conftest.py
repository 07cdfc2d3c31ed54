"""Tests and lessons touch nothing that a reader has made: they get an empty folder for runs."""

import atexit
import os
import shutil
import tempfile

os.environ["RLHF_LESSONS_RUNS"] = tempfile.mkdtemp(prefix="rlhf-lessons-")
atexit.register(shutil.rmtree, os.environ["RLHF_LESSONS_RUNS"], ignore_errors=True)
