"""Rows of the field's formats, or of `export`'s: what they say, as rows of the store's tables."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, permutations

from rlhf_lessons.data import DataError, text_row
from rlhf_lessons.feedback.payloads import CRITERIA, MISFIT, MOST
from rlhf_lessons.feedback.queue import task_rows
from rlhf_lessons.feedback.schema import key


def from_rows(
    rows: Iterable[tuple[int, dict]], where: str, round: str
) -> Iterator[tuple[int, dict]]:
    """Yield the rows of the store's tables that numbered rows stand for, as `merge` takes them.

    A preference group that is a ranking becomes one. Equal rows are different votes, and each of
    one rater about the same texts is another task, so that all count.
    """
    groups, copies, turns = {}, Counter(), Counter()
    for n, given in rows:
        row = text_row(given, f"{where}, row {n}")
        paired = "chosen" in row and row.get("group") is not None
        place = key(row.get("prompt"), row["group"], row.get("rater")) if paired else n
        groups.setdefault(place, []).append((n, row))
    for place in list(groups):
        members = groups.pop(place)  # what is read is let go of
        n = members[0][0]
        try:
            if len(members) > 1 and (ranking := as_ranking([row for _, row in members])):
                members = [(n, ranking)]
            for n, row in members:
                said = judgement(row)
                content = key(round, said)
                task = key(said["prompt"], said["completions"], said["rater"])
                copies[content] += 1
                turns[task] += 1
                id = key(content, copies[content])
                for made in table_rows(said, round, id, turns[task]):
                    yield n, made
        except MISFIT as error:
            raise DataError(
                f"{where}, row {n}: it is neither a comparison, a ranking, a labelled completion "
                f"nor a demonstration ({type(error).__name__}: {error})"
            ) from error


def judgement(row: dict) -> dict:
    """Return {"kind", "prompt", "completions", "payload", "rater", "team"} of one row; KeyError
    where it is none.
    """
    texts = []
    if "ranks" in row:
        kind, payload = "ranking", {"ranks": row["ranks"]}
        texts = row["completions"]
    elif "chosen" in row:
        much = isinstance(row.get("strength"), int | float) and row["strength"] > 1
        kind, payload = "pair", {"choice": "left", "strength": 2 if much else 1}
        texts = [row["chosen"], row["rejected"]]
    elif "label" in row:
        if not isinstance(row["label"], bool):
            raise TypeError("a label must be true or false")
        marks = dict.fromkeys(CRITERIA, 7 if row["label"] else 1)
        kind, payload = "scores", {"scores": [marks]}
        texts = [row["completion"]]
    else:
        kind, payload = "demonstration", {"text": row["completion"]}
    ended = row.get("ended", True)
    ended = ended if isinstance(ended, list) else [ended] * len(texts)
    return {
        "kind": kind,
        "prompt": row["prompt"],
        "payload": payload,
        "rater": str(row.get("rater") or "imported"),
        "team": str(row.get("team") or ""),
        "completions": [
            {"text": text, "ended": end} for text, end in zip(texts, ended, strict=True)
        ],
    }


def as_ranking(rows: list[dict]) -> dict | None:
    """Return the ranking of which these preference rows are all the pairs, or None where they are
    not.
    """
    pairs = []
    for row in rows:
        ended = row.get("ended") or (True, True)
        pairs.append(((row["chosen"], ended[0]), (row["rejected"], ended[1])))
    texts = list(dict.fromkeys(chain.from_iterable(pairs)))
    wins = Counter(better for better, _ in pairs)
    meant = [(one, other) for one, other in permutations(texts, 2) if wins[one] > wins[other]]
    if Counter(pairs) != Counter(meant) or len(texts) > MOST["ranking"][1]:
        return None
    return rows[0] | {
        "completions": [text for text, _ in texts],
        "ended": [end for _, end in texts],
        "ranks": [len(texts) - wins[text] for text in texts],
    }


def table_rows(said: dict, round: str, id: str, turn: int) -> list[dict]:
    """Return the event of this id that a judgement is, the last, and the rows that it points to."""
    task, prompt, answers = next(task_rows(round, said, alike=True))
    if turn > 1:
        task["id"] = key(task["id"], turn)
    rater = key("imported", said["rater"])
    given = {
        "task": task["id"],
        "rater": rater,
        "shown": [answer["id"] for answer in answers],
    }
    event = {"time": 0.0, "kind": said["kind"], "payload": said["payload"], "ui": "import"}
    return [
        {"table": "prompt", **prompt},
        *({"table": "completion", **answer} for answer in answers),
        {"table": "task", **task, "place": 0},
        {
            "table": "rater",
            "id": rater,
            "name": said["rater"],
            "team": said["team"],
            "kind": "imported",
        },
        {"table": "assignment", **given, "lease": 0.0, "revealed": False},
        {"table": "event", **given, **event, "id": id},
    ]
