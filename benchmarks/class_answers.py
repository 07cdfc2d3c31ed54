"""What lesson 3 and a class rate: two answers each by the shipped base, SFT and PPO model to 320
training prompts, with the shipped reward model's score.

    python benchmarks/class_answers.py     # writes data/class_answers.jsonl
"""

import random

from rlhf_lessons import data, paths
from rlhf_lessons.checkpoints import load
from rlhf_lessons.feedback.pairs import answers_by

PROMPTS = 320


def class_answers() -> list[dict]:
    """Return a row for each prompt, with six answers."""
    models = {name: load(name, "shipped") for name in ("base", "sft", "ppo")}
    prompts = random.Random(0).sample(data.prompts_of("train"), PROMPTS)
    return answers_by(models, prompts, 2, load("reward", "shipped")[0])


if __name__ == "__main__":
    data.write_rows(paths.DATA / "class_answers.jsonl", class_answers())
