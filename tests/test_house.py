"""The house: one room for each thing, and doors that lead down only."""

import ast
import sys
from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path

import tiny
from test_size import size

import rlhf_lessons
from rlhf_lessons.feedback import new_id
from rlhf_lessons.feedback.online import OnlineReward
from rlhf_lessons.lm import sampling
from rlhf_lessons.lm.models import to_reward_model
from rlhf_lessons.stages.config import PPOConfig
from rlhf_lessons.stages.ppo import PPO
from rlhf_lessons.widgets.rate import rate

PACKAGE = Path(rlhf_lessons.__file__).parent
LOOSE = {"__init__", "__main__", "cli", "paths", "data", "recipes", "checkpoints", "plots"}
# From the ground up; a module imports from its own floor and from those below it.
FLOORS = [
    {"paths"},
    {"world"},
    {"data"},
    {"lm"},
    {"checkpoints"},
    {"stages"},
    {"evaluation", "plots"},
    {"recipes"},
    {"feedback"},
    {"exercises", "widgets"},
    {"reports"},
    {"classroom"},
    {"cli"},
    {"__init__", "__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> dict[str, Path]:
    """Each module of the package by its dotted name, without the package's own."""
    found = {}
    for file in PACKAGE.rglob("*.py"):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
        found[name] = file
    return found


MODULES = modules()


def imported(file: Path) -> set[str]:
    """The package's modules that a file imports, also where a function does so later."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")[1:] if name.startswith("rlhf_lessons") else []
            while parts and ".".join(parts) not in MODULES:
                parts.pop()  # a name within a module
            if parts:
                found.add(".".join(parts))
    return found


ARROWS = {name: imported(file) for name, file in MODULES.items()}


def room(module: str) -> str:
    return module.split(".")[0]


def test_at_most_eight_modules_lie_loose():
    assert {file.stem for file in PACKAGE.glob("*.py")} <= LOOSE
    assert len(LOOSE) <= 8


def test_every_room_has_its_floor():
    assert {room(name) for name in MODULES} == set(FLOOR)


def test_no_arrow_leads_from_a_lower_room_to_a_higher():
    up = {
        f"{name} -> {target}"
        for name, targets in ARROWS.items()
        for target in targets
        if FLOOR[room(target)] > FLOOR[room(name)]
    }
    assert not up


def test_no_two_modules_import_each_other_in_a_circle():
    TopologicalSorter(ARROWS).prepare()  # CycleError names the circle


def entered(act: Callable[[], object]) -> set[str]:
    """The package's files in which a function was called while `act` ran."""
    found = set()

    def note(frame, event, argument):
        if event == "call":
            found.add(frame.f_code.co_filename)

    sys.setprofile(note)
    try:
        act()
    finally:
        sys.setprofile(None)
    return {file for file in found if file.startswith(str(PACKAGE))}


def test_one_step_of_ppo_is_read_in_at_most_five_files(monkeypatch):
    """cleanrl's has 1 file and 2,185 tokens, nanochat's 2 and 3,923; ours had 7 and 8,092.

    About 320 of ours are formulas of RLOO and GRPO, which stand in the same file. Sampling takes
    the readable loop: what the fast decoder does, it does too. `lm/processes.py` is not counted: in
    one process its functions change nothing; calling them takes about 110 tokens.
    """
    monkeypatch.setattr(sampling, "fast", lambda model: model)
    ppo = tiny.stage("ppo")
    next(ppo)  # models are checked in the first step
    files = [Path(file) for file in entered(lambda: next(ppo))]
    files.remove(PACKAGE / "lm" / "processes.py")
    assert len(files) <= 5, files
    assert size(files) <= 7020


CARD = ("judgements.js", "card.js")
NO_VOTE_PASSES = {  # files that are entered on the way for something else
    "feedback/queue.py": "how much is left to do, which the card is told with the acknowledgement",
    "evaluation/intervals.py": "how sure it is that the reward model predicts the next votes",
    "evaluation/best_of_n.py": "a sample of the policy, drawn to be shown",
    "evaluation/arena.py": "the same",
    "stages/losses.py": "a step of PPO, whatever its reward: the test above counts it",
    "stages/loop.py": "the same",
    "stages/reward.py": "the score of the shipped reward model, to which the votes add",
}


def test_a_vote_goes_from_the_click_to_ppo_through_at_most_eleven_files(store):
    """A file counts where a function of it is called while one vote goes from the notebook's card
    into the store, from there into the reader's reward model, and with that into a step of PPO.

    The card's own scripts, which no profile of Python sees, count by name. Not counted are `lm`,
    on which every training stands, what is listed above with its reason, and what happens once
    for many votes: opening the database, and checking that the models work.
    """
    answers = [{"text": "yes"}, {"text": "no"}]
    card = rate([{"prompt": f"{n}?", "completions": answers} for n in range(2)], "r", store=store)
    policy, words = tiny.model(), tiny.tokenizer()
    shipped = to_reward_model(policy)
    online = OnlineReward(store, "r", policy=(policy, words), reward_model=shipped)
    config = PPOConfig(steps=4, batch_size=8, critic_warmup=1, max_new_tokens=8)
    ppo = PPO(policy, words, lambda *row: online.reward(*row), ["?"] * 8, config, shipped)

    def from_the_click_to_ppo():
        vote = {"type": "answer", "id": new_id(), "task": task, "kind": "pair"}
        card._handle_custom_msg(vote | {"payload": {"choice": "left", "strength": 1}}, [])
        online.learn()
        next(ppo)

    for _ in range(2):  # the second vote is followed
        task = card.session.handle({"type": "next"})["task"]["task"]
        files = entered(from_the_click_to_ppo)
    assert online.seen == 2
    names = {Path(file).relative_to(PACKAGE).as_posix() for file in files}
    way = {name for name in names - NO_VOTE_PASSES.keys() if not name.startswith("lm/")}
    assert len(way) + len(CARD) <= 11, "\n".join(sorted(way))
