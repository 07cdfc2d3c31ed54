"""Walk a text token by token: what could come next, how likely it is, and how surprising what came
was."""

import ipywidgets as w
import torch

from rlhf_lessons.lm.sampling import (
    filter_top_k_top_p,
    process_logits,
    sample_next_token,
    suppressed_ids,
)
from rlhf_lessons.lm.tokenizer import strip_special_tokens
from rlhf_lessons.widgets.html import escaped

SHADES = {
    0.5: "#FFFFFF",
    1.0: "#FBE3D2",
    2.0: "#F4BF9A",
    4.0: "#E8924F",
    float("inf"): "#D55E00",
}  # nats below: colour
BARS = 10  # tokens on offer


def shade(surprise: float) -> str:
    """Return the style of a token: one hue, the darker the more surprising, under black letters."""
    colour = next(colour for below, colour in SHADES.items() if surprise < below)
    return (
        f"background:{colour}; color:#000; border:1px solid #999; border-radius:3px; padding:0 2px"
    )


def surprise_legend() -> str:
    """Return what the shades mean, as HTML."""
    boxes, low = "", 0.0
    for below in SHADES:
        words = f"over {low:g}" if below == float("inf") else f"{low:g} to {below:g}"
        boxes, low = f'{boxes} <span style="{shade(low)}">{words}</span>', below
    what = "The small number after a token is its surprise in nats, and so is the shade"
    return f"<p>{what}:{boxes}</p>"


def name(tokenizer, token: int) -> str:
    """Return a token as a reader wants to see it: spaces as ␣, line ends as ⏎."""
    return tokenizer.decode([token]).replace(" ", "␣").replace("\n", "⏎")


@torch.inference_mode()
def surprises(model, ids: list[int]) -> torch.Tensor:
    """Return the surprise, in nats, of each token after the first, (time - 1,)."""
    logprobs = (
        model(torch.tensor([ids], device=model.device), use_cache=False)
        .logits[0, :-1]
        .float()
        .log_softmax(-1)
    )
    return -logprobs.gather(-1, torch.tensor(ids[1:], device=model.device)[:, None])[:, 0].cpu()


def surprise_html(model, tokenizer, ids: list[int], first: int = 1) -> str:
    """Return the tokens from number `first` on as HTML, each shaded by its surprise, with the
    number beside it."""
    shown = []
    for token, nats in list(zip(ids[1:], surprises(model, ids).tolist(), strict=True))[first - 1 :]:
        text = tokenizer.decode([token])
        shown.append(
            f'<span style="{shade(nats)}">{escaped(text.strip(chr(10))) or "⏎"}</span>'
            + f"<sub>{nats:.1f}</sub>"
            + "<br>" * text.count("\n")
        )
    return f'<div style="white-space:pre-wrap; line-height:2">{"".join(shown)}</div>'


class Explorer(w.VBox):
    """Shows itself as a cell's last line. A click on a token takes it; "Let it choose" draws one,
    as `seed` decides.

    The bars are probabilities after temperature, top-k and top-p; the surprise is always the
    model's own.
    """

    def __init__(self, model, tokenizer, text: str = "", seed: int = 0):
        self.model, self.tokenizer, self.seed = model, tokenizer, seed
        style, wide = {"description_width": "110px"}, w.Layout(width="98%")
        self.text = w.Textarea(text, description="Your text", rows=2, layout=wide, style=style)
        self.begin = w.Button(description="Begin here", tooltip="Walk on from the text in the box")
        self.temperature = w.FloatSlider(
            1.0, min=0, max=2, step=0.1, description="Temperature", style=style
        )
        self.top_k = w.IntSlider(0, min=0, max=50, description="Top-k (0: all)", style=style)
        self.top_p = w.FloatSlider(
            1.0, min=0.05, max=1, step=0.05, description="Top-p (1: all)", style=style
        )
        self.choose = w.Button(
            description="Let it choose", button_style="primary", tooltip="Draw the next token"
        )
        self.back = w.Button(
            description="Take one back", tooltip="Remove the last token that was taken"
        )
        self.tokens = [w.Button(layout=w.Layout(width="150px")) for _ in range(BARS)]
        self.bars = [w.HTML() for _ in range(BARS)]
        self.shown, self.note = w.HTML(), w.HTML()
        for place, button in enumerate(self.tokens):
            button.on_click(lambda _, place=place: self.take(self.offered[place]))
        self.begin.on_click(self.restart)
        self.choose.on_click(
            lambda _: self.take(
                int(sample_next_token(self.logits[None], torch.rand(1, generator=self.chance)))
            )
        )
        self.back.on_click(self.undo)
        for slider in (self.temperature, self.top_k, self.top_p):
            slider.observe(self.offer, "value")
        rows = [w.HBox(pair) for pair in zip(self.tokens, self.bars, strict=True)]
        super().__init__(
            [
                self.text,
                self.begin,
                self.shown,
                self.note,
                w.HBox([self.choose, self.back]),
                *rows,
                self.temperature,
                self.top_k,
                self.top_p,
                w.HTML(surprise_legend()),
            ]
        )
        self.begin_with(
            [tokenizer.bos_token_id]
        )  # so that a text that is too long leaves something to walk on from
        self.restart()

    def __repr__(self):
        where = "It works in Jupyter; what it shows stands below."
        return f"A text to walk through, token by token. {where}"

    @property
    def ids(self) -> list[int]:
        """The tokens so far: the start token, the text in the box when one began, and what was
        taken since."""
        return self.given + self.taken

    def restart(self, _=None) -> None:
        """Begin anew with the text in the box."""
        given = [self.tokenizer.bos_token_id]
        given += self.tokenizer.encode(
            strip_special_tokens(self.tokenizer, self.text.value), add_special_tokens=False
        )
        if len(given) >= self.model.config.max_position_embeddings:
            self.note.value = escaped(
                "This text fills all the places that the model has. Begin with a shorter one."
            )
            return
        self.begin_with(given)

    def begin_with(self, given: list[int]) -> None:
        """Begin anew with these tokens."""
        self.given, self.taken, self.chance = given, [], torch.Generator().manual_seed(self.seed)
        self.show()

    def take(self, token: int) -> None:
        """Put a token at the end; nothing more can be taken after the end token, or where the model
        has no room."""
        if not self.over():
            self.taken.append(token)
            self.show()

    def undo(self, _=None) -> None:
        """Remove the last token that was taken."""
        if self.taken:
            self.taken.pop()
            self.show()

    def over(self) -> bool:
        """Return whether the text has ended."""
        full = len(self.ids) >= self.model.config.max_position_embeddings
        return full or self.taken[-1:] == [self.tokenizer.eos_token_id]

    def show(self) -> None:
        """Show the text so far, and what could come next."""
        self.shown.value = (
            f'<div aria-live="polite">{surprise_html(self.model, self.tokenizer, self.ids)}</div>'
        )
        ended = "The text has ended. Take one back, or begin with another text."
        self.note.value = escaped(ended if self.over() else "Which token comes next? Click one.")
        self.back.disabled, self.choose.disabled = not self.taken, self.over()
        with torch.inference_mode():
            self.next = (
                self.model(torch.tensor([self.ids], device=self.model.device))
                .logits[0, -1]
                .float()
                .cpu()
            )
        self.offer()

    def offer(self, _=None) -> None:
        """Show the likeliest next tokens, with their probabilities under temperature, top-k and
        top-p."""
        heat = self.temperature.value
        logits = process_logits(self.next, heat or 1.0, suppressed_ids(self.model, self.tokenizer))
        self.logits = filter_top_k_top_p(
            logits, self.top_k.value if heat else 1, self.top_p.value
        )  # 0 takes the likeliest
        probabilities = self.logits.softmax(-1)
        self.offered = logits.topk(BARS).indices.tolist()
        for button, bar, token in zip(self.tokens, self.bars, self.offered, strict=True):
            chance, what = probabilities[token].item(), name(self.tokenizer, token)
            button.description, button.disabled = what, self.over() or chance == 0
            button.tooltip = f"Take {what}, probability {chance:.1%}"
            look = f"background:#0072B2; width:{240 * chance:.0f}px"
            bar.value = (
                f'<div style="display:flex; gap:6px"><div style="{look}"></div>{chance:.1%}</div>'
            )
