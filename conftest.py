"""Tests and lessons run beside what a reader has made, not in it: they get an empty folder for models and ratings."""

import atexit
import os
import shutil
import tempfile

os.environ["RLHF_LESSONS_RUNS"] = tempfile.mkdtemp(prefix="rlhf-lessons-")
atexit.register(shutil.rmtree, os.environ["RLHF_LESSONS_RUNS"], ignore_errors=True)
