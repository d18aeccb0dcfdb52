"""The program of another guarded child: works out what a model wrote as a calculation.

One rule: nothing is ever run. The text is read as Python's syntax tree and worked out here, node by
node, from a list of what is known: numbers (exact fractions), names, comparisons, `if`, loops, and
the functions below. Whatever is not on the list is refused by name, and everything costs fuel.

It imports nothing of tdsys; after it has given up its rights it can open no file and no socket.
Requests and replies are JSON, one per line: a text -> {"answer": "36", "names": {...}} or
{"refused": why}.
"""

# ruff: noqa: SLF001  # the tables at the end name the methods of the class above them

from __future__ import annotations

import ast
import json
import math
import operator
import os
import resource
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import reduce
from typing import Any, TypeVar

MEMORY = 256 << 20
CPU_SECONDS = 2
FUEL = 20_000
BITS_PER_FUEL = 32
MAX_BITS = 4096
MAX_NODES = 2000
MAX_DEPTH = 40
MAX_NAMES = 50
MAX_EXPONENT = 1000
MAX_DIGITS = 30
MAX_FACTORIAL = 300
LONGEST_SHOWN = 60
RESULT = "answer"
HALF = Fraction(1, 2)

Value = Fraction | bool | tuple[Fraction, ...]
V = TypeVar("V", bound=Value)


class Refused(Exception):
    """Why a calculation is not worked out."""


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    replies = os.fdopen(os.dup(1), "w")
    warnings.simplefilter("ignore")
    worked_out("answer = 1")
    _give_up_rights()
    _reply(replies, "ready")
    for line in sys.stdin:
        used = int(sum(resource.getrusage(resource.RUSAGE_SELF)[:2]))
        resource.setrlimit(resource.RLIMIT_CPU, (used + CPU_SECONDS, resource.RLIM_INFINITY))
        _reply(replies, worked_out(json.loads(line)))


def _give_up_rights() -> None:
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 0),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _reply(replies: Any, document: object) -> None:
    replies.write(json.dumps(document) + "\n")
    replies.flush()


def worked_out(text: str) -> dict[str, Any]:
    """The reply to one calculation."""
    try:
        return _told(Calculation(text).names())
    except Refused as why:
        return {"refused": str(why)}
    except SyntaxError as wrong:
        return {"refused": f"line {wrong.lineno or 0} cannot be read: {wrong.msg}"}
    except (RecursionError, MemoryError):
        return {"refused": f"nested deeper than {MAX_DEPTH} levels, or too large"}
    except Exception as wrong:  # noqa: BLE001  # whatever it is, it is no number
        return {"refused": f"it cannot be worked out: {type(wrong).__name__}"}


def _told(names: dict[str, Fraction]) -> dict[str, Any]:
    if RESULT not in names:
        raise Refused(f"no number is given the name {RESULT}")
    told = {name: str(one) for name, one in names.items()}
    if len(told[RESULT]) > LONGEST_SHOWN:
        raise Refused(f"the {RESULT} has more than {LONGEST_SHOWN} digits")
    short = {name: one for name, one in told.items() if len(one) <= LONGEST_SHOWN}
    return {"answer": told[RESULT], "names": short}


class Calculation:
    """One calculation on its way; `fuel` is what it may still cost."""

    def __init__(self, text: str) -> None:
        lines = text.splitlines()
        tree = ast.parse("\n".join(lines))
        _check_size(tree)
        self._lines = [line.encode() for line in lines]
        self._body = tree.body
        self._names: dict[str, Value] = {}
        self._fuel = FUEL

    def names(self) -> dict[str, Fraction]:
        """Work it out: every name that is a number in the end."""
        self._block(self._body)
        return {name: one for name, one in self._names.items() if isinstance(one, Fraction)}

    def _block(self, body: Iterable[ast.stmt]) -> type[ast.stmt] | None:
        """Do one statement after the other; what ends the loop around it: break or continue."""
        for statement in body:
            self._burn(1)
            do = STATEMENTS.get(type(statement))
            if do is None:
                raise _unknown(statement)
            if ended := do(self, statement):
                return ended
        return None

    def _assign(self, one: ast.Assign) -> None:
        value = self._value(one.value)
        for target in one.targets:
            self._keep(target, value)

    def _keep(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Tuple) and isinstance(value, tuple):
            if len(target.elts) != len(value):
                raise _wrong(target, "there are not as many values as names")
            for name, part in zip(target.elts, value, strict=True):
                self._keep(name, part)
            return
        if not isinstance(target, ast.Name):
            raise _unknown(target)
        if target.id.startswith("_"):
            raise _wrong(target, "a name may not begin with _")
        self._names[target.id] = value
        if len(self._names) > MAX_NAMES:
            raise _wrong(target, f"more than {MAX_NAMES} names")

    def _augment(self, one: ast.AugAssign) -> None:
        before = self._value(ast.copy_location(_read(one.target), one))
        self._keep(one.target, self._operated(one, one.op, before, self._value(one.value)))

    def _if(self, one: ast.If) -> type[ast.stmt] | None:
        return self._block(one.body if self._holds(one.test) else one.orelse)

    def _while(self, one: ast.While) -> type[ast.stmt] | None:
        while self._holds(one.test):
            if self._block(one.body) is ast.Break:
                return None
        return self._block(one.orelse)

    def _for(self, one: ast.For) -> type[ast.stmt] | None:
        for value in self._sequence(one.iter):
            self._burn(1)
            self._keep(one.target, value)
            if self._block(one.body) is ast.Break:
                return None
        return self._block(one.orelse)

    def _sequence(self, node: ast.expr) -> Iterator[Fraction]:
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
            return iter(self._list(node))
        if node.func.id != "range" or node.keywords:
            return iter(self._list(node))
        try:
            return map(Fraction, range(*[self._whole(one) for one in node.args]))
        except (TypeError, ValueError):
            raise _wrong(node, "range takes one to three whole numbers, steps not of 0") from None

    def _list(self, node: ast.expr) -> tuple[Fraction, ...]:
        value = self._value(node)
        if not isinstance(value, tuple):
            raise _wrong(node, "a list is wanted here")
        return value

    def _whole(self, node: ast.expr) -> int:
        value = self._number(node)
        if value.denominator != 1:
            raise _wrong(node, "a whole number is wanted here")
        return value.numerator

    def _number(self, node: ast.expr) -> Fraction:
        return _number(node, self._value(node))

    def _holds(self, node: ast.expr) -> bool:
        return bool(self._value(node))

    def _value(self, node: ast.expr) -> Value:
        self._burn(1)
        read = EXPRESSIONS.get(type(node))
        if read is None:
            raise _unknown(node)
        return read(self, node)

    def _constant(self, node: ast.Constant) -> Value:
        if isinstance(node.value, bool):
            return node.value
        if not isinstance(node.value, int | float):
            raise _wrong(node, "only numbers are known, no text")
        # As it is written: 0.1 is a tenth. Columns count bytes.
        written = self._lines[node.lineno - 1][node.col_offset : node.end_col_offset].decode()
        if isinstance(node.value, int):
            return self._fitting(node, Fraction(node.value))
        _, _, power = written.lower().partition("e")
        if len(written) > MAX_DIGITS or abs(int(power or 0)) > MAX_DIGITS:
            raise _wrong(node, "the number is too long")
        return self._fitting(node, Fraction(written.replace("_", "")))

    def _fitting(self, node: ast.Constant, value: Fraction) -> Fraction:
        if _bits(value) > MAX_BITS:
            raise _wrong(node, "the number is too long")
        return value

    def _name(self, node: ast.Name) -> Value:
        if node.id not in self._names:
            raise _wrong(node, f"{node.id[:40]} is not known")
        return self._names[node.id]

    def _several(self, node: ast.List | ast.Tuple) -> Value:
        return tuple(self._number(one) for one in node.elts)

    def _item(self, node: ast.Subscript) -> Value:
        held, place = self._list(node.value), self._whole(node.slice)
        if not -len(held) <= place < len(held):
            raise _wrong(node, f"there is no item {place} in a list of {len(held)}")
        return held[place]

    def _binary(self, node: ast.BinOp) -> Value:
        return self._operated(node, node.op, self._value(node.left), self._value(node.right))

    def _operated(self, node: ast.AST, sign: ast.operator, left: Value, right: Value) -> Value:
        a, b = _number(node, left), _number(node, right)
        self._burn(1 + (_bits(a) + _bits(b)) // BITS_PER_FUEL)
        work = OPERATORS.get(type(sign))
        if work is None:
            raise _unknown(sign, node)
        try:
            return _bounded(Fraction(work(a, b)))
        except ZeroDivisionError:
            raise _wrong(node, "division by zero") from None
        except Refused as why:
            raise _wrong(node, str(why)) from None

    def _unary(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            return not self._holds(node.operand)
        value = self._number(node.operand)
        if isinstance(node.op, ast.Invert):
            raise _unknown(node.op, node)
        return -value if isinstance(node.op, ast.USub) else value

    def _joined(self, node: ast.BoolOp) -> Value:
        wanted = isinstance(node.op, ast.Or)
        return wanted if any(self._holds(one) is wanted for one in node.values) else not wanted

    def _compared(self, node: ast.Compare) -> Value:
        left = self._number(node.left)
        for sign, one in zip(node.ops, node.comparators, strict=True):
            compare = COMPARISONS.get(type(sign))
            if compare is None:
                raise _unknown(sign, node)
            right = self._number(one)
            if not compare(left, right):
                return False
            left = right
        return True

    def _either(self, node: ast.IfExp) -> Value:
        return self._value(node.body if self._holds(node.test) else node.orelse)

    def _call(self, node: ast.Call) -> Value:
        if not isinstance(node.func, ast.Name):
            raise _unknown(node.func)
        work = FUNCTIONS.get(node.func.id)
        if work is None:
            raise _wrong(node, f"the function {node.func.id[:40]} is not known")
        if node.keywords or not node.args:
            raise _wrong(node, f"{node.func.id} takes plain values only")
        values = [self._value(one) for one in node.args]
        self._burn(sum(_size(one) for one in values))
        try:
            return _bounded(work(*values))
        except (TypeError, ValueError, AttributeError, ZeroDivisionError):
            raise _wrong(node, f"{node.func.id} cannot be taken of these values") from None
        except Refused as why:
            raise _wrong(node, str(why)) from None

    def _burn(self, fuel: int) -> None:
        self._fuel -= fuel
        if self._fuel < 0:
            raise Refused(f"it takes more than {FUEL} operations")


def _check_size(tree: ast.AST) -> None:
    """Refuse a tree that is too deep or too large, without a recursion of our own."""
    level: list[ast.AST] = [tree]
    nodes = depth = 0
    while level:
        nodes, depth = nodes + len(level), depth + 1
        if depth > MAX_DEPTH:
            raise Refused(f"nested deeper than {MAX_DEPTH} levels")
        if nodes > MAX_NODES:
            raise Refused(f"more than {MAX_NODES} parts")
        level = [child for node in level for child in ast.iter_child_nodes(node)]


def _read(target: ast.expr) -> ast.expr:
    return ast.Name(target.id, ast.Load()) if isinstance(target, ast.Name) else target


def _number(node: ast.AST, value: Value) -> Fraction:
    if not isinstance(value, Fraction):
        raise _wrong(node, "a number is wanted here")
    return value


def _bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()


def _size(value: Value) -> int:
    """The fuel that a function of a value costs."""
    parts = value if isinstance(value, tuple) else (value,)
    return sum(1 + (_bits(one) // BITS_PER_FUEL if one.__class__ is Fraction else 0)
               for one in parts)  # fmt: skip


def _bounded(value: V) -> V:
    if isinstance(value, Fraction) and _bits(value) > MAX_BITS:
        raise Refused(f"a number has more than {MAX_BITS} bits")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent == HALF:
        return _root(base)
    if exponent.denominator != 1 or abs(exponent) > MAX_EXPONENT:
        raise Refused(f"the exponent is not a whole number up to {MAX_EXPONENT}")
    if _bits(base) * abs(exponent) > MAX_BITS:
        raise Refused(f"a power has more than {MAX_BITS} bits")
    return Fraction(base**exponent.numerator)


def _total(values: tuple[Fraction, ...]) -> Fraction:
    return reduce(lambda a, b: Fraction(_bounded(a + b)), values, Fraction(0))


def _lcm(*values: Fraction) -> Fraction:
    return reduce(lambda a, b: Fraction(_bounded(Fraction(math.lcm(_int(a), _int(b))))), values)


def _root(value: Fraction) -> Fraction:
    if value < 0:
        raise Refused("there is no root of a negative number")
    root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
    if root * root != value:
        raise Refused("the root is no fraction")
    return root


def _int(value: Fraction) -> int:
    if value.denominator != 1:
        raise Refused("a whole number is wanted")
    return value.numerator


def _factorial(value: Fraction) -> Fraction:
    if value > MAX_FACTORIAL:
        raise Refused(f"no factorial above {MAX_FACTORIAL}")
    return Fraction(math.factorial(_int(value)))


def _chosen(count: Callable[[int, int], int]) -> Callable[[Fraction, Fraction], Fraction]:
    def work(n: Fraction, k: Fraction) -> Fraction:
        if max(n, k) > MAX_FACTORIAL:
            raise Refused(f"no choice of more than {MAX_FACTORIAL}")
        return Fraction(count(_int(n), _int(k)))

    return work


def _rounded(value: Fraction, places: Fraction = Fraction(0)) -> Fraction:
    if abs(places) > MAX_DIGITS:
        raise Refused(f"no rounding to more than {MAX_DIGITS} places")
    return Fraction(round(value, _int(places)))


def _flat(values: tuple[Any, ...]) -> tuple[Fraction, ...]:
    """The values of a list, or those given one by one."""
    return values[0] if len(values) == 1 and isinstance(values[0], tuple) else values


def _wrong(node: ast.AST, what: str) -> Refused:
    line = getattr(node, "lineno", 0)
    return Refused(f"line {line}: {what}" if line and not what.startswith("line ") else what)


def _unknown(node: ast.AST, place: ast.AST | None = None) -> Refused:
    name = type(node).__name__
    return _wrong(place or node, f"{SPOKEN.get(name, name)} is not part of a calculation")


SPOKEN = {
    "Import": "an import", "ImportFrom": "an import", "Attribute": "an attribute",
    "ListComp": "a comprehension", "SetComp": "a comprehension", "DictComp": "a comprehension",
    "GeneratorExp": "a comprehension", "Lambda": "a lambda", "FunctionDef": "a function of one's "
    "own", "ClassDef": "a class", "JoinedStr": "text", "NamedExpr": "an assignment in brackets",
    "Starred": "a star", "Slice": "a slice", "Dict": "a dictionary", "Set": "a set",
    "Try": "a try", "With": "a with", "Global": "a global", "Delete": "a delete",
}  # fmt: skip
STATEMENTS: dict[type[ast.stmt], Callable[[Calculation, Any], type[ast.stmt] | None]] = {
    ast.Assign: Calculation._assign,
    ast.AugAssign: Calculation._augment,
    ast.If: Calculation._if,
    ast.While: Calculation._while,
    ast.For: Calculation._for,
    ast.Break: lambda *_: ast.Break,
    ast.Continue: lambda *_: ast.Continue,
    ast.Pass: lambda *_: None,
}
EXPRESSIONS: dict[type[ast.expr], Callable[[Calculation, Any], Value]] = {
    ast.Constant: Calculation._constant,
    ast.Name: Calculation._name,
    ast.List: Calculation._several,
    ast.Tuple: Calculation._several,
    ast.Subscript: Calculation._item,
    ast.BinOp: Calculation._binary,
    ast.UnaryOp: Calculation._unary,
    ast.BoolOp: Calculation._joined,
    ast.Compare: Calculation._compared,
    ast.IfExp: Calculation._either,
    ast.Call: Calculation._call,
}
OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
COMPARISONS: dict[type[ast.cmpop], Callable[[Fraction, Fraction], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
FUNCTIONS: dict[str, Callable[..., Value]] = {
    "abs": abs,
    "min": lambda *given: min(_flat(given)),
    "max": lambda *given: max(_flat(given)),
    "sum": _total,
    "len": lambda given: Fraction(len(given)),
    "sorted": lambda given: tuple(sorted(given)),
    "int": lambda given: Fraction(math.trunc(given)),
    "round": _rounded,
    "floor": lambda given: Fraction(math.floor(given)),
    "ceil": lambda given: Fraction(math.ceil(given)),
    "sqrt": _root,
    "gcd": lambda *given: Fraction(math.gcd(*map(_int, given))),
    "lcm": _lcm,
    "factorial": _factorial,
    "comb": _chosen(math.comb),
    "perm": _chosen(math.perm),
    "Fraction": lambda over, under=Fraction(1): Fraction(over, under),
}


if __name__ == "__main__":
    main()
