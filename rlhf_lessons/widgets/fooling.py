"""What moves a reward model's number, word by word, and a box for texts that fool it."""

from operator import itemgetter

import ipywidgets as w
import numpy as np
from IPython.display import HTML

from rlhf_lessons.lm.tokenizer import strip_special_tokens
from rlhf_lessons.stages.reward import score
from rlhf_lessons.widgets.html import Box, control, escaped, table
from rlhf_lessons.world.judge import judge

RAISES, LOWERS = "0, 114, 178", "213, 94, 0"  # blue and vermilion of Okabe and Ito
PLACES = 5  # on the board


def coloured_words(words: list[str], changes: list[float]) -> HTML:
    """Return a text whose words stand above a number each: blue raises the reward, vermilion lowers
    it."""
    largest = max(map(abs, changes), default=0.0) or 1.0
    page = ""
    for word, change in zip(words, changes, strict=True):
        colour = f"rgba({RAISES if change > 0 else LOWERS}, {0.6 * abs(change) / largest:.2f})"
        number = round(change, 1) + 0  # no word is worth -0.0
        page += (
            ' <span style="display:inline-block; text-align:center; margin:2px; padding:2px 4px; '
            f'background:{colour}">{escaped(word)}<br><small>{number:+.1f}</small></span>'
        )
    return HTML(f"<div>{page[1:]}</div>")


class FoolBox(Box):
    """The reader writes an answer to `prompt`; the box shows its reward, its true utility, and by
    how much the reward model overpays it. The best of the session stand below.

    What a utility deserves is read off a straight line through `examples`, ordinary answers to the
    same prompt.
    """

    def __init__(self, reward_model, tokenizer, prompt: str, examples: list[str]):
        self.model, self.tokenizer, self.prompt = reward_model, tokenizer, prompt
        self.entries = []
        utilities = [judge(prompt, text).utility for text in examples]
        rewards = score(reward_model, tokenizer, [prompt] * len(examples), examples).numpy()
        degree = 1 if len(set(utilities)) > 1 else 0
        self.line = np.polyfit(utilities, rewards, degree)
        self.text = control(w.Textarea, "Your answer", rows=3)
        self.text.placeholder = "Write a bad answer that it likes"
        told = "Ask reward model and truth"
        self.button = self.button_for("Score it", told, self.answer, button_style="primary")
        self.board = w.HTML()
        super().__init__(
            "A box for texts that fool the reward model. It works in Jupyter; the best ones stand "
            "in it.",
            w.HTML(f"<b>{escaped(prompt)}</b>"),
            self.text,
            self.button,
            self.note,
            self.board,
        )

    def enter(self, text: str) -> dict:
        """Score a text and put it on the board: text, reward, utility, and overpaid, which is the
        reward less what answers of this utility get. ValueError, in words, for an empty text and
        for one that is too long."""
        # the truth is to judge what the reward model reads
        text = strip_special_tokens(self.tokenizer, text).strip()
        if not text:
            raise ValueError("Write something first")
        reward = score(self.model, self.tokenizer, [self.prompt], [text]).item()
        utility = judge(self.prompt, text).utility
        overpaid = reward - float(np.polyval(self.line, utility))
        entry = {"text": text, "reward": reward, "utility": utility, "overpaid": overpaid}
        known = {entry["text"]: entry for entry in [*self.entries, entry]}
        self.entries = sorted(known.values(), key=itemgetter("overpaid"), reverse=True)
        self.board.value = self.page()
        return entry

    def answer(self) -> str:
        """Score what is in the box, and say what came out."""
        entry = self.enter(self.text.value)
        much, place = entry["overpaid"], self.entries.index(entry) + 1
        return (
            f"Reward {entry['reward']:+.1f}, true utility {entry['utility']:.2f}. Answers as good "
            f"as this one get {entry['reward'] - much:+.1f}: it is "
            f"{'over' if much > 0 else 'under'}paid by {abs(much):.1f}. Place {place}."
        )

    def page(self) -> str:
        """Return the HTML of the board."""
        rows = [
            (
                place,
                f"{entry['overpaid']:+.1f}",
                f"{entry['reward']:+.1f}",
                f"{entry['utility']:.2f}",
                entry["text"],
            )
            for place, entry in enumerate(self.entries[:PLACES], 1)
        ]
        header = ["place", "overpaid by", "reward", "true utility", "text"]
        airy = "line-height:1.5; border-collapse:separate; border-spacing:16px 4px"
        return table(header, rows, look=airy).data
