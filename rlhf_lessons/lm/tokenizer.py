"""Text to token ids and back: a small byte-level BPE, and the chat template that marks who speaks.

A prompt becomes "<bos><user>{prompt}\\n<assistant>\\n", then comes the completion and <eos>. A completion thus begins
after a newline, as the body of a web scrap does, so that what the base learned there is used here.
"""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = ["<pad>", "<bos>", "<eos>", "<user>", "<assistant>"]  # ids 0 to 4
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}<user>{{ m['content'] }}\n"
    "{% else %}<assistant>\n{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)


def train_tokenizer(texts, vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on `texts` (an iterable of str), with special tokens and the chat template.

    Each digit and each newline is a token of its own, so that sums and line ends look the same everywhere. All 256
    bytes are in the vocabulary, so any text can be encoded; ValueError if `vocab_size` is below 261.
    """
    if vocab_size < 256 + len(SPECIAL_TOKENS):
        raise ValueError(
            f"vocab_size must be at least 261, for 256 bytes and 5 special tokens, not {vocab_size}"
        )
    bpe = Tokenizer(models.BPE())
    alone = pre_tokenizers.Split(Regex(r"[0-9\n]"), behavior="isolated")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [alone, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocab_size,
            min_frequency=2,
            show_progress=False,
            special_tokens=SPECIAL_TOKENS,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        padding_side="left",
        additional_special_tokens=["<user>", "<assistant>"],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def strip_special_tokens(tokenizer, text: str) -> str:
    """The text without names of special tokens: nobody may write an <eos> or another speaker into a prompt."""
    while any(
        token in text for token in tokenizer.all_special_tokens
    ):  # again, as a removal may make another
        for token in tokenizer.all_special_tokens:
            text = text.replace(token, "")
    return text


def chat_prompt(tokenizer, prompt: str) -> str:
    """The prompt as the model reads it, up to where the answer begins; bare if there is no chat template."""
    if tokenizer.chat_template is None:
        return strip_special_tokens(tokenizer, prompt)
    messages = [{"role": "user", "content": strip_special_tokens(tokenizer, prompt)}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def encode_prompts(tokenizer, prompts: list[str]) -> list[list[int]]:
    """Token ids of each prompt in the chat template. Prompt and completion are tokenised apart, as in sampling.

    Without a chat template the prompt follows the start token, where there is one, as every text did in pretraining.
    """
    texts = [chat_prompt(tokenizer, prompt) for prompt in prompts]
    start = (
        [tokenizer.bos_token_id]
        if tokenizer.chat_template is None and tokenizer.bos_token_id is not None
        else []
    )
    return (
        [start + row for row in tokenizer(texts, add_special_tokens=False)["input_ids"]]
        if texts
        else []
    )


def encode_completions(
    tokenizer, completions: list[str], ended: bool | list[bool] = True
) -> list[list[int]]:
    """Token ids of each completion, and the end token where `ended` (one for all, or one for each) is true."""
    ended = [ended] * len(completions) if isinstance(ended, bool) else ended
    texts = [strip_special_tokens(tokenizer, text) for text in completions]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return [row + [tokenizer.eos_token_id] * bool(end) for row, end in zip(ids, ended, strict=True)]
