"""Step 2 of RLHF, supervised fine-tuning (SFT): imitate answers that people wrote to prompts.

The loss is that of pretraining, but on the tokens of the answer only, its end token included: the
model learns to answer and to stop, not to write prompts. Left out: packing demonstrations into full
rows.

`exercises/bugs.py` swaps `encode_demonstrations` and `sft_loss` here, by name.
"""

from torch import Tensor

from rlhf_lessons.data import check_row
from rlhf_lessons.lm.sampling import check_lengths, inputs, pad
from rlhf_lessons.lm.tokenizer import encode_completions, encode_prompts
from rlhf_lessons.stages import losses
from rlhf_lessons.stages.config import SFTConfig
from rlhf_lessons.stages.loop import RowStage, Step
from rlhf_lessons.stages.losses import IGNORE

Labelled = list[tuple[list[int], list[int]]]  # rows of (ids, labels)


class SFT(RowStage):
    """Fine-tune `model` on demonstrations, {"prompt", "completion"}; each item is one `Step`.

    The model is put into eval mode, and stays in it: it learns without dropout. ValueError, naming
    the row, for a demonstration without an answer or longer than the model's positions.
    """

    def __init__(self, model, tokenizer, demonstrations: list[dict], config: SFTConfig):
        rows = encode_demonstrations(tokenizer, demonstrations)
        texts = [ids for ids, _ in rows]
        check_lengths(model, texts, "demonstration")
        super().__init__(model, tokenizer, config, rows, list(map(len, texts)))

    def train_step(self, step: int) -> Step:
        rows = self.batch(step)
        loss = sft_loss(self.model, rows, self.pad_id)
        tokens = sum(len(labels) - labels.count(IGNORE) for _, labels in rows)
        return Step(**self.descend(loss, tokens, step))


def encode_demonstrations(tokenizer, demonstrations: list[dict]) -> Labelled:
    """Return each demonstration as (ids, labels).

    Labels hold the answer's ids, end token included, and ignore the prompt. An answer that was cut
    off, `"ended": False`, has no end to learn. ValueError names the row that is no demonstration,
    such as one without an answer.
    """
    if not demonstrations:
        raise ValueError("no demonstrations")
    texts = []
    for n, row in enumerate(demonstrations):
        row = check_row(row, "demonstrations", f"demonstration {n}")
        texts.append((row["prompt"], row["completion"], row.get("ended", True)))
    prompts, answers, ended = zip(*texts, strict=True)
    rows = []
    for prompt, answer in zip(
        encode_prompts(tokenizer, prompts),
        encode_completions(tokenizer, answers, ended),
        strict=True,
    ):
        rows.append((prompt + answer, [IGNORE] * len(prompt) + answer))
    return rows


def sft_loss(model, rows: Labelled, pad_id: int) -> Tensor:
    """Return the mean cross-entropy in nats over the answers' tokens of (ids, labels).

    Each token counts the same, in long answers and short.
    """
    ids, labels = zip(*rows, strict=True)
    ids, attention_mask = pad(ids, pad_id, device=model.device)
    labels, _ = pad(labels, IGNORE, device=model.device)
    logits = model(**inputs(ids, attention_mask)).logits
    return losses.masked_loss(logits, labels)
