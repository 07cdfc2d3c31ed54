"""Rounds drawn from a file of answers, the opposite briefs of two teams, and their guessing game.

The file has one JSON object a line: {"prompt", "completions": [{"text", "model", "reward",
"ended"}, ...]}; of a completion only the text is needed. A notebook can add rounds of fresh answers
to the same store at any time, with `Store.add_tasks`.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path

from rlhf_lessons import paths
from rlhf_lessons.data import DataError, lines_of
from rlhf_lessons.feedback import Refused, Store, near_identical
from rlhf_lessons.widgets import words
from rlhf_lessons.world.tasks import FAMILIES, parse

ANSWERS = paths.DATA / "class_answers.jsonl"  # by several models
SHOWN = {"pair": 2, "ranking": 4, "scores": 2, "demonstration": 0}  # answers in a task
NAMES = words()["rounds"]  # of kinds of task, and of families
TEAMS = words()["teams"]
BRIEFS = {name: TEAMS[name] for name in ("sun", "moon")}
# Opposite tastes, neither of them wrong: two reward models can learn one each.
PER_PROMPT = 12  # tasks at most, no two with the same answers
OVERLAP = 3  # raters of a task before the next ones are asked: enough to see who agrees
REPEATS = 0.05  # share of pairs that a rater sees a second time, sides swapped
# A round of pairs, one answer by the model of each team ("sun", "moon"): who wrote which?
WHOSE = "whose is whose"


def other(team: str) -> str:
    """Return the team whose answers a member of `team` looks for in the round `WHOSE`."""
    return "moon" if team == "sun" else "sun"


def asked_of(team: str, round: str | None) -> tuple[str, dict]:
    """Return what a team is to look for, "" without teams, and the card's own words, {"question",
    "labels"}, in a round that asks something else.
    """
    if round != WHOSE:
        return BRIEFS.get(team, ""), {}
    question = TEAMS["whose_question"].format(team=other(team).title())
    return TEAMS["whose_brief"], {"question": question, "labels": TEAMS["whose_labels"]}


def answers(path: Path) -> Iterator[tuple[str, list[dict]]]:
    """Yield (prompt, completions) from a file; DataError names the line that does not fit."""
    for number, line in lines_of(path):
        try:
            row = json.loads(line)
            texts = [row["prompt"], *(answer["text"] for answer in row["completions"])]
            fits = all(isinstance(text, str) for text in texts)
        except (ValueError, TypeError, KeyError):
            fits = False
        if not fits:
            raise DataError(
                f"{path}, row {number}: needs 'prompt' and, in all 'completions', 'text'"
            )
        yield row["prompt"], row["completions"]


def draw(
    path: Path, kind: str, family: str, n: int, rng: random.Random, teams: bool = False
) -> list[dict]:
    """Return up to `n` rows for `Store.add_tasks`, drawn at random.

    No prompt comes twice before all others came once. With teams, no answer is of the base model:
    about broken answers both teams agree, and the point is their tastes.
    """
    wanted = SHOWN[kind]
    rows = []
    for prompt, completions in answers(path):
        spec = parse(prompt)
        if family != "all" and (spec is None or spec["family"] != family):
            continue
        if teams:
            completions = [answer for answer in completions if answer.get("model") != "base"]
        seen = []
        for turn in range(PER_PROMPT):
            chosen = distinct(rng.sample(completions, len(completions)), wanted)
            texts = {answer["text"] for answer in chosen}
            if len(chosen) == wanted and texts not in seen:
                seen.append(texts)
                row = {"kind": kind, "prompt": prompt, "completions": chosen, "source": "random"}
                rows.append((turn, rng.random(), row | {"overlap": OVERLAP}))
    rows.sort(key=lambda drawn: drawn[:2])
    return [row for _, _, row in rows[:n]]


def distinct(completions: list[dict], wanted: int) -> list[dict]:
    """Return the first `wanted` answers that differ, by different models where there are such."""
    chosen = []
    for by_another in (True, False):
        for answer in completions:
            models = {one["model"] for one in chosen if one.get("model")}
            if len(chosen) == wanted or by_another and answer.get("model") in models:
                continue
            if not any(near_identical(answer["text"], one["text"]) for one in chosen):
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
    """Add a round of up to `n` tasks to the store, open it, and return its name.

    Each task is first for `OVERLAP` raters; once all have been judged by so many, the round goes
    through them again, so that nobody runs out before having judged all. Refused where nothing can
    be drawn.
    """
    if kind not in SHOWN or family not in ("all", *FAMILIES):
        raise Refused(f"a round is of {', '.join(SHOWN)}, about {', '.join(FAMILIES)} or all")
    number = len(store.room().states) + 1
    rows = draw(path, kind, family, n, random.Random(f"{kind}/{number}"), teams)
    if not rows:
        raise Refused(f"{path.name} has no {family} prompts with {SHOWN[kind]} different answers")
    name = f"round {number}: {NAMES[kind]}"
    if family != "all":
        name += f", {NAMES[family]}"
    with store.write():
        store.add_tasks(name, rows, REPEATS)
        store.say("round", round=name, state="open")
    return name
