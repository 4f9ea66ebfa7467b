"""Replies of all sorts, as no model server would make them: for comparing what is made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random

from linklib.core import Answer

_STRINGS = (
    *("a", "Hello world", "\N{SNOWMAN} snow", "\x7f", '"q"', "", "back\\slash", "\u00e9"),
    *("\N{WAVING HAND SIGN}", "line\nx", "\x01", "0", "long text " * 5, "/", "\u2028", "<b>"),
    *("if a < b && c == '>'", "1 + `x`", '\\"', '\\\\"', "\\/<", "a/b"),
)
_NUMBERS = (
    *("0", "1", "-1", "2", "1.0", "16", "15", "255", "256", "1e0", "-0", "0.0", "-0.0", "1e21"),
    *("1.5e-7", "0.00001234", "123456789.125", "5e-324", "1e16", "9999999999999998.0", "1e-5"),
    *("18446744073709551615", "18446744073709551616", "-9223372036854775809", "1E400", "-1e999"),
    *("true", "false", "null", '"0"'),
)
_MEMBERS = (
    *("role", "content", "tool_calls", "text", "refusal", "id", "type", "name", "reasoning"),
    *("function_call", "x", "index"),
)
# Names of other values than texts.
_OTHERS = ("reasoning_details", "extra_content", "x")
_SIGNED = ('"Ev+A/b=="', '"Ev-A_b"', '"+"', '"\\/"', "1")
# Pieces of the arguments of a tool call.
_ARGUMENTS = ('{"x":', "1.50}", "{}", "[1e3]", '"\\ud83d"', " null ", "", "{", "\ufeff1")
# What is no JSON, or only just.
_ODD = (
    *("[1]", "3", '{"choices":[{"text":NaN}]}', '{"choices":[{"text":"\\ud800"}]}', "[DONE]", ""),
    *('{"choices":[{"text":"x"}]} x', "{bad", '{"choices":[{"text":"x\ty"}]}', "{}", "null"),
    *('{"choices":[{"text":"x","n":01}]}', '\ufeff{"choices":[{"text":"x"}]}', "[" * 40),
    *('{"choices":[{"text":"a"}],"choices":[{"text":"b"}]}', '{"choices":[{"text":"\\u0000"}]}'),
    *('{"choices":[{"text":"\\ud83d\\udc4b\\/"}]}', '\x0b{"choices":[{"text":"x"}]}', "{'a':1}"),
)
_FILL = " " * 70
_REQUESTS = (
    *('{"a":[],"x":1}', '{"a":"\\u2603"}', '{"a":"\N{SNOWMAN}\\u2603"}', '{"a": 1}', '{"a":\t1}'),
    *('{"a": "\N{SNOWMAN}"}', '{"a":"\\u0000\\u00e9"}', "[ 1,2]", "[1 ,2]", '{"a": "\\uD83D"}'),
    *('{"a":"\\uFFFF"}', " [1]", '["a", ":"]', '{"a":"\\u003cb"}', '{"a": "\\u0026"}'),
    *('{"a":"\\u0026\\u003E"}', '{"a":"\\u003c>"}', '{"a":"\\u0022\\u0027\\u002B\\u00e9"}'),
    *('{"a":"\\u0022\\u003D\\""}', '{"a":"x\\/y\\/"}', '{"a":"x\\/y/"}', '{"a":"x/y\\/"}'),
)


def request(rng: Random) -> bytes:
    """A body that says how its application writes JSON."""
    return (rng.choice(_REQUESTS) + _FILL + " " * rng.randrange(9)).encode()


def answer(rng: Random) -> Answer:
    """A reply, valid or not, of JSON or events."""
    make = _Maker(rng)
    if rng.random() < 0.5:
        shares = rng.choice(((0, 0, 0), (0, 0, 0), (0.3, 0, 0), (0, 0.9, 0), (0, 0, 0.9)))
        count = 8 if any(shares[1:]) else 4
        events = [make.event(*shares).encode("utf-8", "surrogatepass") for _ in range(count)]
        if rng.random() < 0.05:
            events[-1] = events[-1].rstrip()
        if rng.random() < 0.05:
            events[0] = events[0].replace(b'"', b"\xff", 1)
        kinds = ("text/event-stream", "text/event-stream; charset=utf-8", "Text/Event-Stream ;x")
        return Answer(rng.choice(kinds), [event for event in events if event] or [b"\n"])
    body = make.json().encode("utf-8", "surrogatepass")
    if rng.random() < 0.08:
        body = _items(rng.choice((60, 100, 1024, 1025)), rng.choice((4, 6, 7, 8, 30)))
    return Answer("application/json", [body], rng.choice((200, 200, 200, 201, 299, 400, 500)))


def _items(count: int, size: int) -> bytes:
    """Items of the Responses API, about as dense and as many as may be."""
    item = json.dumps({"a": "x" * size}, separators=(",", ":"))
    return ('{"output":[' + ",".join([item] * count) + "]}").encode()


class _Maker:
    """JSON of random members; all methods give texts of JSON."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def _often(self, share: float) -> bool:
        return self._rng.random() < share

    def _string(self) -> str:
        return json.dumps(self._rng.choice(_STRINGS), ensure_ascii=self._often(0.3))

    def _some(self, make: Callable[[], str], counts: Sequence[int] = (0, 1, 2, 3)) -> str:
        values = (make() for _ in range(self._rng.choice(counts)))
        return "[" + self._rng.choice((",", ", ")).join(values) + "]"

    def _object(self, members: list[tuple[float, str, Callable[[], str]]]) -> str:
        """Each member with its share, in any order."""
        chosen = [
            f'"{name}":{make() if self._often(0.9) else self._value()}'
            for share, name, make in members
            if self._often(share)
        ]
        self._rng.shuffle(chosen)
        return "{" + ",".join(chosen) + "}"

    def _value(self, depth: int = 0) -> str:
        choice = self._rng.random()
        if choice < 0.4 or depth > 2:
            return self._string()
        if choice < 0.7:
            return self._rng.choice((*_NUMBERS, "[]", "{}", "null"))
        if choice < 0.85:
            return self._some(lambda: self._value(depth + 1))
        names = self._rng.choices((*_STRINGS, *_MEMBERS), k=3)
        return "{" + ",".join(f"{json.dumps(n)}: {self._value(depth + 1)}" for n in names) + "}"

    def _number(self) -> str:
        return self._rng.choice(_NUMBERS)

    def _function(self) -> str:
        return self._object([(0.7, "name", self._string), (0.8, "arguments", self._string)])

    def _call(self) -> str:
        texts = [(0.4, name, self._string) for name in ("id", "type")]
        others = [(0.1, name, self._value) for name in _OTHERS]
        return self._object(
            [(0.8, "index", self._number), *texts, (0.7, "function", self._function), *others]
        )

    def _detail(self) -> str:
        """An object of a list that goes on with the one before, or does not."""
        texts = [(0.4, name, self._string) for name in ("text", "id", "data", "index", "role")]
        return self._object(
            [
                (0.8, "type", lambda: self._rng.choice(('"a"', '"a"', '"b"', "1"))),
                (0.8, "index", lambda: self._rng.choice(("0", "0", "1", "false", "0.0"))),
                *texts,
            ]
        )

    def _other(self) -> str:
        return self._value() if self._often(0.3) else self._some(self._detail)

    def _part(self) -> str:
        """A part of what Gemini says."""
        if self._often(0.6):
            thought = self._rng.choice(("", "", ',"thought":true', ',"thought":false'))
            return f'{{"text":{self._string()}{thought}}}'
        return self._object(
            [
                (0.5, "text", self._string),
                (0.2, "thought", self._value),
                (0.5, "thoughtSignature", lambda: self._rng.choice(_SIGNED)),
                (0.3, "functionCall", self._value),
            ]
        )

    def _candidates(self) -> str:
        def content() -> str:
            parts = (0.9, "parts", lambda: self._some(self._part))
            return self._object([parts, (0.6, "role", self._string), (0.2, "x", self._value)])

        def candidate() -> str:
            return self._object([(0.5, "index", self._number), (0.9, "content", content)])

        return self._some(candidate, (0, 1, 1, 1, 2, 3, 18))

    def _delta(self) -> str:
        members: list[tuple[float, str, Callable[[], str]]] = [
            (0.3, name, self._string) for name in _MEMBERS if name != "tool_calls"
        ]
        members.append((0.3, "tool_calls", lambda: self._some(self._call)))
        members += [(0.15, name, self._other) for name in (*_OTHERS, "reasoning", "content")]
        if self._often(0.05):
            make = self._rng.choice((self._string, self._other))
            members += [(1, f"n{number}", make) for number in range(18)]
        return self._object(members)

    def _choice(self, said: str) -> str:
        return self._object(
            [(0.7, "index", self._number), (0.85, said, self._delta), (0.3, "text", self._string)]
        )

    def _choices(self, said: str) -> str:
        return self._some(lambda: self._choice(said), (0, 1, 1, 1, 2, 3, 18))

    def _arguments(self) -> str:
        return json.dumps(self._rng.choice(_ARGUMENTS))

    def _block(self) -> str:
        """A block that begins, or some more of one."""
        names = ("text", "thinking", "input", "type")
        texts = [(0.4, name, self._string) for name in names]
        return self._object([*texts, (0.4, "partial_json", self._arguments)])

    def event(self, items: float, blocks: float, contents: float) -> str:
        """A line, and what ends it; `items` is the share of those of the Responses API, `blocks`
        of those of the Messages API, `contents` of those of Gemini."""
        kinds = ('"response.output_item.done"', '"x"', "null")
        of_blocks = ('"content_block_start"', '"content_block_delta"', '"content_block_delta"')
        said = self._object(
            [
                (0.85 - 0.8 * max(blocks, contents), "choices", lambda: self._choices("delta")),
                (0.85 * contents, "candidates", self._candidates),
                (items + blocks, "type", lambda: self._rng.choice(of_blocks if blocks else kinds)),
                (items, "item", self._delta),
                (0.6 * blocks, "index", self._number),
                (blocks, "content_block", self._block),
                (blocks, "delta", self._block),
            ]
        )
        if self._often(0.1):
            said = self._rng.choice(_ODD)
        if self._often(0.9):
            return f"data: {said}\n\n"
        begin = self._rng.choice(("data:", "data:  \t", "data ", "event: x\ndata:", " data:"))
        return begin + said + self._rng.choice(("\n", "\r\n\r\n", "\r\r", "\x0c\n", " \n"))

    def _of_list(self) -> str:
        """An object of a body that is a list."""
        kinds = ('"response.output_item.done"', '"content_block_start"', "null")
        return self._object(
            [
                (0.3, "choices", lambda: self._choices("delta")),
                (0.7, "candidates", self._candidates),
                (0.2, "type", lambda: self._rng.choice(kinds)),
                (0.2, "item", self._delta),
                (0.2, "content_block", self._block),
            ]
        )

    def json(self) -> str:
        """A whole body."""
        said = self._object(
            [
                (0.6, "choices", lambda: self._choices("message")),
                (0.4, "candidates", self._candidates),
                (0.2, "message", self._delta),
                (0.2, "output", lambda: self._some(self._delta)),
                (0.3, "content", lambda: self._some(self._block)),
            ]
        )
        if self._often(0.1):
            return self._rng.choice(_ODD) or " "
        return self._some(self._of_list) if self._often(0.15) else said
