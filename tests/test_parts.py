"""What answers leave out is read as it was written."""

import random

import pytest

from rlhf_lessons.data import written_demonstrations
from rlhf_lessons.evaluation.parts import parts
from rlhf_lessons.world.answers import HABITS, answer
from rlhf_lessons.world.tasks import FAMILIES, prompts


@pytest.mark.parametrize("family", FAMILIES)
def test_the_parts_found_are_those_that_were_written(family):
    rng = random.Random(0)
    names = HABITS["parts"][family]
    for task in prompts("train", 200):
        for habit in HABITS["habits"] if task.family == family else ():
            writes = {names[place] for place in habit["writes"] if place < len(names)}
            text = answer(task.spec, rng, writes)
            found = parts(task.prompt, text)
            assert {part for part, there in found.items() if there} == writes, text


def test_each_part_is_in_less_than_half_of_the_demonstrations_and_more_than_a_third():
    """Shares of 160 draws each, so within four standard errors of 0.47."""
    rows = written_demonstrations()
    for i, family in enumerate(FAMILIES):  # they come in turn
        found = [parts(row["prompt"], row["completion"]) for row in rows[i :: len(FAMILIES)]]
        assert list(found[0]) == HABITS["parts"][family]
        for part in found[0]:
            assert 0.33 < sum(there[part] for there in found) / len(found) < 0.65, (family, part)
