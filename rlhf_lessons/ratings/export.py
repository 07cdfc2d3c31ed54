"""What leaves the store: training data in the field's formats, a table for a spreadsheet, or everything.

Each format is made of current answers (`Store.answers`). What does not fit is counted, with the reason: nothing is
left out unseen.
"""
import csv
import io
import json
import secrets
from collections import Counter
from itertools import combinations

from sqlalchemy import func, select

from rlhf_lessons.ratings.judgements import CRITERIA
from rlhf_lessons.ratings.schema import META, events, raters, tasks
from rlhf_lessons.ratings.store import Store

TABLES = [META.tables[name] for name in ("prompt", "completion", "task", "rater", "guideline", "assignment", "event")]
COLUMNS = ("id", "time", "round", "task", "repeat_of", "kind", "rater", "team", "seconds", "prompt", "judgement",
           "answers")
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")  # a spreadsheet might obey, or hide
NOTICE = """What is kept about you, and where

- Kept: the nickname you chose, your team, and each thing you did: which answer you preferred, your scores, the texts
  and reasons you wrote, how long you looked, when, and what you undid. No address, e-mail, device or location.
- Where: in one database, {where}. Nothing is sent anywhere else. Whoever has that file can read it.
- What for: to train a small reward model in class, and to show how well people agree. While you rate, nobody is
  shown your votes under your name; the room sees counts. The teacher can export what is in the file.
- Leaving: you may stop at any time. `python -m rlhf_lessons ratings forget "your name"` deletes all that is about
  you; only that somebody was deleted is noted. Copies and exports made before must be deleted by whoever made them.
- Use a nickname that is not your name, and write nothing private."""


def label_raters(answers: list[dict], anonymous: bool = False) -> dict[str, str]:
    """Return what each rater is called in an export: the name, or `rater 1` and so on, in an order drawn by lot."""
    names = {row["rater"]: row["name"] for row in answers}
    if anonymous:
        drawn = sorted(names, key=lambda _: secrets.token_hex(8))
        return {rater: f"rater {n}" for n, rater in enumerate(drawn, 1)}
    often = Counter(names.values())
    return {rater: name if often[name] == 1 else f"{name} {rater[:6]}" for rater, name in names.items()}


def usable(answers: list[dict], left_out: Counter) -> list[dict]:
    """Return the answers that say something to learn from, and count the others."""
    kept = []
    for row in answers:
        reason = ("hidden by the teacher" if row["hidden"] else {"skip": "skipped", "flag": "flagged"}.get(row["kind"])
                  or row["repeat_of"] and "a repeat, which measures the rater")
        if reason:
            left_out[reason] += 1
        else:
            kept.append(row)
    return kept


def beats(row: dict, left_out: Counter) -> list[tuple[int, int, int]]:
    """Return (better place, worse place, strength) of each pair that an answer decides; count ties and the like."""
    payload, pairs = row["payload"], []
    if row["kind"] == "ranking":
        for i, j in combinations(range(len(payload["ranks"])), 2):
            lead = payload["ranks"][j] - payload["ranks"][i]
            pairs += [(i, j, lead) if lead > 0 else (j, i, -lead)] if lead else []
            left_out["a tie"] += not lead
    elif row["kind"] in ("pair", "hands"):
        counts = payload if row["kind"] == "hands" else {payload["choice"]: 1}
        pairs += [(0, 1, payload.get("strength", 1))] * counts.get("left", 0)
        pairs += [(1, 0, payload.get("strength", 1))] * counts.get("right", 0)
        left_out["a tie"] += counts.get("tie", 0)
        left_out["both bad"] += counts.get("bad", 0)
    else:
        left_out[f"no comparison ({row['kind']})"] += 1
    texts = [(answer["text"], answer["ended"]) for answer in row["answers"]]
    different = [pair for pair in pairs if texts[pair[0]] != texts[pair[1]]]
    left_out["identical texts"] += len(pairs) - len(different)
    return different


def preferences(answers: list[dict], anonymous: bool = False) -> tuple[list[dict], dict[str, int]]:
    """Return TRL preference rows, and how much was left out for which reason.

    A row is {"prompt", "chosen", "rejected", "ended": [bool, bool], "strength", "rater", "team", "group"}. A ranking
    of K gives its C(K,2) pairs, less ties, in one group; strength is the grade of a pair, or a difference of ranks.
    """
    left_out, rows, names = Counter(), [], label_raters(answers, anonymous)
    for row in usable(answers, left_out):
        for better, worse, strength in beats(row, left_out):
            chosen, rejected = row["answers"][better], row["answers"][worse]
            rows.append({"prompt": row["prompt"], "chosen": chosen["text"], "rejected": rejected["text"],
                         "ended": [chosen["ended"], rejected["ended"]], "strength": strength,
                         "rater": names[row["rater"]], "team": row["team"], "group": row["id"]})
    return rows, dict(+left_out)


def unpaired(answers: list[dict], anonymous: bool = False) -> tuple[list[dict], dict[str, int]]:
    """Return TRL unpaired rows, {"prompt", "completion", "label", "ended", "rater", "team"}, and what was left out.

    Good is who won a pair or came first in a ranking, or has a mean score of 5 or more; bad is who lost, came last,
    or has 3 or less, and both of "both bad".
    """
    left_out, rows, names = Counter(), [], label_raters(answers, anonymous)
    for row in usable(answers, left_out):
        payload, labels = row["payload"], [None] * len(row["answers"])
        if row["kind"] == "label":
            labels = payload["labels"]
        elif row["kind"] == "pair":
            labels = {"left": [True, False], "right": [False, True], "bad": [False, False]}.get(payload["choice"],
                                                                                                 labels)
        elif row["kind"] == "ranking" and len(set(payload["ranks"])) > 1:
            labels = [{1: True, max(payload["ranks"]): False}.get(rank) for rank in payload["ranks"]]
        elif row["kind"] == "scores":
            means = [sum(scores.values()) / len(CRITERIA) for scores in payload["scores"]]
            labels = [True if mean >= 5 else False if mean <= 3 else None for mean in means]
        left_out["a tie or in the middle" if row["kind"] in ("pair", "ranking", "scores")
                 else f"no judgement of one text ({row['kind']})"] += labels.count(None) or not labels
        rows += [{"prompt": row["prompt"], "completion": answer["text"], "label": label, "ended": answer["ended"],
                  "rater": names[row["rater"]], "team": row["team"]}
                 for answer, label in zip(row["answers"], labels, strict=True) if label is not None]
    return rows, dict(+left_out)


def rankings(answers: list[dict], anonymous: bool = False) -> tuple[list[dict], dict[str, int]]:
    """Return {"prompt", "completions", "ranks" (1 is best), "ended", "rater", "team", "group"} of each ranking."""
    return of_kind("ranking", answers, anonymous, lambda row: {
        "completions": [answer["text"] for answer in row["answers"]], "ranks": row["payload"]["ranks"],
        "ended": [answer["ended"] for answer in row["answers"]], "group": row["id"]})


def demonstrations(answers: list[dict], anonymous: bool = False) -> tuple[list[dict], dict[str, int]]:
    """Return {"prompt", "completion", "rater", "team"} of each demonstration, as supervised fine-tuning reads them."""
    return of_kind("demonstration", answers, anonymous, lambda row: {"completion": row["payload"]["text"]})


def of_kind(kind: str, answers: list[dict], anonymous: bool, fields) -> tuple[list[dict], dict[str, int]]:
    """Return a row for each answer of one kind, and the count of the others."""
    left_out, names, rows = Counter(), label_raters(answers, anonymous), []
    for row in usable(answers, left_out):
        if row["kind"] == kind:
            rows.append({"prompt": row["prompt"], **fields(row), "rater": names[row["rater"]], "team": row["team"]})
        else:
            left_out[f"no {kind} ({row['kind']})"] += 1
    return rows, dict(left_out)


def safe_cell(value: object) -> str:
    """Return a cell that no spreadsheet takes for a formula: such texts begin with an apostrophe."""
    text = "" if value is None else str(value)
    return "'" + text if text.startswith(FORMULA) else text


def table(answers: list[dict], anonymous: bool = False) -> tuple[str, dict[str, int]]:
    """Return all current answers as CSV, a row each; `judgement` and `answers` hold JSON, in the order shown."""
    names, file = label_raters(answers, anonymous), io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    shown = [row for row in answers if not row["hidden"]]
    for row in shown:
        payload = {"reason": ""} if anonymous and "reason" in row["payload"] else row["payload"]
        answers_shown = [{field: answer[field] for field in ("text", "ended", "model")} for answer in row["answers"]]
        cells = [row["id"], "" if anonymous else row["time"], row["round"], row["task"], row["repeat_of"],
                 row["kind"], names[row["rater"]],
                 row["team"], "" if row["ms"] is None else row["ms"] / 1000, row["prompt"],
                 json.dumps(payload, ensure_ascii=False), json.dumps(answers_shown, ensure_ascii=False)]
        writer.writerow([safe_cell(cell) for cell in cells])
    return file.getvalue(), {"hidden by the teacher": len(answers) - len(shown)} if len(shown) < len(answers) else {}


def everything(store: Store, anonymous: bool = False) -> list[dict]:
    """Return all rows of all tables, {"table": name, ...}, events in their order: nothing is lost.

    Anonymous, raters are called `rater 1` and so on under new ids, times count from the first event, and reasons,
    which are in people's own words, are left out. Demonstrations stay.
    """
    with store.read() as c:
        rows = [{"table": t.name} | row._asdict() for t in TABLES for row in c.execute(
            select(t).order_by(*t.primary_key))]
        start = c.execute(select(func.min(events.c.time))).scalar() or 0.0
        ids = sorted(c.execute(select(raters.c.id)).scalars(), key=lambda _: secrets.token_hex(8))
    if not anonymous:
        return rows
    new = {old: (secrets.token_hex(16), f"rater {n}") for n, old in enumerate(ids, 1)}
    for row in rows:
        payload = row.get("payload", {})
        if row["table"] == "rater":
            row["id"], row["name"] = new[row["id"]]
        elif row.get("rater"):
            row["rater"] = new[row["rater"]][0]
        if row["table"] == "event":
            row["time"] -= start
            row["payload"] = payload | ({"reason": ""} if "reason" in payload else {}) | (
                {"id": new[payload["id"]][0]} if payload.get("id") in new else {})
    return rows


def taken_back(store: Store, round: str | None = None) -> int:
    """Return how many answers were undone or replaced: they are in no export but `everything`."""
    query = select(func.count()).select_from(events).where(events.c.replaces.isnot(None))
    if round is not None:
        query = query.join(tasks, tasks.c.id == events.c.task).where(tasks.c.round == round)
    with store.read() as c:
        return c.execute(query).scalar()


FORMATS = {"preference": preferences, "unpaired": unpaired, "rankings": rankings, "demonstrations": demonstrations}
