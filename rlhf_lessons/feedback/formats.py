"""Rows of the field's formats, or of `export`'s: what they say, as rows of the store's tables."""

from collections import Counter
from collections.abc import Iterable, Iterator

from rlhf_lessons.data import DataError, text_row
from rlhf_lessons.feedback.payloads import CRITERIA, MISFIT
from rlhf_lessons.feedback.queue import task_row
from rlhf_lessons.feedback.schema import key


def from_rows(
    rows: Iterable[tuple[int, dict]], where: str, round: str
) -> Iterator[tuple[int, dict]]:
    """Yield the rows of the store's tables that numbered rows stand for, as `merge` takes them.

    Those of `everything` are such rows already. Equal rows are different votes, and each of one
    rater about the same texts is another task, so that all count.
    """
    copies, turns = Counter(), Counter()
    for n, given in rows:
        if "table" in given:  # as `everything` gives it
            yield n, given
            continue
        row = text_row(given, f"{where}, row {n}")
        try:
            said = judgement(row)
            task, prompt, answers = task_row(round, said)
        except MISFIT as error:
            raise DataError(
                f"{where}, row {n}: it is neither a comparison, a ranking, a labelled completion "
                f"nor a demonstration ({type(error).__name__}: {error})"
            ) from error
        content = key(round, said)
        copies[content] += 1
        rater = key("imported", said["rater"])
        place = task["id"], rater
        turns[place] += 1
        if turns[place] > 1:
            task["id"] = key(task["id"], turns[place])
        vote = {"task": task["id"], "rater": rater, "shown": task["completions"]}
        name = {"name": said["rater"], "team": said["team"], "kind": "imported"}
        yield n, {"table": "prompt", **prompt}
        for answer in answers:
            yield n, {"table": "completion", **answer}
        yield n, {"table": "task", **task, "place": 0}
        yield n, {"table": "rater", "id": rater, **name}
        vote |= {"id": key(content, copies[content]), "time": 0.0, "ui": "import"}
        yield n, {"table": "event", **vote, "kind": said["kind"], "payload": said["payload"]}


def judgement(row: dict) -> dict:
    """Return {"kind", "prompt", "completions", "payload", "rater", "team"} of one row; KeyError
    where it is none.
    """
    texts = []
    if "ranks" in row:
        kind, payload = "ranking", {"ranks": row["ranks"]}
        texts = row["completions"]
    elif "chosen" in row:
        much = row.get("strength", 1) > 1
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
    if isinstance(ended, bool):
        ended = [ended] * len(texts)
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
