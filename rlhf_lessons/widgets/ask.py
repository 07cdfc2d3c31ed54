"""A prompt box: the reader asks, and every model answers, side by side."""

import ipywidgets as w

from rlhf_lessons import data
from rlhf_lessons.evaluation.ask import ask, out_of_world_notice
from rlhf_lessons.widgets.html import Box, control, slider
from rlhf_lessons.widgets.side_by_side import SideBySide
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS, FAMILIES


def suggestions() -> list[tuple[str, str]]:
    """Return (label, prompt): the article's two prompts, and one of each family that no model was
    trained on."""
    examples = {task.family: task.prompt for task in data.tasks("heldout")}  # the last of each
    found = [("article", prompt) for prompt in ARTICLE_PROMPTS]
    found += [(family, examples[family]) for family in FAMILIES]
    return [(f"{origin}: {prompt}", prompt) for origin, prompt in found]


class AskBox(Box):
    """Suggestions, a box to write in, a button, and the answers of each model.

    `models` maps a name to (model, tokenizer). With `toy_world=False` any text is welcome, as for a
    base model. Another click gives other answers: they are sampled.
    """

    def __init__(self, models: dict, texts: list[str] | None = None, toy_world: bool = True):
        self.models, self.toy_world, self.clicks = models, toy_world, 0
        self.suggestion = control(w.Dropdown, "Suggestions", options=texts or suggestions())
        self.prompt = control(w.Textarea, "Your prompt", rows=2)
        w.dlink((self.suggestion, "value"), (self.prompt, "value"))
        self.temperature = slider("Temperature", 0, 2, 0.1, value=1)
        told = "Let every model answer"
        self.button = self.button_for("Ask", told, self.answer, button_style="primary")
        self.answers = w.HTML()
        super().__init__(
            f"A prompt box for {', '.join(models)}. It works in Jupyter; what it shows stands "
            "below.",
            self.suggestion,
            self.prompt,
            w.HBox([self.button, self.temperature]),
            self.note,
            self.answers,
        )

    def answer(self) -> str | None:
        """Let each model answer the prompt in the box; ValueError where it is empty or too long."""
        prompt = self.prompt.value.strip("\n")
        self.clicks += 1
        self.button.disabled, self.button.description = True, "Writing …"
        try:
            found = ask(prompt, self.models, 1, self.temperature.value, seed=self.clicks)
        finally:
            self.button.disabled, self.button.description = False, "Ask"
        self.answers.value = SideBySide([prompt], found)._repr_html_()
        return out_of_world_notice(prompt) if self.toy_world else None
