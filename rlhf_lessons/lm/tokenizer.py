"""Text to token ids and back: a small byte-level BPE, and the chat template that marks who speaks.

A prompt becomes "<bos><user>{prompt}\\n<assistant>\\n" and a completion follows it, ended by <eos>. A completion thus
begins after a newline, exactly as the body of a web scrap does, so that what the base learned there is used here.
"""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

SPECIAL_TOKENS = ["<pad>", "<bos>", "<eos>", "<user>", "<assistant>"]  # their ids are 0 to 4
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}<user>{{ m['content'] }}\n"
    "{% else %}<assistant>\n{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>\n{% endif %}"
)


def train_tokenizer(texts, vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE on `texts` (an iterable of str) and wrap it with special tokens and the chat template.

    Every digit and every newline is a token of its own, so sums and line ends look the same wherever they stand.
    Any text can be encoded, since all 256 bytes are in the vocabulary; `vocab_size` must be at least 261.
    """
    if vocab_size < 256 + len(SPECIAL_TOKENS):
        raise ValueError(f"vocab_size must be at least 261 (256 bytes and 5 special tokens), not {vocab_size}")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"[0-9\n]"), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab_size, min_frequency=2, show_progress=False, special_tokens=SPECIAL_TOKENS,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    ))
    bpe.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>",
        additional_special_tokens=["<user>", "<assistant>"], chat_template=CHAT_TEMPLATE,
        padding_side="left", clean_up_tokenization_spaces=False,
    )


def plain(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """The text without special tokens' names: nobody may write an <eos> or another speaker into a prompt."""
    while any(token in text for token in tokenizer.all_special_tokens):  # again, since a removal may join another
        for token in tokenizer.all_special_tokens:
            text = text.replace(token, "")
    return text


def chat_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """The prompt as the model reads it, up to where the answer begins; the bare prompt without a chat template."""
    prompt = plain(tokenizer, prompt)
    if tokenizer.chat_template is None:
        return prompt
    messages = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: list[str]) -> list[list[int]]:
    """Token ids of each prompt in its chat template. Tokenised apart from the completion, as in sampling."""
    texts = [chat_prompt(tokenizer, prompt) for prompt in prompts]
    return tokenizer(texts, add_special_tokens=tokenizer.chat_template is None)["input_ids"] if texts else []


def encode_completions(tokenizer: PreTrainedTokenizerBase, completions: list[str], ended=True) -> list[list[int]]:
    """Token ids of each completion, with the end token where `ended` (one bool, or one for each) says so."""
    if isinstance(ended, bool):
        ended = [ended] * len(completions)
    texts = [plain(tokenizer, text) for text in completions]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []
    return [row + [tokenizer.eos_token_id] * bool(end) for row, end in zip(ids, ended, strict=True)]


def banned_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Special tokens that an answer never holds (all but the end token): -inf in sampling and in log-probs."""
    return [i for i in tokenizer.all_special_ids if i != tokenizer.eos_token_id]
