"""A prompt box: the reader asks, and every model answers, side by side."""

import ipywidgets as w

from rlhf_lessons import data
from rlhf_lessons.evaluation.ask import ask, out_of_world_notice
from rlhf_lessons.widgets.html import columns_html, escaped, said
from rlhf_lessons.world.tasks import ARTICLE_PROMPTS, FAMILIES


def suggestions() -> list[tuple[str, str]]:
    """Return (label, prompt): the article's two prompts, and one of each family that no model was
    trained on."""
    tasks = data.tasks("heldout")[len(ARTICLE_PROMPTS) :]
    found = [(f"article: {prompt}", prompt) for prompt in ARTICLE_PROMPTS]
    for family in FAMILIES:
        prompt = next(task.prompt for task in tasks if task.family == family)
        found.append((f"{family}: {prompt}", prompt))
    return found


class AskBox(w.VBox):
    """Suggestions, a box to write in, a button, and the answers of each model.

    `models` maps a name to (model, tokenizer). With `toy_world=False` any text is welcome, as for a
    base model. Another click gives other answers: they are sampled.
    """

    def __init__(
        self,
        models: dict,
        texts: list[str] | None = None,
        temperature: float = 1.0,
        toy_world: bool = True,
    ):
        self.models, self.toy_world, self.clicks = models, toy_world, 0
        options = suggestions() if texts is None else [(text, text) for text in texts]
        wide = w.Layout(width="98%")
        style = {"description_width": "90px"}
        self.suggestion = w.Dropdown(
            options=options, description="Suggestions", layout=wide, style=style
        )
        self.prompt = w.Textarea(
            value=options[0][1], description="Your prompt", layout=wide, rows=2, style=style
        )
        self.temperature = w.FloatSlider(
            temperature, min=0, max=2, step=0.1, description="Temperature", style=style
        )
        self.button = w.Button(
            description="Ask", button_style="primary", tooltip="Let every model answer"
        )
        self.note, self.answers = w.HTML(), w.HTML()
        self.suggestion.observe(self.take_suggestion, "value")
        self.button.on_click(self.answer)
        row = w.HBox([self.button, self.temperature])
        super().__init__([self.suggestion, self.prompt, row, self.note, self.answers])

    def __repr__(self):
        names = ", ".join(self.models)
        return f"A prompt box for {names}. It works in Jupyter; what it shows stands below."

    def take_suggestion(self, change: dict) -> None:
        """Put the chosen suggestion into the box."""
        self.prompt.value = change["new"]

    def answer(self, _=None) -> None:
        """Let each model answer the prompt in the box, and show the answers or why there are
        none."""
        prompt, self.clicks = self.prompt.value.strip("\n"), self.clicks + 1
        self.button.disabled, self.button.description = True, "Writing …"
        try:
            found = ask(
                prompt, self.models, n=1, temperature=self.temperature.value, seed=self.clicks
            )
            self.answers.value = columns_html(
                {name: said(texts[0]) for name, texts in found.items()}
            )
            self.note.value = escaped(out_of_world_notice(prompt) or "") if self.toy_world else ""
        except ValueError as error:  # empty or too long: the message says which
            self.note.value = escaped(f"{error}.")
        finally:
            self.button.disabled, self.button.description = False, "Ask"
