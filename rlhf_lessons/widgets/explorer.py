"""Walk a text token by token: what could come next, how likely it is, and how surprising what came
was."""

import ipywidgets as w
import torch
import torch.nn.functional as F

from rlhf_lessons.lm.filters import filter_top_k_top_p
from rlhf_lessons.lm.sampling import (
    most_tokens,
    process_logits,
    sample_next_token,
    suppressed_ids,
)
from rlhf_lessons.lm.tokenizer import strip_special_tokens
from rlhf_lessons.widgets.html import Box, control, escaped, slider, visible

SHADES = {  # nats below: colour
    0.5: "#FFFFFF",
    1.0: "#FBE3D2",
    2.0: "#F4BF9A",
    4.0: "#E8924F",
    float("inf"): "#D55E00",
}
BARS = 10  # tokens on offer


def shade(surprise: float) -> str:
    """Return the style of a token: one hue, the darker the more surprising, under black letters."""
    colour = next(colour for below, colour in SHADES.items() if surprise < below)
    return (
        f"background:{colour}; color:#000; border:1px solid #999; border-radius:3px; padding:0 2px"
    )


def surprise_legend() -> str:
    """Return what the shades mean, as HTML."""
    legend = "The small number after a token is its surprise in nats, and so is the shade:"
    low = 0.0
    for below in SHADES:
        words = f"over {low:g}" if below == float("inf") else f"{low:g} to {below:g}"
        legend += f' <span style="{shade(low)}">{words}</span>'
        low = below
    return f"<p>{legend}</p>"


@torch.inference_mode()
def read(model, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the surprise, in nats, of each token of a text after the first, (time - 1,), and the
    logits of what comes after the last, (vocabulary,)."""
    batch = torch.tensor([ids], device=model.device)
    logits = model(batch, use_cache=False).logits[0].float()
    surprises = F.cross_entropy(logits[:-1], batch[0, 1:], reduction="none")
    return surprises.cpu(), logits[-1].cpu()


def surprise_html(model, tokenizer, ids: list[int], first: int = 1) -> str:
    """Return the tokens from number `first` on as HTML, each shaded by its surprise, with the
    number beside it."""
    shown = ""
    surprises, _ = read(model, ids)
    for token, surprise in zip(ids[first:], surprises[first - 1 :].tolist(), strict=True):
        text = tokenizer.decode([token])
        word = escaped(text.strip("\n")) or "⏎"
        shown += f'<span style="{shade(surprise)}">{word}</span><sub>{surprise:.1f}</sub>'
        shown += "<br>" * text.count("\n")
    return f'<div style="white-space:pre-wrap; line-height:2">{shown}</div>'


class Explorer(Box):
    """Shows itself as a cell's last line. A click on a token takes it; "Let it choose" draws one,
    the same again from the same text.

    The bars are probabilities after temperature, top-k and top-p; the surprise is always the
    model's own.
    """

    def __init__(self, model, tokenizer, text: str = ""):
        self.model, self.tokenizer = model, tokenizer
        self.given, self.taken, self.chance = [tokenizer.bos_token_id], [], torch.Generator()
        self.text = control(w.Textarea, "Your text", value=text, rows=2)
        button = self.button_for
        self.begin = button("Begin here", "Walk on from the text in the box", self.restart)
        self.shown = w.HTML()
        self.choose = button("Let it choose", "Draw the next token", self.draw)
        self.choose.button_style = "primary"
        self.back = button("Take one back", "Remove the last token that was taken", self.undo)
        self.tokens = [
            button("", "", lambda i=i: self.take(self.offered[i]), layout={"width": "150px"})
            for i in range(BARS)
        ]
        self.bars = [w.FloatProgress(max=1) for _ in self.tokens]
        self.temperature = slider("Temperature", 0, 2, 0.1, value=1)
        self.top_k = control(w.IntSlider, "Top-k (0: all)", max=50)
        self.top_p = slider("Top-p (1: all)", 0.05, 1, 0.05, value=1)
        controls = self.temperature, self.top_k, self.top_p
        super().__init__(
            "A text to walk through, token by token. It works in Jupyter; what it shows stands "
            "below.",
            self.text,
            self.begin,
            self.shown,
            self.note,
            w.HBox([self.choose, self.back]),
            *map(w.HBox, zip(self.tokens, self.bars, strict=True)),
            *controls,
            w.HTML(surprise_legend()),
            controls=controls,
        )
        self.act(self.restart)

    @property
    def ids(self) -> list[int]:
        """The tokens so far: the start token, the text in the box when one began, and what was
        taken since."""
        return self.given + self.taken

    def restart(self) -> str:
        """Begin anew with the text in the box; ValueError where it is too long."""
        text = strip_special_tokens(self.tokenizer, self.text.value)
        text = self.tokenizer.encode(text, add_special_tokens=False)
        if 1 + len(text) >= most_tokens(self.model):
            raise ValueError(
                "This text fills all the places that the model has. Begin with a shorter one"
            )
        self.given, self.taken = [self.tokenizer.bos_token_id, *text], []
        self.chance.manual_seed(0)
        return self.show()

    def take(self, token: int) -> str:
        """Put a token at the end; nothing more can be taken after the end token, or where the model
        has no room."""
        if not self.over():
            self.taken.append(token)
        return self.show()

    def draw(self) -> str:
        """Take a token as the model draws it."""
        uniform = torch.rand(1, generator=self.chance)
        return self.take(int(sample_next_token(self.logits[None], uniform)))

    def undo(self) -> str:
        """Remove the last token that was taken."""
        self.taken = self.taken[:-1]
        return self.show()

    def over(self) -> bool:
        """Return whether the text has ended."""
        full = len(self.ids) >= most_tokens(self.model)
        return full or self.taken[-1:] == [self.tokenizer.eos_token_id]

    def show(self) -> str:
        """Show the text so far, and the likeliest next tokens, with their probabilities under
        temperature, top-k and top-p; return what to do next."""
        over = self.over()
        text = surprise_html(self.model, self.tokenizer, self.ids)
        self.shown.value = f'<div aria-live="polite">{text}</div>'
        self.back.disabled, self.choose.disabled = not self.taken, over
        heat = self.temperature.value
        top_k = self.top_k.value if heat else 1  # temperature 0 takes the likeliest
        _, logits = read(self.model, self.ids)
        suppressed = suppressed_ids(self.model, self.tokenizer)
        logits = process_logits(logits, heat or 1.0, suppressed)
        self.logits = filter_top_k_top_p(logits, top_k, self.top_p.value)
        self.offered = logits.topk(BARS).indices.tolist()
        chances = self.logits.softmax(-1)[self.offered].tolist()
        for token, bar, id, chance in zip(
            self.tokens, self.bars, self.offered, chances, strict=True
        ):
            token.description = visible(self.tokenizer.decode([id]))
            token.disabled = over or chance == 0
            token.tooltip = f"Take {token.description}, probability {chance:.1%}"
            bar.value, bar.description = chance, f"{chance:.1%}"
        ended = "The text has ended. Take one back, or begin with another text."
        return ended if over else "Which token comes next? Click one."
