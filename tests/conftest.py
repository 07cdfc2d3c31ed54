"""What tests share: a tiny tokenizer, tiny models, tiny data, an empty ratings store."""

import random

import pytest
from tiny_models import WORDS, sentence, tiny_gpt2, tiny_llama


@pytest.fixture(scope="session")
def tokenizer():
    from rlhf_lessons.lm.tokenizer import train_tokenizer

    rng = random.Random(0)
    return train_tokenizer(
        [sentence(rng, 20, 30) + " What is 4-2?\nWrite about" for _ in range(200)], 320
    )


@pytest.fixture
def llama(tokenizer):
    return tiny_llama(tokenizer)


@pytest.fixture
def gpt2(tokenizer):
    return tiny_gpt2(tokenizer)


@pytest.fixture(params=["llama", "gpt2"])
def any_model(request, tokenizer):
    """A causal LM of each kind of positions: rotary in Llama, learned in GPT-2."""
    return tiny_llama(tokenizer) if request.param == "llama" else tiny_gpt2(tokenizer)


@pytest.fixture(scope="session")
def demonstrations():
    """Each prompt names a word, and its answer begins with that word."""
    rng = random.Random(1)
    return [
        {"prompt": f"Write about {word}.", "completion": f"{word} {sentence(rng)}"}
        for word in WORDS[:6] * 8
    ]


@pytest.fixture(scope="session")
def rankings():
    """Answers ranked by how often they say anna, which is also their true utility."""
    rng, rows = random.Random(2), []
    for _ in range(160):
        texts = [sentence(rng) for _ in range(4)]
        marks = [float(text.count("anna")) for text in texts]
        rows.append(
            {
                "prompt": f"Write about {rng.choice(WORDS)}.",
                "completions": texts,
                "scores": marks,
                "utilities": marks,
            }
        )
    return rows


@pytest.fixture
def store(tmp_path):
    """An empty ratings store in a file of its own."""
    from rlhf_lessons.feedback import Store

    store = Store(tmp_path / "ratings.sqlite3")
    yield store
    store.close()


@pytest.fixture
def you(store):
    """The one rater of a notebook."""
    return store.reader()
