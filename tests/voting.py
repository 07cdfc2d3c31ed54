"""What the tests of the ratings store share: something to rate, and raters who rate it."""

from pathlib import Path

from rlhf_lessons.data import write_rows
from rlhf_lessons.feedback import new_id
from rlhf_lessons.feedback.export import everything

SCORES = [
    {"relevance": 7, "accuracy": 6, "clarity": 5},
    {"relevance": 1, "accuracy": 2, "clarity": 3},
]
LEFT = {"choice": "left", "strength": 2}


def pairs(n, **more):
    """Rows for `add_tasks`: a good answer of `ppo` and a bad one of `sft` to each of n prompts."""
    return [
        {
            "kind": "pair",
            "prompt": f"prompt {i}",
            "completions": [
                {"text": f"good {i}", "model": "ppo", "reward": 1.5},
                {"text": f"bad {i}", "model": "sft"},
            ],
        }
        | more
        for i in range(n)
    ]


def vote(store, rater, round="r", payload=LEFT, **more):
    """Let a rater do the next task; return the task, the id of the answer, and its number."""
    task = store.next_task(rater, round)
    event = new_id()
    return task, event, store.answer(rater, task["task"], task["kind"], payload, event, **more)


def handed_over(store, folder):
    """The file that takes a store's ratings elsewhere: its own, or an export of a server's."""
    if isinstance(store.where, Path):
        return store.where
    file = folder / f"{new_id()}.jsonl"
    write_rows(file, everything(store))
    return file


def texts(*words):
    return [{"text": word, "ended": word != "cut", "model": "sft"} for word in words]


def say(store, rater, kind, said, prompt="p", words=("good", "poor")):
    """Record a judgement of texts given in a fixed order, whatever the order on the screen."""
    round = new_id()
    store.add_tasks(
        round,
        [
            {
                "kind": kind if kind not in ("skip", "flag", "hands") else "pair",
                "prompt": prompt,
                "completions": texts(*words),
            }
        ],
    )
    task = store.next_task(rater, round)
    order = [words.index(answer["text"]) for answer in task["answers"]]
    payload = dict(said)
    if said.get("choice") in words:
        payload["choice"] = ("left", "right")[order.index(words.index(said["choice"]))]
    for field in ("ranks", "scores"):
        if field in said:
            payload[field] = [said[field][i] for i in order]
    return store.answer(rater, task["task"], kind, payload, new_id(), ms=1234)


def one_of_everything(store):
    """Two raters; two decided pairs, a ranking, what decides nothing, and the other kinds."""
    anna, ben = store.add_rater("anna", "red"), store.add_rater("=ben", "blue")
    say(store, anna, "pair", {"choice": "good", "strength": 2})
    say(store, ben, "pair", {"choice": "cut", "strength": 1}, words=("whole", "cut"))
    say(store, anna, "pair", {"choice": "tie"})
    say(store, anna, "pair", {"choice": "bad"})
    say(store, ben, "skip", {"reason": "Anna told me"})
    say(store, ben, "flag", {})
    say(store, anna, "ranking", {"ranks": [1, 4, 2, 2]}, words=("best", "worst", "b", "c"))
    say(store, ben, "scores", {"scores": SCORES})
    say(store, ben, "demonstration", {"text": "+1 is right\nsaid =ben"}, words=())
    say(store, ben, "scores", {"scores": SCORES[:1]}, words=("fine",))


LADDER = {"best of 1": (0.0, 0.5, 0.5), "best of 16": (1.8, 0.84, 0.7), "a PPO": (6.1, 0.93, 0.6)}


def open_ladder(store, name="round 9: along the ladder", prompts=20, draws=4):
    """Open a round along a ladder of three rungs, as `classroom ladder` does; return the model of
    each text, by its prompt."""
    rows, writers = [], {}
    for _ in range(draws):
        for model in LADDER:
            for place in range(prompts):
                shown = []
                for who in ("plain", model):
                    text = f"Story {len(writers)}: the fox went home."
                    shown.append({"text": text, "model": who})
                    writers[text] = who
                prompt = f"Write story {place}."
                rows.append({"kind": "pair", "prompt": prompt, "completions": shown})
    names = ("kl", "promised", "deserved")
    rungs = {model: dict(zip(names, said, strict=True)) for model, said in LADDER.items()}
    told = {"by": "the room's own reward model", "rungs": rungs, "alike": dict.fromkeys(LADDER, 0)}
    store.add_tasks(name, rows)
    store.say("report", round=name, ladder=told)
    store.say("round", round=name, state="open")
    return writers
