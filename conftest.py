"""Tests and lessons touch nothing that a reader has made: they get an empty folder for runs."""

import atexit
import os
import shutil
import tempfile

from nbval.plugin import IPyNbCell

from tests.nearly import compare_nearly

os.environ["RLHF_LESSONS_RUNS"] = tempfile.mkdtemp(prefix="rlhf-lessons-")
atexit.register(shutil.rmtree, os.environ["RLHF_LESSONS_RUNS"], ignore_errors=True)
collect_ignore = ["notebooks/08_a_real_model.ipynb"]  # tests/test_lesson_8.py
IPyNbCell.compare_outputs = compare_nearly(IPyNbCell.compare_outputs)
