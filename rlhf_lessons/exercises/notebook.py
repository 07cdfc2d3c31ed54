"""How long will a lesson run here, and how does one stop it?

The clock is a second of real training, compared with the machine on which the lessons' minutes were
measured.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch

from rlhf_lessons.lm.models import new_model, toy_config

REFERENCE = 0.15  # seconds a step on the two cores on which the lessons' minutes were measured
BATCH, LENGTH, VOCABULARY, STEPS = 16, 128, 1024, 7


def seconds_a_step() -> float:
    """Return the median seconds of a training step of a model of the course's size."""
    model = new_model(toy_config(VOCABULARY), seed=0)
    ids = torch.randint(5, VOCABULARY, (BATCH, LENGTH), generator=torch.Generator().manual_seed(0))
    found = []
    for _ in range(STEPS):
        start = time.perf_counter()
        model(ids, labels=ids).loss.backward()
        found.append(time.perf_counter() - start)
    return median(found[2:])  # the first ones warm up


def minutes_here(minutes: float) -> None:
    """Print how long cells that took so many minutes on our two cores will take on this machine."""
    here = minutes * seconds_a_step() / REFERENCE
    about = (
        "less than a minute"
        if here < 0.75
        else f"about {here:.0f} minute{'s' * (round(here) != 1)}"
    )
    took = f"{minutes:g} minute{'s' * (minutes != 1)}"
    print(f"All cells of this lesson took {took} on two CPU cores. On this machine: {about}.")


@contextmanager
def stoppable() -> Iterator[None]:
    """Let the reader interrupt what is inside (the ■ in Jupyter's toolbar): it stops cleanly, and
    all that was learned so far is kept."""
    try:
        yield
    except KeyboardInterrupt:
        print("Stopped. What was learned so far is kept; the next cells work with it.")
