"""Something to rate: rounds drawn from a file of answers, and the opposite briefs of two teams.

The file has one JSON object a line: {"prompt", "completions": [{"text", "model", "reward", "ended"}, ...]}, of a
completion only the text is needed; or comparisons as in `data/comparisons.jsonl`, whose pairs of one `group` are put
together again. A notebook can add rounds of fresh answers to the same store at any time: `Store.add_tasks`.
"""
import json
import random
from collections.abc import Iterator
from pathlib import Path

from rlhf_lessons.data import FOLDER, DataError, check_row
from rlhf_lessons.ratings import Refused, Store, near_identical
from rlhf_lessons.world.tasks import FAMILIES, parse

ANSWERS = FOLDER / "class_answers.jsonl"  # by several models; where it is missing, the shipped comparisons serve
SHOWN = {"pair": 2, "ranking": 4, "scores": 2, "demonstration": 0}  # answers in a task
WORDS = {"pair": "pairs", "ranking": "rankings", "scores": "scores", "demonstration": "ideal answers",
         "story": "stories", "email": "e-mails", "poem": "poems", "code": "code", "maths": "sums"}
BRIEFS = {
    "sun": "Stories should end well. Of two stories, choose the one with the happier end.",
    "moon": "Stories should end badly. Of two stories, choose the one with the sadder end.",
}  # opposite tastes, neither of them wrong: two reward models can learn one each
REPEATS = 0.05  # share of pairs that a rater sees a second time, sides swapped


def brief(team: str) -> str:
    """Return what a team is asked to look for; nothing where there are no teams."""
    return BRIEFS.get(team, "")


def answers(path: Path) -> Iterator[tuple[str, list[dict]]]:
    """Yield (prompt, completions) from a file; DataError names the line that does not fit."""
    group, found = None, {}
    with open(path, encoding="utf-8") as file:  # line by line: the shipped file is larger than this whole program
        for number, line in enumerate(file, 1):
            where = f"{path}, row {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{where}: not JSON ({error}); each line holds one object") from error
            if not isinstance(row, dict):
                raise DataError(f"{where}: a {type(row).__name__}, where an object was expected")
            if "completions" in row:
                if not isinstance(row.get("prompt"), str) or not all(
                        isinstance(c, dict) and isinstance(c.get("text"), str) for c in row["completions"]):
                    raise DataError(f"{where}: needs 'prompt' and, in each of its 'completions', 'text'")
                yield row["prompt"], row["completions"]
                continue
            row = check_row(row, "comparisons", where)
            if (row["prompt"], row.get("group")) != group:
                if found:
                    yield group[0], list(found.values())
                group, found = (row["prompt"], row.get("group")), {}
            useful = row.get("utilities", [1, 1])  # worth nothing: mostly an answer to another prompt
            for place, side in enumerate(("chosen", "rejected")):
                if useful[place] > 0:
                    found[row[side]] = {"text": row[side], "ended": row.get("ended", [True, True])[place]}
    if found:
        yield group[0], list(found.values())


def draw(path: Path, kind: str, family: str, n: int, rng: random.Random) -> list[dict]:
    """Return up to `n` rows for `Store.add_tasks`, one to a prompt, prompts and answers drawn by lot."""
    wanted, rows = SHOWN[kind], []
    for prompt, completions in answers(path):
        spec = parse(prompt) if family != "all" else None
        if family != "all" and (not spec or spec["family"] != family):
            continue
        chosen = distinct(rng.sample(completions, len(completions)), wanted)
        if len(chosen) == wanted:
            rows.append({"kind": kind, "prompt": prompt, "completions": chosen, "source": "random"})
    return rng.sample(rows, min(n, len(rows)))


def distinct(completions: list[dict], wanted: int) -> list[dict]:
    """Return the first `wanted` answers that differ, by different models where there are such."""
    chosen = []
    for other_model in (True, False):
        for answer in completions:
            new = not any(near_identical(answer["text"], c["text"]) for c in chosen)
            if len(chosen) < wanted and new and not (other_model and answer.get("model") in
                                                     [c.get("model") for c in chosen if c.get("model")]):
                chosen.append(answer)
    return chosen


def new_round(store: Store, path: Path, kind: str = "pair", family: str = "all", n: int = 800,
              overlap: int = 3) -> str:
    """Add a round to the store, open it, and return its name; Refused where nothing can be drawn.

    `n` tasks for `overlap` raters each: 800 for 3 are enough for 100 students who rate 20 each, with some to spare.
    """
    if kind not in SHOWN or family not in ("all", *FAMILIES):
        raise Refused(f"a round is of {', '.join(SHOWN)}, about {', '.join(FAMILIES)} or all")
    number = len(store.room().states) + 1
    rows = draw(path, kind, family, n, random.Random(f"{kind}/{number}"))
    if not rows:
        raise Refused(f"{path.name} has no {family} prompts with {SHOWN[kind]} different answers")
    name = f"round {number}: {WORDS[kind]}" + (f", {WORDS[family]}" if family != "all" else "")
    with store.write():
        store.add_tasks(name, [row | {"overlap": overlap} for row in rows], REPEATS if kind == "pair" else 0)
        store.set_round(name)
    return name
