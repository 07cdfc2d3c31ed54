"""Driving a stage from the terminal: progress, a line of metrics a step, and a state to resume.

State and metrics are saved at the start, every half minute and at the end, beside and then renamed,
so that a run killed at any moment continues from the last state bit for bit. Metrics of steps after
it are dropped and measured again.
"""

import contextlib
import hashlib
import math
import shutil
import signal
import threading
import time
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from rlhf_lessons.data import json_rows, write_rows
from rlhf_lessons.lm import processes
from rlhf_lessons.paths import written_whole
from rlhf_lessons.stages.loop import Stopped

METRICS = "metrics.jsonl"
SAVE_SECONDS = 30
SHOWN = ("validation_loss", "loss", "accuracy", "reward", "true_utility", "kl")


class Interrupted(Stopped):
    """A run that was stopped from outside, between two steps; the same call continues it."""


def train(stage, folder: Path, label: str, after=None) -> list[dict]:
    """Run a stage to its end, resuming where `folder` holds a state; return each step's metrics.

    `after(steps done, metrics so far)`, called after each step, may return more metrics of it.

    Call `finished(folder)` once the model is saved. Interrupted after Ctrl-C (the step in progress
    is finished first; a second one does not wait). Stopped when a loss was not finite. ValueError
    when the state in `folder` is of another run: another config, or other weights or data.
    """
    state = folder / "state.pt"
    start = fingerprint(stage)
    if state.exists():
        resume(stage, state, start)
    metrics = read_metrics(folder)[: stage.step]

    def save_metrics() -> None:
        if processes.first():
            write_rows(folder / METRICS, metrics)

    def save() -> None:
        save_metrics()  # first, so that no step of the state lacks its row
        if processes.first():
            save_state({"start": start, **stage.state_dict()}, state)

    shown = {"desc": f"{label:8}", "mininterval": 1.0, "disable": not processes.first()}
    bar = tqdm(total=len(stage), initial=stage.step, **shown)
    saved = -math.inf  # when; the first time is before the first step
    with interruptible() as asked_to_stop, bar:
        try:
            while stage.step < len(stage) and not any(processes.gather(asked_to_stop.is_set())):
                if time.monotonic() - saved > SAVE_SECONDS:
                    save()
                    saved = time.monotonic()
                row = plain_numbers(next(stage))
                row |= after(stage.step, metrics) if after else {}
                metrics.append(row)
                shown = {name: f"{row[name]:.3f}" for name in SHOWN if row.get(name) is not None}
                bar.set_postfix(shown, refresh=False)
                bar.update()
        finally:
            save_metrics()  # of a run that failed, too
        save()
    if stage.step < len(stage):
        raise Interrupted(
            f"{label}: stopped after step {stage.step} of {len(stage)}; the same command "
            "continues from there"
        )
    return metrics


def save_state(state: dict, path) -> None:
    """Save a run; a kill at any moment leaves the old file or the new one, whole."""
    with written_whole(path) as beside:
        torch.save(state, beside)


def load_state(path) -> dict:
    """Load a saved run: tensors and plain data only, so no file can run code.

    ValueError if it is damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path}: no readable training state ({type(error).__name__}); start afresh"
        ) from error


def resume(stage, state: Path, start: str) -> None:
    """Put a stage where its state was saved; ValueError where that is another run's."""
    try:
        saved = load_state(state)
        if saved.get("start") != start:
            raise ValueError("it began from other weights or data, or with another number of steps")
        stage.load_state_dict(saved)
    except ValueError as error:
        raise ValueError(
            f"{state.parent} holds a stopped run that does not fit. Start afresh with --fresh, or "
            f"remove it ({error})"
        ) from error


def fingerprint(stage) -> str:
    """Return a hash of what a stage starts from: its weights, its data and its number of steps."""
    digest = hashlib.sha256(str(len(stage)).encode())
    for weights in stage.models.state_dict().values():
        flat = weights.cpu().contiguous().view(-1)
        digest.update(flat.view(torch.uint8).numpy())  # bfloat16 is unknown to NumPy
    for name in ("tokens", "rows", "prompts"):  # whichever the stage learns from
        rows = getattr(stage, name, ())
        digest.update(rows.numpy() if torch.is_tensor(rows) else repr(rows).encode())
    return digest.hexdigest()


def plain_numbers(step) -> dict:
    """Return the numbers of a step's metrics as plain data, None for those that are not finite."""
    numbers = {}
    for name, value in asdict(step).items():
        if isinstance(value, int | float | None):
            numbers[name] = value if math.isfinite(value or 0) else None
    return numbers


@contextlib.contextmanager
def interruptible():
    """Give an event that Ctrl-C (or SIGTERM) sets, so that a step is never cut in half."""
    asked = threading.Event()

    def ask(number, frame):
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_metrics(folder: Path) -> list[dict]:
    """Return a run's metrics, a dictionary a step."""
    return json_rows(folder / METRICS)


def finished(folder: Path) -> None:
    """Forget the state of a run whose model is saved; its metrics stay."""
    (folder / "state.pt").unlink(missing_ok=True)


def forget(folder: Path) -> None:
    """Remove a run, metrics and all, so that the next one starts afresh."""
    shutil.rmtree(folder, ignore_errors=True)
