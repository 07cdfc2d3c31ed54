"""The five families of answers, a module each: `write` writes an answer, `judge` reads one.

`write(spec, likes, fault, rng)` takes the facts of the prompt, the writer's tastes and the fault
that they make, if any. `judge(spec, text)` returns relevance, accuracy and clarity, which
`world/judge.py` combines. Both name the parts that an answer of the family has.
"""

from rlhf_lessons.world.families import code, email, maths, poem, story

MODULES = {"story": story, "email": email, "poem": poem, "code": code, "maths": maths}
