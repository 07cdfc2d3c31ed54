"""What a few lines of Python would print, found out without running them.

The text is parsed with `ast` and interpreted here, in the subset that the toy world needs. Nothing
is ever handed to `exec` or `eval`, every loop and value has a limit, and what lies outside the
subset is an error.
"""

import ast
import math
import operator
import warnings
from functools import lru_cache

MAX_CODE = 1000  # characters
MAX_STEPS = 400
MAX_DEPTH = 30
MAX_LENGTH = 200  # of a text or list
MAX_NUMBER = 10**6
OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
CALLS = {call.__name__: call for call in (sum, len, str, int, list, range, sorted)}
METHODS = {name: getattr(str, name) for name in ("upper", "lower", "strip", "join", "split")}


@lru_cache(maxsize=4096)
def run_code(code: str) -> tuple[str, str]:
    """Return what the code prints, and the error that stopped it, or "". Never raises.

    The error begins with `syntax` where the text is no Python at all.
    """
    machine = Machine()
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(code[:MAX_CODE])
    except Exception as error:
        return "", f"syntax: {error}"
    try:
        machine.carry_out(tree.body, 0)
    except Exception as error:  # whatever the code does wrong
        return machine.output, f"{type(error).__name__}: {error}"
    return machine.output, "" if len(code) <= MAX_CODE else "it is too long"


class Machine:
    """The variables, the output so far, and the steps taken."""

    def __init__(self):
        self.names = {}
        self.output = ""
        self.steps = 0

    def carry_out(self, lines: list[ast.stmt], depth: int) -> None:
        """Carry out statements one after the other."""
        for line in lines:
            match line:
                case ast.Expr(value):
                    self.value(value, depth)
                case ast.Assign([ast.Name(name)], value):
                    self.names[name] = self.value(value, depth)
                case ast.For(ast.Name(name), values, body, []):
                    for item in self.value(values, depth):
                        self.names[name] = item
                        self.carry_out(body, depth + 1)
                case _:
                    raise NotImplementedError(type(line).__name__)

    def value(self, node: ast.expr, depth: int) -> int | str | list | range | None:
        """Return the value of an expression; every one, whatever made it, is within the limits."""
        self.steps += 1
        if self.steps > MAX_STEPS or depth > MAX_DEPTH or len(self.output) > 5 * MAX_LENGTH:
            raise TimeoutError("it runs for too long")

        def inner(child):
            return self.value(child, depth + 1)

        def unfold(items):  # what is starred stands for several
            values = []
            for item in items:
                starred = isinstance(item, ast.Starred)
                values += inner(item.value) if starred else [inner(item)]
            return values

        match node:
            case ast.Constant(int() | str() as found):
                pass
            case ast.Name(name):
                found = self.names[name]
            case ast.UnaryOp(ast.USub(), child):
                found = -inner(child)
            case ast.BinOp(left, op, right):
                pair = inner(left), inner(right)
                if isinstance(op, ast.Mult):  # refuse a text repeated too often before it is made
                    sizes = [part if isinstance(part, int) else len(part) for part in pair]
                    within_limits(math.prod(sizes))
                found = OPERATORS[type(op)](*pair)
            case ast.List(items) | ast.Tuple(items):
                found = unfold(items)
            case ast.JoinedStr(parts):
                found = "".join(str(inner(part)) for part in parts)
            case ast.FormattedValue(child, -1, None):
                found = inner(child)
            case ast.Call(ast.Name("print"), args, options):
                given = {option.arg: inner(option.value) for option in options}
                how = {"sep": " ", "end": "\n"} | given
                self.output += how["sep"].join(map(str, unfold(args))) + how["end"]
                return None
            case ast.Call(ast.Name(name), args, []):
                found = CALLS[name](*unfold(args))
            case ast.Call(ast.Attribute(owner, name), args, []):
                found = METHODS[name](inner(owner), *map(inner, args))
            case _:
                raise NotImplementedError(type(node).__name__)
        return within_limits(found)


def within_limits(value):
    """Return a value, unless it is too large; lists hold numbers and texts only."""
    if isinstance(value, int):
        fits = abs(value) <= MAX_NUMBER
    else:
        fits = len(value) <= MAX_LENGTH and all(isinstance(part, int | str) for part in value)
    if not fits:
        raise OverflowError("a value is too large")
    return value
