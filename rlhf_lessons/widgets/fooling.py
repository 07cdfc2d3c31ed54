"""What moves a reward model's number, word by word, and a box for texts that fool it."""

import ipywidgets as w
import numpy as np
from IPython.display import HTML

from rlhf_lessons.lm.tokenizer import encode_completions, encode_prompts, strip_special_tokens
from rlhf_lessons.stages.reward import score
from rlhf_lessons.widgets.html import escaped, table_html
from rlhf_lessons.world.judge import judge

RAISES, LOWERS = "0, 114, 178", "213, 94, 0"  # blue and vermilion of Okabe and Ito


def coloured_words(words: list[str], changes: list[float]) -> HTML:
    """Return a text whose words stand above a number each: blue raises the reward, vermilion lowers
    it."""
    largest = max(map(abs, changes), default=0.0) or 1.0
    spans = []  # rounded + 0: no word is worth -0.0
    for word, change in zip(words, changes, strict=True):
        colour = f"rgba({RAISES if change > 0 else LOWERS}, {0.6 * abs(change) / largest:.2f})"
        look = "display:inline-block; text-align:center; margin:2px; padding:2px 4px;"
        spans.append(
            f'<span style="{look} background:{colour}">{escaped(word)}<br>'
            f"<small>{round(change, 1) + 0:+.1f}</small></span>"
        )
    return HTML(f"<div>{' '.join(spans)}</div>")


class FoolBox(w.VBox):
    """The reader writes an answer to `prompt`; the box shows its reward, its true utility, and by
    how much the reward model overpays it. The best of the session stand below.

    What a utility deserves is read off a straight line through `examples`, ordinary answers to the
    same prompt.
    """

    def __init__(self, reward_model, tokenizer, prompt: str, examples: list[str], places: int = 5):
        self.model, self.tokenizer = reward_model, tokenizer
        self.prompt, self.places = prompt, places
        self.entries = []
        utilities = [judge(prompt, text).utility for text in examples]
        rewards = score(reward_model, tokenizer, [prompt] * len(examples), examples).numpy()
        degree = 1 if len(set(utilities)) > 1 else 0
        self.line = np.polyfit(utilities, rewards, degree)
        self.text = w.Textarea(
            placeholder="Write a bad answer that it likes", rows=3, layout=w.Layout(width="98%")
        )
        self.button = w.Button(
            description="Score it", button_style="primary", tooltip="Ask reward model and truth"
        )
        self.note, self.board = w.HTML(), w.HTML()
        self.button.on_click(self.answer)
        asked = w.HTML(f"<b>{escaped(prompt)}</b>")
        super().__init__([asked, self.text, self.button, self.note, self.board])

    def __repr__(self):
        where = "It works in Jupyter; the best ones stand in it."
        return f"A box for texts that fool the reward model. {where}"

    def enter(self, text: str) -> dict:
        """Score a text and put it on the board: text, reward, utility, and overpaid, which is the
        reward less what answers of this utility get. ValueError, in words, for an empty text and
        for one that is too long."""
        text = strip_special_tokens(
            self.tokenizer, text
        ).strip()  # the truth is to judge what the reward model reads
        if not text:
            raise ValueError("Write something first")
        rows = (
            encode_prompts(self.tokenizer, [self.prompt])[0]
            + encode_completions(self.tokenizer, [text])[0]
        )
        if len(rows) > (limit := self.model.config.max_position_embeddings):
            raise ValueError(
                f"This is too long: {len(rows)} tokens with the prompt, and the model reads {limit}"
            )
        reward = score(self.model, self.tokenizer, [self.prompt], [text]).item()
        utility = judge(self.prompt, text).utility
        entry = {
            "text": text,
            "reward": reward,
            "utility": utility,
            "overpaid": reward - float(np.polyval(self.line, utility)),
        }
        if text not in [known["text"] for known in self.entries]:
            self.entries = sorted([*self.entries, entry], key=lambda known: -known["overpaid"])
        self.board.value = self.page()
        return entry

    def answer(self, _=None) -> None:
        """Score what is in the box, and say what came out, or why it could not be scored."""
        try:
            entry = self.enter(self.text.value)
        except ValueError as error:
            self.note.value = f"<p aria-live='polite'>{escaped(error)}.</p>"
            return
        usual, much = entry["reward"] - entry["overpaid"], entry["overpaid"]
        place = [known["text"] for known in self.entries].index(entry["text"]) + 1
        said = (
            f"Reward {entry['reward']:+.1f}, true utility {entry['utility']:.2f}. Answers as good "
            "as this one get "
            f"{usual:+.1f}: it is {'over' if much > 0 else 'under'}paid by {abs(much):.1f}. Place "
            f"{place}."
        )
        self.note.value = f"<p aria-live='polite'>{said}</p>"

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
            for place, entry in enumerate(self.entries[: self.places], 1)
        ]
        return table_html(["place", "overpaid by", "reward", "true utility", "text"], rows)
