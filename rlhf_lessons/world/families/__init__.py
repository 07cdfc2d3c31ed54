"""The five families of answers, a module each: `write` writes an answer, `judge` reads one.

`write(spec: dict, likes: set, parts: set, rng: random.Random) -> str` takes the facts of the
prompt, the writer's tastes, the parts that they write and their dice.

`judge(spec: dict, text: str) -> tuple[float, float, float, dict]` returns relevance, accuracy and
clarity, which `world/judge.py` combines: parts of an answer that are missing lower its relevance,
faults its accuracy, and what reads badly its clarity. The dictionary says of each part that a
reader looks for, named by its fact in `spec` or by a word, whether it is there.
"""

from rlhf_lessons.world.families import code, email, maths, poem, story

MODULES = {"story": story, "email": email, "poem": poem, "code": code, "maths": maths}
