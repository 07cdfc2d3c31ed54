"""Template and loss mask, token by token: what training reads of a demonstration, and which tokens
it learns."""

from contextlib import nullcontext

import ipywidgets as w

from rlhf_lessons.exercises.bugs import bug
from rlhf_lessons.lm.sampling import pad
from rlhf_lessons.stages import sft
from rlhf_lessons.widgets.html import Box, control, escaped, visible

# beside the reader's, so that one row is padded
SHORT = {"prompt": "What is 1+2 and 9-4?", "completion": "3 and 5."}
MOST = 256  # tokens that the course's models read
LABELS = {
    "as they should be": None,
    "with the prompt learned": "prompt tokens in the loss",
    "with the end ignored": "pad is the end token",
}
LOOKS = {
    "learned": "border:2px solid #0072B2; background:rgba(0,114,178,0.15); font-weight:bold",
    "ignored": "border:2px dashed grey",
    "padding": "border:2px dotted grey; opacity:0.6",
}


class MaskBox(Box):
    """The reader's own demonstration and a short one in a batch, each token with its label; two
    mistakes to choose."""

    def __init__(self, tokenizer, prompt: str, completion: str):
        self.tokenizer = tokenizer
        self.prompt = control(w.Text, "Prompt", value=prompt)
        self.completion = control(w.Textarea, "Answer", value=completion, rows=2)
        self.labels = control(w.RadioButtons, "Labels", options=list(LABELS))
        self.labels.layout.width = "max-content"  # so that its name stands before it
        self.view = w.HTML()
        controls = self.prompt, self.completion, self.labels
        super().__init__(
            "Your own demonstration, token by token, each with its label. It works in Jupyter; a "
            "table stands below.",
            *controls,
            self.note,
            self.view,
            controls=controls,
        )

    def show(self) -> None:
        """Draw the two demonstrations anew, with the labels that were chosen."""
        self.view.value = ""
        own = {"prompt": self.prompt.value, "completion": self.completion.value}
        for text, name in zip(own.values(), ("a prompt", "an answer"), strict=True):
            if not text.strip():
                raise ValueError(f"Write {name}: there is nothing to learn from an empty one")
        mistake = LABELS[self.labels.value]
        with bug(mistake) if mistake else nullcontext():
            rows = sft.encode_demonstrations(self.tokenizer, [own, SHORT])
        longest = max(len(ids) for ids, _ in rows)
        if longest > MOST:
            raise ValueError(
                f"This is too long: {longest} tokens, and the model reads {MOST}. Write less"
            )
        self.view.value = batch_html(self.tokenizer, rows)


def batch_html(tokenizer, rows: sft.Labelled) -> str:
    """Return rows of (ids, labels), padded to one length, as HTML: each token over its label."""
    ids, real = pad([ids for ids, _ in rows], tokenizer.pad_token_id)
    labels, _ = pad([labels for _, labels in rows], sft.IGNORE)
    labels[:, 0] = sft.IGNORE  # nothing stands before the first token to guess it from
    page = ""
    for row in zip(ids.tolist(), labels.tolist(), real.tolist(), strict=True):
        chips = [chip(tokenizer.decode([i]), *marks) for i, *marks in zip(*row, strict=True)]
        page += f'<div style="margin:8px 0">{"".join(chips)}</div>'
    learned = int((labels != sft.IGNORE).sum())
    return (
        f"{page}<p>{learned} of {int(real.sum())} tokens are learned: solid frames, bold. "
        "Dashed: read, and ignored by the loss. Dotted: padding, not even read. ␣ is a space, ⏎ a "
        "new line.</p>"
    )


def chip(token: str, label: int, real: bool) -> str:
    """Return one token over its label, in a frame that says what becomes of it."""
    kind = "padding" if not real else "ignored" if label == sft.IGNORE else "learned"
    return (
        f'<span title="{kind}" style="display:inline-block; text-align:center; margin:2px; '
        f'padding:1px 4px; border-radius:4px; line-height:1.3; {LOOKS[kind]}">'
        f"{escaped(visible(token))}<br><small>{label}</small></span>"
    )
