"""Something to rate: rounds drawn from a file of answers, the opposite briefs of two teams, and their guessing game.

The file has one JSON object a line: {"prompt", "completions": [{"text", "model", "reward", "ended"}, ...]}; of a
completion only the text is needed. A notebook can add rounds of fresh answers to the same store at any time, with
`Store.add_tasks`.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

from rlhf_lessons import paths
from rlhf_lessons.data import DataError
from rlhf_lessons.feedback import Refused, Store, near_identical
from rlhf_lessons.world.tasks import FAMILIES, parse

ANSWERS = paths.DATA / "class_answers.jsonl"  # by several models
SHOWN = {"pair": 2, "ranking": 4, "scores": 2, "demonstration": 0}  # answers in a task
WORDS = {
    "pair": "pairs",
    "ranking": "rankings",
    "scores": "scores",
    "demonstration": "ideal answers",
    "story": "stories",
    "email": "e-mails",
    "poem": "poems",
    "code": "code",
    "maths": "sums",
}
BRIEFS = {
    "sun": "Stories should end well. Of two stories, choose the one with the happier end.",
    "moon": "Stories should end badly. Of two stories, choose the one with the sadder end.",
}  # opposite tastes, neither of them wrong: two reward models can learn one each
PER_PROMPT = 12  # tasks at most, no two with the same answers
VOTES = 2400  # that a round has room for: 100 students who rate 20 each, and some to spare
REPEATS = 0.05  # share of pairs that a rater sees a second time, sides swapped
WHOSE = "whose is whose"  # a round of pairs, one answer by the model of each team ("sun", "moon"): who wrote which?


def brief(team: str, round: str | None) -> str:
    """Return what a team is to look for in a round; nothing where there are no teams."""
    if round == WHOSE:
        return "Of each two answers, a model that learned from Team Sun wrote one, a model of Team Moon the other."
    return BRIEFS.get(team, "")


def other(team: str) -> str:
    """Return the team whose answers a member of `team` looks for in the round `WHOSE`."""
    return next(name for name in BRIEFS if name != team)


def words(team: str, round: str) -> dict:
    """Return {"question", "labels"} for the card where a round does not ask which answer is better, else nothing."""
    if round != WHOSE:
        return {}
    return {
        "question": f"Which answer did Team {other(team).title()}'s model write?",
        "labels": ["A, surely", "A", "I cannot tell", "B", "B, surely", "Neither"],
    }


def answers(path: Path) -> Iterator[tuple[str, list[dict]]]:
    """Yield (prompt, completions) from a file; DataError names the line that does not fit."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                fits = isinstance(row["prompt"], str) and all(
                    isinstance(c["text"], str) for c in row["completions"]
                )
            except (ValueError, TypeError, KeyError):
                fits = False
            if not fits:
                raise DataError(
                    f"{path}, row {number}: needs 'prompt' and, in each of its 'completions', 'text'"
                )
            yield row["prompt"], row["completions"]


def draw(
    path: Path, kind: str, family: str, n: int, rng: random.Random, teams: bool = False
) -> list[dict]:
    """Return up to `n` rows for `Store.add_tasks`, drawn by lot; no prompt comes twice before all others came once.

    With teams, none are of the base model: about broken answers both teams agree, and the point is their tastes.
    """
    wanted, rows = SHOWN[kind], []
    for prompt, completions in answers(path):
        spec = parse(prompt) if family != "all" else None
        if family != "all" and (not spec or spec["family"] != family):
            continue
        completions = [
            answer for answer in completions if not (teams and answer.get("model") == "base")
        ]
        seen = set()
        for turn in range(PER_PROMPT):
            chosen = distinct(rng.sample(completions, len(completions)), wanted)
            texts = frozenset(answer["text"] for answer in chosen)
            if len(chosen) == wanted and texts not in seen:
                seen.add(texts)
                row = {"kind": kind, "prompt": prompt, "completions": chosen, "source": "random"}
                rows.append((turn, rng.random(), row))
    return [row for _, _, row in sorted(rows, key=lambda drawn: drawn[:2])[:n]]


def distinct(completions: list[dict], wanted: int) -> list[dict]:
    """Return the first `wanted` answers that differ, by different models where there are such."""
    chosen = []
    for other_model in (True, False):
        for answer in completions:
            new = not any(near_identical(answer["text"], c["text"]) for c in chosen)
            if (
                len(chosen) < wanted
                and new
                and not (
                    other_model
                    and answer.get("model") in [c.get("model") for c in chosen if c.get("model")]
                )
            ):
                chosen.append(answer)
    return chosen


def new_round(
    store: Store,
    path: Path,
    kind: str = "pair",
    family: str = "all",
    n: int = 800,
    teams: bool = False,
) -> str:
    """Add a round of up to `n` tasks to the store, open it, and return its name; Refused where nothing can be drawn.

    Each task is for three raters, or for more where there are too few tasks for `VOTES`.
    """
    if kind not in SHOWN or family not in ("all", *FAMILIES):
        raise Refused(f"a round is of {', '.join(SHOWN)}, about {', '.join(FAMILIES)} or all")
    number = len(store.room().states) + 1
    rows = draw(path, kind, family, n, random.Random(f"{kind}/{number}"), teams)
    if not rows:
        raise Refused(f"{path.name} has no {family} prompts with {SHOWN[kind]} different answers")
    name = f"round {number}: {WORDS[kind]}" + (f", {WORDS[family]}" if family != "all" else "")
    overlap = max(3, -(-VOTES // len(rows)))
    with store.write():
        store.add_tasks(
            name, [row | {"overlap": overlap} for row in rows], REPEATS if kind == "pair" else 0
        )
        store.set_round(name)
    return name
