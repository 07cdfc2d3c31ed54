"""The rater card in plain ipywidgets, for where the other does not appear (VS Code, Colab): same desk, same store."""

import ipywidgets as w

from rlhf_lessons.feedback import CRITERIA, new_id
from rlhf_lessons.widgets.html import columns_html, escaped, said

LETTERS = "ABCDEFGHI"
PAIR = {
    "A much better": ("left", 2),
    "A better": ("left", 1),
    "Tie": ("tie", 1),
    "B better": ("right", 1),
    "B much better": ("right", 2),
    "Both bad": ("bad", 1),
}
QUESTIONS = {
    "pair": "Which answer is better?",
    "ranking": "Which place has each answer? 1 is the best; ties are welcome.",
    "scores": "Score each answer from 1 (not at all) to 7 (fully).",
    "demonstration": "Write the ideal answer.",
    "done": "Nothing is left to rate here. Run the next cell.",
    "waiting": "The others have the rest. Look again later.",
    "paused": "This round is paused.",
    "removed": "You no longer take part.",
}
FAILED = {"answer": "NOT saved", "undo": "NOT taken back", "reveal": "NOT revealed"}


class PlainCard(w.VBox):
    """One task at a time, by mouse or with Tab and Space: a judgement, Skip, Flag, Undo; then Reveal and Next.

    It shows what the desk has on it (`Desk.current`) and keeps nothing itself.
    """

    def __init__(self, desk):
        self.desk, self.answers, self.wish = desk, desk.answers, "ready"
        self.text, self.status = w.HTML(), w.HTML()
        self.form = w.Box(layout=w.Layout(flex_flow="row wrap"))
        self.reason = w.Text(
            placeholder="Why do you skip or flag it? (may stay empty)", layout=w.Layout(width="98%")
        )
        acts = {
            "Skip": self.skip,
            "Flag": self.skip,
            "Undo": self.tell,
            "Reveal": self.tell,
            "Next": self.tell,
        }
        self.buttons = {
            name: button(name, lambda act=act, name=name: act(name.lower()))
            for name, act in acts.items()
        }
        desk.send = self.receive
        super().__init__(
            [self.text, self.form, w.HBox([*self.buttons.values()]), self.reason, self.status]
        )
        self.tell("ready")

    def __repr__(self):
        return "A plain card for rating answers. It works in Jupyter; what it asks stands there."

    def tell(self, wish: str, **more) -> None:
        """Send the desk a message; it answers through `receive`."""
        self.wish, current = wish, self.desk.current or {"task": {}}
        self.desk.handle(
            {
                "type": wish,
                "id": new_id(),
                "task": current["task"].get("task"),
                "kind": current["task"].get("kind"),
                **more,
            }
        )

    def judge(self, payload: dict) -> None:
        """Send a judgement on the task that is shown."""
        self.tell("answer", payload=payload)

    def skip(self, kind: str) -> None:
        """Skip or flag the task, for the reason in the box."""
        reason, self.reason.value = self.reason.value, ""
        self.tell("answer", kind=kind, payload={"reason": reason})

    def receive(self, message: dict) -> None:
        """Show what the desk says."""
        words = {
            "ack": "Taken back." if self.wish == "undo" else f"Saved #{message.get('seq')}.",
            "nack": f"{FAILED.get(self.wish, 'No task')}, because {message.get('reason')}. Please try again.",
            "note": message.get("text"),
            "task": message.get("message"),
        }
        if words.get(message["type"]):
            self.status.value = f"<b>{escaped(words[message['type']])}</b>"
        if message["type"] == "ack" and self.desk.current is None:  # skipped, flagged or taken back
            self.tell("next")
        elif (
            message["type"] == "task"
        ):  # not before: a judgement that was refused stays as it was filled in
            task = message["task"]
            self.form.children = self.controls(task) if task["state"] == "task" else []
        if self.desk.current:
            self.draw(self.desk.current)

    def draw(self, shown: dict) -> None:
        """Draw the task, what was said to it, and what the reveal tells."""
        task, progress, revealed = shown["task"], shown["progress"], shown.get("revealed")
        asks, saved = task["state"] == "task", "saved" in shown
        lines = [
            f"{progress['done']} of {progress['done'] + progress['left']} done. "
            + QUESTIONS[task["kind"] if asks else task["state"]],
            game(shown),
        ]
        self.text.value = "".join(f"<p>{escaped(line)}</p>" for line in lines if line)
        if asks:
            texts = [
                said(row["text"]) + ("" if row["ended"] else " … (cut off)")
                for row in task["answers"]
            ]
            answers = {
                LETTERS[place] + author(revealed, place): text for place, text in enumerate(texts)
            }
            self.text.value += f"<p><b>{escaped(task['prompt'])}</b></p>" + columns_html(answers)
        if revealed:
            self.text.value += "".join(f"<p>{escaped(line)}</p>" for line in others(revealed))
        for child in self.form.children:
            child.disabled = saved
        there = {
            "Skip": asks and not saved,
            "Flag": asks and not saved,
            "Reveal": saved and not revealed,
            "Next": saved,
            "Undo": not revealed and progress["done"] + progress["passed"] > 0,
        }
        for name, here in there.items():
            self.buttons[name].disabled = not here

    def controls(self, task: dict) -> list[w.Widget]:
        """Return what a task is answered with: the buttons of a pair, or boxes and a button that saves them."""
        letters = LETTERS[: len(task["answers"])]
        look = {"style": {"description_width": "initial"}, "layout": w.Layout(width="98%")}
        if task["kind"] == "pair":
            return [
                button(
                    label,
                    lambda choice=choice, strength=strength: self.judge(
                        {"choice": choice, "strength": strength}
                    ),
                )
                for label, (choice, strength) in PAIR.items()
            ]
        if task["kind"] == "ranking":
            places = ["", *range(1, len(letters) + 1)]
            boxes = [
                w.Dropdown(options=places, description=f"Place of {letter}", **look)
                for letter in letters
            ]
            return [
                *boxes,
                button("Save", lambda: self.judge({"ranks": [box.value for box in boxes]})),
            ]
        if task["kind"] == "scores":
            marks = {
                (letter, name): w.Dropdown(
                    options=["", *range(1, 8)], description=f"{letter}: {name}. {words}", **look
                )
                for letter in letters
                for name, words in CRITERIA.items()
            }
            return [
                *marks.values(),
                button(
                    "Save",
                    lambda: self.judge(
                        {
                            "scores": [
                                {name: marks[letter, name].value for name in CRITERIA}
                                for letter in letters
                            ]
                        }
                    ),
                ),
            ]
        box = w.Textarea(value="".join(row["text"] for row in task["answers"]), rows=6, **look)
        return [box, button("Save", lambda: self.judge({"text": box.value}))]


def button(label: str, click) -> w.Button:
    """Return a button that calls `click()`."""
    made = w.Button(description=label)
    made.on_click(lambda _: click())
    return made


def author(revealed: dict | None, place: int) -> str:
    """Return who wrote an answer and what the reward model says of it, once it is revealed."""
    if not revealed:
        return ""
    model, reward = revealed["models"][place], revealed["rewards"][place]
    return (f", by {model}" if model else "") + (
        "" if reward is None else f", reward model: {reward:+.2f}"
    )


def others(revealed: dict) -> list[str]:
    """Return in words what the other raters said."""
    found = revealed["others"]
    words = [f"{count} {choice}" for choice, count in found.get("choices", {}).items() if count]
    words += [
        f"{letter}: place {mean:.1f}" for letter, mean in zip(LETTERS, found.get("ranks", []))
    ]
    words += [
        f"{letter}: " + ", ".join(f"{name} {mean:.1f}" for name, mean in means.items())
        for letter, means in zip(LETTERS, found.get("scores", []))
    ]
    who = f"{found['n']} other{'s' * (found['n'] > 1)} ({found['simulated']} simulated): {'; '.join(words)}"
    return [who if found["n"] else "Nobody else has judged this one yet."]


def game(shown: dict) -> str:
    """Return in words whether the reward model's guess is sealed, or what it was, and how well it knows the reader."""
    found = shown.get("revealed", {}).get("game") or shown.get("game")
    if not found:
        return ""
    words = (
        "The reward model has sealed its guess."
        if found.get("sealed")
        else "The reward model has no guess yet."
    )
    if "guess" in found:
        side, sure = ("A", found["guess"]) if found["guess"] >= 0.5 else ("B", 1 - found["guess"])
        verdict = {True: "Right!", False: "Wrong!", None: "No point: you named no winner."}[
            found["hit"]
        ]
        words = f"Its sealed guess: {side}, {sure:.0%} sure. {verdict}"
    return words + (
        f" It knows you: right in {found['right']} of {found['of']}." if found["of"] else ""
    )
