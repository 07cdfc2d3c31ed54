"""What an answer of the toy world leaves out."""

import re

from rlhf_lessons.world.answers import HABITS
from rlhf_lessons.world.judge import judge
from rlhf_lessons.world.tasks import parse

SAID = HABITS["said"]


def parts(prompt: str, text: str) -> dict[str, bool]:
    """Return which of the parts that raters look for are in an answer, by name.

    The parts of each family are those of `[writers.parts]` in `texts.toml`. Answers in other words
    than the world's writers have may be misread; `judge` is for those.
    """
    spec = parse(prompt)
    code = text.partition("#")[0]
    seen = {
        "all": len(re.findall(r"\w+", code)) > 2,  # more than print("cat")
        "bracket": code.count("(") == code.count(")"),
    }
    closed = judge(prompt, text).accuracy > 0.5  # an ending, a sign-off, a rhyme
    found = {}
    for part in HABITS["parts"][spec["family"]]:
        said = part in SAID and SAID[part].format(**spec) in text
        found[part] = said or seen.get(part, closed and part not in SAID)
    return found
