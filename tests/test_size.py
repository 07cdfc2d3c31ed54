"""The package stays small enough to be read. Size is counted in tokens, not lines.

At most 38,750 tokens for the core, 106,100 for the package, and nine a line on average. The core is
what a learner reads: it includes the methods beyond PPO and what measures them, but not what only
carries it to other machines and models (`CARRY`): the fast decoder, several processes, adapters,
pretrained models and who rates these. The hints and known mistakes of exercises are data
(`exercises/hints/*.toml`), and are not counted.
"""

import io
import tokenize
from collections.abc import Iterable
from pathlib import Path

import pytest

import rlhf_lessons

PACKAGE = Path(rlhf_lessons.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
CORE = ("world", "lm", "stages", "evaluation", "recipes.py", "plots.py")
CARRY = {PACKAGE / "lm" / f"{name}.py" for name in "decoder processes adapters pretrained".split()}
CARRY.add(PACKAGE / "world" / "everyday.py")
COUNTED = {tokenize.NAME, tokenize.NUMBER, tokenize.OP, tokenize.STRING}
CORE_LIMIT = 38_750
PACKAGE_LIMIT = 106_100
LINE_LIMIT = 9


def tokens(file: Path) -> list[tokenize.TokenInfo]:
    """The names, numbers, operators and strings of a file; a docstring is one string, and so is an
    f-string, which Python takes apart from 3.12 on."""
    source = file.read_text(encoding="utf-8")
    found, within = [], 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        begins = name.endswith("STRING_START")
        if not within and (begins or token.type in COUNTED):
            found.append(token)
        within += begins - name.endswith("STRING_END")
    return found


def size(files: Iterable[Path]) -> int:
    return sum(len(tokens(file)) for file in files)


def test_the_core_fits_into_38_750_tokens():
    """What a learner of RLHF reads: the toy world, the model, the stages, their evaluation."""
    core = [file for file in FILES if file.relative_to(PACKAGE).parts[0] in CORE]
    assert CARRY < set(core)
    assert size(set(core) - CARRY) <= CORE_LIMIT


def test_the_package_fits_into_106_100_tokens():
    assert size(FILES) <= PACKAGE_LIMIT


def test_a_line_of_code_holds_few_tokens_on_average():
    """cleanrl's ppo.py has 8.6, nanochat 8.1, starlette 7.4; before, we had 12.2."""
    lines = sum(len({token.start[0] for token in tokens(file)}) for file in FILES)
    assert size(FILES) / lines <= LINE_LIMIT


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_fits_on_the_screen_and_holds_one_idea(file):
    lines = file.read_text(encoding="utf-8").split("\n")
    wide = [number for number, line in enumerate(lines, 1) if len(line) > 100]
    assert not wide, f"{file.name}: lines over 100 columns"
    assert len(tokens(file)) <= 3000, f"{file.name}: a room with two ideas?"
