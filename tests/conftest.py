"""What tests share: a tiny tokenizer, tiny models, tiny data, an empty ratings store."""

import os
import random
from functools import cache
from uuid import uuid4

import pytest
import sqlalchemy as sa
from postgresql import missing
from tiny_models import WORDS, sentence, tiny_gpt2, tiny_llama

DATABASES = ("SQLite", "PostgreSQL")
ALL_DATABASES = ("test_card_host", "test_classroom", "test_classroom_processes")
NO_SERVER = (
    "no PostgreSQL server is named in RATINGS_DATABASE: apt install postgresql, then "
    "python tests/postgresql.py python start.py test"
)


def pytest_generate_tests(metafunc):
    """Run the tests of the ratings store, and of what a class does with it, on each database, but
    those marked `sqlite` or `postgresql` only on that one. For other tests SQLite is enough.
    """
    if "database" in metafunc.fixturenames:
        name, marked = metafunc.module.__name__, metafunc.definition.get_closest_marker
        wanted = [database for database in DATABASES if marked(database.lower())]
        if not wanted:
            on_all = name.startswith("test_feedback_") or name in ALL_DATABASES
            wanted = DATABASES if on_all else DATABASES[:1]
        metafunc.parametrize("database", wanted, indirect=True)


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
def database(request, tmp_path):
    """A function that returns, for a name, the path or URL of an empty ratings database: a file of
    its own, or a schema of its own on the server that RATINGS_DATABASE names.
    """
    if request.param == "SQLite":
        yield lambda name: tmp_path / f"{name}.sqlite3"
        return
    server = os.environ.get("RATINGS_DATABASE")
    if not server:
        missing(NO_SERVER)
    engine, made = sa.create_engine(server, isolation_level="AUTOCOMMIT"), []

    @cache
    def schema(name):
        made.append(f"test_{uuid4().hex}")
        with engine.connect() as c:
            c.exec_driver_sql(f"CREATE SCHEMA {made[-1]}")
        url = sa.make_url(server).update_query_dict({"options": f"-csearch_path={made[-1]}"})
        return url.render_as_string(hide_password=False)

    yield schema
    with engine.connect() as c:
        for name in made:
            c.exec_driver_sql(f"DROP SCHEMA {name} CASCADE")
    engine.dispose()


@pytest.fixture
def store(database):
    """An empty ratings store in a database of its own."""
    from rlhf_lessons.feedback import Store

    store = Store(database("ratings"))
    yield store
    store.close()


@pytest.fixture
def you(store):
    """The one rater of a notebook."""
    return store.reader()
