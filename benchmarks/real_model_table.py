"""The page of what `real_model.py` measured: shares with their intervals, what counts as learned,
and first answers.
"""

from html import escape
from pathlib import Path

import numpy as np

from rlhf_lessons import data
from rlhf_lessons.evaluation.intervals import bootstrap, interval
from rlhf_lessons.world.everyday import TASTES, shows

HEADER = """Held-out prompts, four answers each (temperature 0 and best of 8: one), at temperature
0.7, of 40 tokens at most. In brackets are 95 % intervals over prompts, for these seeds. KL and
perplexity are under the untouched model, after the plain prompt; beside the perplexity is its ratio
to that of the untouched model's answers. A taste is learned (✓) where each seed's share rises by 30
points, with KL at most 20 and a ratio of at most 1.5. Only reading
shows whether such answers make sense: ten are below. Words have a letter; numbers do not count.
Made by `python benchmarks/real_model.py`."""
UNTOUCHED = "untouched"
TRAINED = ("SFT on asked answers", "SFT on any answers", "SFT on the best", "DPO", "PPO")


def words(text: str) -> int:
    """Return how many words of a text have a letter: the numbers of a list say nothing."""
    return sum(any(map(str.isalpha, word)) for word in text.split())


def arrays(rows: list[dict]) -> dict[str, np.ndarray]:
    """Return what was measured of the answers of one method: (prompts, seeds x answers) each."""
    found = {}
    for row in rows:
        shown = [shows(row["taste"], each["text"], each["ended"]) for each in row["answers"]]
        found.setdefault("share", []).append(shown)
        found.setdefault("words", []).append([words(each["text"]) for each in row["answers"]])
        for name in ("nats", "tokens", "logratio"):
            found.setdefault(name, []).append([each[name] for each in row["answers"]])
    by_prompt = {}
    for name, values in found.items():
        values = np.array(values, float).reshape(len(rows), -1, rows[0]["each"])
        by_prompt[name] = values.swapaxes(0, 1).reshape(values.shape[1], -1)
    return by_prompt


def odd(nats: np.ndarray, tokens: np.ndarray) -> float:
    """Return the perplexity of all answers together."""
    return np.exp(nats.sum() / tokens.sum())


def summary(rows: list[dict]) -> dict[str, float]:
    """Return the share, KL, perplexity and words of the answers of one method."""
    found = arrays(rows)
    return {
        "share": found["share"].mean(),
        "kl": found["logratio"].mean(),
        "perplexity": odd(found["nats"], found["tokens"]),
        "words": found["words"].mean(),
    }


def learned(rows: list[dict], before: list[dict]) -> bool:
    """Return whether each seed meets the three conditions."""
    for row in rows:
        (untouched,) = (one for one in before if one["seed"] == row["seed"])
        old, new = summary([untouched]), summary([row])
        rises = new["share"] - old["share"] >= 0.3
        if not (rises and new["kl"] <= 20 and new["perplexity"] <= 1.5 * old["perplexity"]):
            return False
    return True


def odds_interval(found: dict[str, np.ndarray]) -> tuple[float, float]:
    """Return the 95 % interval of a perplexity, over prompts."""
    nats, tokens = found["nats"].sum(1), found["tokens"].sum(1)
    return bootstrap(lambda drawn: np.exp(drawn @ nats / (drawn @ tokens)), len(nats))


def line_of(rows: list[dict], before: list[dict]) -> list[str]:
    """Return the cells of one method's row."""
    found = arrays(rows)
    share, low, high = interval(found["share"])
    middle = odd(found["nats"], found["tokens"])
    least, most = odds_interval(found)
    untouched = summary(before)["perplexity"]
    kl = "–"
    if not np.isnan(found["logratio"]).any():
        kl = "{:z.1f} ({:z.1f} to {:z.1f})".format(*interval(found["logratio"]))
    mark = "✓" if rows[0]["method"] in TRAINED and learned(rows, before) else ""
    return [
        f"{share:.0%} ({low:.0%} to {high:.0%})",
        kl,
        f"{middle:.1f} ({least:.1f} to {most:.1f}), {middle / untouched:.2f} ×",
        f"{found['words'].mean():.0f}",
        str(len(rows)),
        mark,
    ]


def write_page(results: Path) -> None:
    """Write the page of held-out results beside them."""
    rows = [row for row in data.json_rows(results) if row["split"] == "heldout"]
    if rows:
        results.with_suffix(".md").write_text(tables(rows), encoding="utf-8")


def tables(rows: list[dict]) -> str:
    """Return a page: what each method reached on held-out prompts, and its first answers."""
    lines = ["# Two tastes taught to SmolLM2 135M", "", HEADER, ""]
    head = ["taste", "method", "in the taste", "KL, nats an answer", "perplexity", "words", "seeds"]
    groups = by(rows, "taste", "method")
    body = []
    for (taste, method), some in groups.items():
        body.append([taste, method, *line_of(some, groups[taste, UNTOUCHED])])
    lines += grid([*head, "learned"], body)
    for (taste,), some in by([row for row in rows if "agrees" in row], "taste").items():
        for kind in ("plain", "all"):
            right, pairs = np.sum([row["agrees"][kind] for row in some], axis=0)
            lines += ["", f"Reward models for *{taste}* prefer what the reader does in {right} of "]
            lines[-1] += f"{pairs} new pairs ({kind})."
    first = min(row["seed"] for row in rows)
    lines += answers_before_and_after([row for row in rows if row["seed"] == first])
    return "\n".join(lines) + "\n"


def answers_before_and_after(rows: list[dict]) -> list[str]:
    """Return lines with the first answer to ten prompts, before and after DPO and PPO."""
    lines = []
    prompts = data.everyday_prompts("heldout")
    kept = {(row["taste"], row["method"]): row for row in rows}
    for taste in TASTES:
        shown = [kept.get((taste, method)) for method in (UNTOUCHED, "DPO", "PPO")]
        if not all(shown):
            continue
        lines += ["", f"## {taste}: ten answers before and after, seed {shown[0]['seed']}", ""]
        columns = [[row["answers"][i * row["each"]]["text"] for i in range(10)] for row in shown]
        cells = [
            [escape(" ".join(text.split())).replace("|", "&#124;") for text in row]
            for row in zip(prompts, *columns)
        ]
        lines += grid(["prompt", "before", "after DPO", "after PPO"], cells)
    return lines


def grid(head: list[str], rows: list[list[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    lines = [f"| {' | '.join(row)} |" for row in (head, *rows)]
    return [lines[0], "|" + " --- |" * len(head), *lines[1:]]


def by(rows: list[dict], *names: str) -> dict[tuple, list[dict]]:
    """Return rows in groups of equal values, in the order in which they come."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in names), []).append(row)
    return groups
