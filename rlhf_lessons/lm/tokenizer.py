"""Text to token ids and back: a small byte-level BPE, and the chat template that marks who speaks.

A prompt becomes "<bos><user>{prompt}\\n<assistant>\\n", then comes the completion and <eos>. A
completion thus begins after a newline, as the body of a web scrap does, so that what the base
learned there is used here.
"""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

Rows = list[list[int]]  # of token ids
SPECIAL_TOKENS = ["<pad>", "<bos>", "<eos>", "<user>", "<assistant>"]  # ids 0 to 4
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}<user>{{ m['content'] }}\n"
    "{% else %}<assistant>\n{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)


def train_tokenizer(texts, vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on `texts` (an iterable of str), with the chat template.

    Each digit and each newline is a token of its own, so that sums and line ends look the same
    everywhere. All 256 bytes are in the vocabulary, so any text can be encoded; ValueError if
    `vocab_size` is below 261.
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


def check_tokenizer(tokenizer) -> None:
    """ValueError, which says what to set, unless ends and padding have tokens of their own.

    Special tokens are taken out of texts, so none of them may be a word that texts hold.
    """
    for name in ("eos_token", "pad_token"):
        if getattr(tokenizer, name) is None:
            raise ValueError(f"the tokenizer has no {name}: set tokenizer.{name}")
    added = tokenizer.added_tokens_decoder
    bpe = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    for token in tokenizer.all_special_tokens:
        index = tokenizer.convert_tokens_to_ids(token)
        if not token or index is None:
            raise ValueError(
                f"the special token {token!r} is not in the tokenizer's vocabulary: set another, "
                "for example tokenizer.pad_token = tokenizer.eos_token"
            )
        pieces = bpe.tokenize(token) if isinstance(bpe, models.BPE) else []
        if index not in added or [piece.id for piece in pieces] == [index]:
            raise ValueError(
                f"the special token {token!r} is a word, which texts would lose: set another, "
                "for example tokenizer.pad_token = tokenizer.eos_token"
            )


def check_vocabulary(model, tokenizer) -> None:
    """ValueError, naming both numbers, if the tokenizer gives ids beyond the model's rows."""
    rows = model.get_input_embeddings().weight.shape[0]
    highest = max(len(tokenizer) - 1, *tokenizer.added_tokens_decoder, *tokenizer.all_special_ids)
    if highest >= rows:
        token = tokenizer.convert_ids_to_tokens(highest)
        raise ValueError(
            f"the tokenizer's last token {token!r} has the id {highest}, but the model has "
            f"{rows} rows, for ids 0 to {rows - 1}: take the tokenizer that the model was trained "
            f"with, or call model.resize_token_embeddings({highest + 1}) and train it"
        )


def strip_special_tokens(tokenizer, text: str) -> str:
    """The text without names of special tokens: nobody may write an <eos> or another speaker."""
    before = None
    while text != before:  # again, as a removal may make another
        before = text
        for token in tokenizer.all_special_tokens:
            text = text.replace(token, "")
    return text


def chat_prompt(tokenizer, prompt: str) -> str:
    """The prompt as the model reads it, up to where the answer begins; bare without a template."""
    prompt = strip_special_tokens(tokenizer, prompt)
    if tokenizer.chat_template is None:
        return prompt
    messages = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def encode_prompts(tokenizer, prompts: list[str]) -> Rows:
    """Token ids of each prompt in the chat template; completions are tokenised apart from them.

    Without a chat template the prompt follows the start token, where there is one, as every text
    did in pretraining. ValueError for a tokenizer that `check_tokenizer` refuses, and for a text
    with half a character in it.
    """
    texts = [chat_prompt(tokenizer, prompt) for prompt in prompts]
    rows = _encode(tokenizer, texts, "prompt")
    if tokenizer.chat_template is None and tokenizer.bos_token_id is not None:
        rows = [[tokenizer.bos_token_id] + row for row in rows]
    return rows


def encode_completions(tokenizer, completions: list[str], ended: bool | list[bool] = True) -> Rows:
    """Token ids of each completion, with the end token where `ended` is true.

    `ended` is one for all, or one for each. ValueError as for `encode_prompts`.
    """
    if isinstance(ended, bool):
        ended = [ended] * len(completions)
    texts = [strip_special_tokens(tokenizer, text) for text in completions]
    rows = _encode(tokenizer, texts, "completion")
    return [
        row + [tokenizer.eos_token_id] if end else row for row, end in zip(rows, ended, strict=True)
    ]


def _encode(tokenizer, texts: list[str], what: str) -> Rows:
    """Token ids of each text as it stands."""
    check_tokenizer(tokenizer)
    for i, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"{what} {i} (counted from 0) holds half a character, as of an emoji cut in two "
                "(a lone surrogate): remove it"
            ) from error
    return tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
