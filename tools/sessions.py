"""Sessions for measuring a link: what an application sends turn by turn, and what it gets.

Two kinds, and a Corpus says which it is. *Recorded*: C2 (chats, replies as streams) and C3 (agents,
replies as JSON) of ../shared/data/corpora, as they are; the bodies in them are short. *Generated*:
larger ones in the shapes of common applications. The texts of these are real (docstrings, code and
listings of Python's standard library, so that no dictionary of ours was trained on them), the
conversations are not: nobody asked these questions. They are the same on every machine with the
same Python.

The one rule: a session depends on its shape and its number only, and an assistant's message in a
request is the one that the reply before brought, spelt as the application would spell it.
"""

import ast
import json
import random
import re
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import corpora

Json = dict[str, Any]
MODEL = "gpt-4o-2024-08-06"
_SMALLEST, _LARGEST, _FILES = 6_000, 60_000, 60
_APOSTROPHE, _DASH = "\N{RIGHT SINGLE QUOTATION MARK}", "\N{EM DASH}"
_TOKEN = re.compile(r" ?[A-Za-z]{1,7}|\d{1,3}|\s+|.", re.DOTALL)


class Turn(NamedTuple):
    """One request's body, and its reply in the pieces in which the model server writes it: one of a
    JSON body, an event each of a stream."""

    request: bytes
    reply: tuple[bytes, ...]

    @property
    def is_stream(self) -> bool:
        return not self.reply[0].startswith(b"{")


Session = list[Turn]


@dataclass(frozen=True)
class Corpus:
    name: str
    recorded: bool
    sessions: list[Session]


# ---- Recorded ----


def are_recorded() -> bool:
    """Whether there are any: where ../shared is not, there are none."""
    return corpora.are_there()


def recorded_chats() -> Corpus:
    """C2."""
    chats = [_recorded(row["turns"], row["sse"]) for row in corpora.rows("C2")]
    return Corpus("C2, chats", True, chats)


def recorded_agents() -> Corpus:
    """C3."""
    agents = [_recorded(row["turns"], row["raw_replies"]) for row in corpora.rows("C3")]
    return Corpus("C3, agents", True, agents)


def _recorded(bodies: list[Any], replies: list[Any]) -> Session:
    return [
        Turn(corpora.raw(body), tuple(_pieces(reply)))
        for body, reply in zip(bodies, replies, strict=True)
    ]


def _pieces(reply: Any) -> list[bytes]:
    if isinstance(reply, list):
        return [corpora.raw(event) for event in reply]
    whole = corpora.raw(reply)
    if not whole.startswith(b"data:"):
        return [whole]
    return [event for event in re.split(rb"(?<=\n\n)", whole) if event]


def recorded_streams() -> Corpus:
    """C4's event streams, each the reply of a small request."""
    return Corpus(
        "C4, streams",
        True,
        [
            [Turn(compact({"messages": [], "model": MODEL, "stream": True}), tuple(each.events))]
            for each in corpora.streams()
        ],
    )


# ---- The texts of generated ones ----


class File(NamedTuple):
    name: str
    lines: list[str]


class Function(NamedTuple):
    name: str
    doc: str
    arguments: list[str]


class Library(NamedTuple):
    """What is taken from the standard library."""

    files: list[File]
    prose: list[str]
    functions: list[Function]


@cache
def library() -> Library:
    """Modules of middling size, the same ones in the same order each time."""
    found = Library([], [], [])
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*.py")):
        if len(found.files) < _FILES and _SMALLEST < path.stat().st_size < _LARGEST:
            text = path.read_text(encoding="utf-8", errors="replace")
            found.files.append(File(path.name, text.splitlines()))
            _read(ast.parse(text), found)
    return found


def _read(module: ast.Module, found: Library) -> None:
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            doc = ast.get_docstring(node) or ""
            found.prose.extend(_paragraphs(doc))
            if isinstance(node, ast.FunctionDef) and len(doc) > 60 and node.name[0] != "_":
                names = [each.arg for each in node.args.args if each.arg != "self"]
                found.functions.append(Function(node.name, doc, names))


def _paragraphs(doc: str) -> Iterator[str]:
    """With the quotation marks and dashes that models write, which are not ASCII."""
    for paragraph in doc.split("\n\n"):
        text = " ".join(paragraph.split())
        if 80 < len(text) < 900:
            yield text.replace("'", _APOSTROPHE).replace("--", _DASH)


# ---- Generated ----


class Scribe:
    """Writes what a session needs, out of the library and its own random numbers."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._file = self.random.choice(library().files)
        self._at = self.random.randrange(max(1, len(self._file.lines) - 300))

    def prose(self, size: int) -> str:
        """About that many characters of paragraphs."""
        parts: list[str] = []
        while sum(map(len, parts)) < size:
            parts.append(self.random.choice(library().prose))
        return "\n\n".join(parts)[: size + 40]

    def sentence(self) -> str:
        return self.random.choice(library().prose).partition(". ")[0] + "."

    def code(self, lines: int) -> str:
        """Lines of a file, numbered, from where the last ones were: half of them again, half new,
        as one reads through a file."""
        numbered = enumerate(self._file.lines[self._at : self._at + lines], self._at + 1)
        self._at = (self._at + lines // 2) % max(1, len(self._file.lines) - lines)
        return "\n".join(f"{number:6}\t{line}" for number, line in numbered)

    def record(self) -> str:
        """What a database answers: a few functions of a module, as JSON."""
        start = self.random.randrange(len(library().functions) - 4)
        some = library().functions[start : start + self.random.randint(1, 4)]
        rows = [
            {"id": f"fn_{self.random.randrange(10**7):07}", "name": each.name}
            | {"arguments": each.arguments, "summary": each.doc[:80], "status": "available"}
            for each in some
        ]
        return json.dumps({"results": rows, "total": len(rows)})

    def listing(self) -> str:
        """What a test run prints."""
        names = [each.name for each in library().functions[: self.random.randint(15, 40)]]
        lines = [f"tests/test_{name}.py::test_{name} PASSED" for name in names]
        return "\n".join(lines) + f"\n{len(names)} passed in {self.random.random():.2f}s"

    def name(self, prefix: str) -> str:
        """A random id, as OpenAI's are."""
        letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        return prefix + "".join(self.random.choices(letters, k=24))


def tools(count: int) -> list[Json]:
    """Tools that are real functions, with their docstrings and arguments. Many of them come from
    servers that describe theirs at length."""
    most, words = (600, 60) if count < 50 else (2000, 300)
    made = {}
    for each in library().functions:
        about = " ".join(each.doc.split())
        properties = {
            name: {"type": "string", "description": f"{name}: {about[:words]}"}
            for name in (each.arguments or ["value"])[:5]
        }
        schema = {"type": "object", "properties": properties, "required": list(properties)[:1]}
        made[each.name] = {"name": each.name, "description": each.doc[:most], "parameters": schema}
    return [{"type": "function", "function": each} for each in list(made.values())[:count]]


Step = Callable[[Scribe, int], tuple[Json, list[Json]]]


def _call(scribe: Scribe, name: str, arguments: Json, said: str, result: str) -> tuple[Json, list]:  # type: ignore[type-arg]
    """A reply that calls a tool, and the tool's result."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": scribe.name("call_"), "type": "function", "function": function}
    reply = {"role": "assistant", "content": said or None, "tool_calls": [call]}
    return reply, [{"role": "tool", "tool_call_id": call["id"], "content": result}]


def _answer(scribe: Scribe, text: str, question: str) -> tuple[Json, list[Json]]:
    return {"role": "assistant", "content": text}, [{"role": "user", "content": question}]


def _chat_step(scribe: Scribe, turn: int) -> tuple[Json, list[Json]]:
    code = scribe.code(28)
    text = f"{scribe.prose(250)}\n\n```python\n{code}\n```\n\n{scribe.sentence()}"
    return _answer(scribe, text, scribe.sentence())


def _talk_step(scribe: Scribe, turn: int) -> tuple[Json, list[Json]]:
    return _answer(scribe, scribe.prose(900), f"{scribe.sentence()} Say it in other words.")


def _clerk_step(scribe: Scribe, turn: int) -> tuple[Json, list[Json]]:
    if turn % 3 == 2:
        return _answer(scribe, scribe.prose(200), scribe.sentence())
    name = scribe.random.choice(tools(14))["function"]["name"]
    arguments = {"value": f"fn_{scribe.random.randrange(10**7):07}"}
    return _call(scribe, name, arguments, "", scribe.record())


def _engineer_step(scribe: Scribe, turn: int) -> tuple[Json, list[Json]]:
    if turn % 4 == 3:
        return _call(scribe, "bash", {"command": "pytest -q"}, scribe.sentence(), scribe.listing())
    window = scribe.code(scribe.random.randint(25, 110))
    first = window.split("\t", 1)[0].strip() or "1"
    arguments = {"command": "view", "path": f"/work/{scribe._file.name}", "start": int(first)}
    return _call(scribe, "edit", arguments, scribe.sentence(), window)


@dataclass(frozen=True)
class Shape:
    """How the sessions of an application look. `system` and `question` in characters."""

    name: str
    step: Step
    turns: int
    tools: int = 0
    system: int = 2000
    question: int = 400
    stream: bool = False
    ascii: bool = False
    """Written as json.dumps does by default, not as openai-python does."""
    objects: bool = False
    """The application sends back the SDK's message objects, not dicts of its own."""
    rewrite: Callable[[list[Json], int], list[Json]] | None = None


CHAT = Shape("coding chat", _chat_step, 10, system=3500, question=1500, stream=True)
CLERK = Shape("tool agent", _clerk_step, 18, tools=14, system=5500, objects=True)
ENGINEER = Shape("software agent", _engineer_step, 10, tools=8, system=5000, question=1500)
TOOLBOX = Shape("agent with 117 tools", _engineer_step, 10, tools=117, system=12000)
TALK = Shape("two-turn chat", _talk_step, 2, system=60, question=120, stream=True)


def with_time(messages: list[Json], turn: int) -> list[Json]:
    """The time of day at the front of the system prompt."""
    now = f"It is 2026-11-24 {9 + turn // 60:02}:{turn % 60:02}:{turn * 37 % 60:02}. "
    system = {"role": "system", "content": now + messages[0]["content"]}
    return [system, *messages[1:]]


def with_window(messages: list[Json], turn: int) -> list[Json]:
    """Only the last ten messages."""
    return [messages[0], *messages[1:][-10:]]


def with_cleared(messages: list[Json], turn: int) -> list[Json]:
    """Without the results of tools but the last three."""
    results = [at for at, each in enumerate(messages) if each["role"] == "tool"]
    cleared = set(results[:-3])
    return [
        each | {"content": "[old tool result cleared]"} if at in cleared else each
        for at, each in enumerate(messages)
    ]


def generated(shape: Shape, count: int, turns: int | None = None) -> Corpus:
    """That many sessions of a shape."""
    shape = replace(shape, turns=min(shape.turns, turns or shape.turns))
    return Corpus(shape.name, False, [session(shape, seed) for seed in range(count)])


def session(shape: Shape, seed: int) -> Session:
    """The system prompt and the tools are the application's, the rest is the session's own."""
    scribe, application = Scribe(seed), Scribe(10**6)
    messages: list[Json] = [
        {"role": "system", "content": application.prose(shape.system)},
        {"role": "user", "content": scribe.prose(shape.question)},
    ]
    turns: Session = []
    for number in range(shape.turns):
        shown = shape.rewrite(messages, number) if shape.rewrite else messages
        reply, following = shape.step(scribe, number)
        made = _stream(reply, scribe) if shape.stream else (_completion(reply, scribe),)
        turns.append(Turn(_request(shape, shown), tuple(made)))
        messages += [_as_object(reply) if shape.objects else reply, *following]
    return turns


def _request(shape: Shape, messages: list[Json]) -> bytes:
    body: Json = {"messages": messages, "model": MODEL, "stream": shape.stream, "temperature": 0}
    if shape.tools:
        body["tools"] = tools(shape.tools)
    return json.dumps(body).encode() if shape.ascii else compact(body)


def compact(value: Any) -> bytes:
    """As openai-python and httpx write it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _as_object(message: Json) -> Json:
    """The fields of openai-python's ChatCompletionMessage, in its order."""
    made: Json = {"content": message["content"], "refusal": None, "role": "assistant"}
    made["annotations"] = []
    if "tool_calls" in message:
        made["tool_calls"] = [
            {
                "id": call["id"],
                "function": {
                    "arguments": call["function"]["arguments"],
                    "name": call["function"]["name"],
                },
                "type": "function",
            }
            for call in message["tool_calls"]
        ]
    return made


# ---- Replies, as OpenAI writes them ----


def _completion(message: Json, scribe: Scribe) -> bytes:
    full = {"role": "assistant", "content": message["content"]}
    full |= {"tool_calls": message["tool_calls"]} if "tool_calls" in message else {}
    full |= {"refusal": None, "annotations": []}
    reason = "tool_calls" if "tool_calls" in message else "stop"
    choice = {"index": 0, "message": full, "logprobs": None, "finish_reason": reason}
    body = _envelope("chat.completion", scribe) | {"choices": [choice], "usage": _usage(scribe)}
    body |= {"service_tier": "default", "system_fingerprint": "fp_f43a24331f"}
    return (json.dumps(body, indent=2, ensure_ascii=False) + "\n").encode()


def _envelope(kind: str, scribe: Scribe) -> Json:
    created = 1_764_000_000 + scribe.random.randrange(10**6)
    return {"id": scribe.name("chatcmpl-"), "object": kind, "created": created, "model": MODEL}


def _usage(scribe: Scribe) -> Json:
    prompt, completion = scribe.random.randrange(10**4), scribe.random.randrange(10**3)
    usage: Json = {"prompt_tokens": prompt, "completion_tokens": completion}
    usage |= {"total_tokens": prompt + completion}
    return usage | {"prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0}}


def _stream(message: Json, scribe: Scribe) -> Iterator[bytes]:
    """A piece of about a token an event; the calls of tools in pieces, too."""
    start = _envelope("chat.completion.chunk", scribe)
    start |= {"service_tier": "default", "system_fingerprint": "fp_f43a24331f"}
    for delta in _deltas(message):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        yield _event(start | {"choices": [choice]})
    reason = "tool_calls" if "tool_calls" in message else "stop"
    choice = {"index": 0, "delta": {}, "logprobs": None, "finish_reason": reason}
    yield _event(start | {"choices": [choice]})
    yield _event(start | {"choices": [], "usage": _usage(scribe)})
    yield b"data: [DONE]\n\n"


def _deltas(message: Json) -> Iterator[Json]:
    yield {"role": "assistant", "content": "", "refusal": None}
    for piece in _TOKEN.findall(message["content"] or ""):
        yield {"content": piece}
    for index, call in enumerate(message.get("tool_calls", ())):
        function = call["function"]
        first = {"name": function["name"], "arguments": ""}
        yield {"tool_calls": [{"index": index, **call, "function": first}]}
        for piece in _TOKEN.findall(function["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _event(value: Json) -> bytes:
    return b"data: " + compact(value) + b"\n\n"
