"""Sessions for measuring a link: what an application sends turn by turn, and what it gets.

Two kinds, and a Corpus says which it is. *Recorded*: C2 (chats, replies as streams) and C3 (agents,
replies as JSON) of ../shared/data/corpora, as they are; the bodies in them are short. *Generated*:
larger ones in the shapes of common applications. The texts of these are real (stdlib_texts.py), the
conversations are not: nobody asked these questions.

The one rule: a session depends on its shape and its number only, and an assistant's message in a
request is the one that the reply before brought, spelt as the application would spell it.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import corpora
import messages_api
import responses_api
from openai_replies import MODEL, compact, completion, stream
from stdlib_texts import Json, Scribe, tools


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


def own(path: Path) -> Corpus:
    """The sessions of a file of JSON lines, each an object: `turns` has the body of each request,
    and `replies` that of each response, or a list of the events of one that is a stream. Bodies are
    texts, which are taken as they are, or JSON values. (C2 calls its replies `sse`, and C3
    `raw_replies`.)

    Raises:
        corpora.BadData: a row is something else.
        OSError: the file cannot be read.
    """
    some = []
    for number, row in enumerate(corpora.read(path), 1):
        bodies = row.get("turns")
        replies = next((row[name] for name in _REPLIES if name in row), None)
        if not (isinstance(bodies, list) and isinstance(replies, list) and all(replies)):
            raise corpora.BadData(f"{path}: row {number} has not both turns and their replies")
        if len(bodies) != len(replies):
            count = f"{len(bodies)} turns and {len(replies)} replies"
            raise corpora.BadData(f"{path}: row {number} has {count}")
        some.append(_recorded(bodies, replies))
    return Corpus(path.name, True, some)


_REPLIES = ("sse", "raw_replies", "replies")


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


# ---- Generated: the steps that applications take ----

# A reply, and the messages that follow it.
Taken = tuple[Json, list[Json]]
Step = Callable[[Scribe, int], Taken]


def _call(scribe: Scribe, name: str, arguments: Json, said: str, result: str) -> Taken:
    """A reply that calls a tool, and the tool's result."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    call = {"id": scribe.name("call_"), "type": "function", "function": function}
    reply = {"role": "assistant", "content": said or None, "tool_calls": [call]}
    return reply, [{"role": "tool", "tool_call_id": call["id"], "content": result}]


def _answer(scribe: Scribe, text: str, question: str) -> Taken:
    return {"role": "assistant", "content": text}, [{"role": "user", "content": question}]


def _chat_step(scribe: Scribe, turn: int) -> Taken:
    code = scribe.code(28)
    text = f"{scribe.prose(250)}\n\n```python\n{code}\n```\n\n{scribe.sentence()}"
    return _answer(scribe, text, scribe.sentence())


def _talk_step(scribe: Scribe, turn: int) -> Taken:
    return _answer(scribe, scribe.prose(900), f"{scribe.sentence()} Say it in other words.")


def _clerk_step(scribe: Scribe, turn: int) -> Taken:
    if turn % 3 == 2:
        return _answer(scribe, scribe.prose(200), scribe.sentence())
    name = scribe.random.choice(tools(14))["function"]["name"]
    arguments = {"value": f"fn_{scribe.random.randrange(10**7):07}"}
    return _call(scribe, name, arguments, "", scribe.record())


def _engineer_step(scribe: Scribe, turn: int) -> Taken:
    if turn % 4 == 3:
        return _call(scribe, "bash", {"command": "pytest -q"}, scribe.sentence(), scribe.listing())
    window = scribe.code(scribe.random.randint(25, 110))
    first = window.split("\t", 1)[0].strip() or "1"
    arguments = {"command": "view", "path": f"/work/{scribe.file.name}", "start": int(first)}
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
    messages_api: bool = False
    """Of Anthropic, with marks of what is to be cached, instead of chat completions."""
    responses_api: bool = False
    """Of OpenAI, with the conversation kept by the application."""


CHAT = Shape("coding chat", _chat_step, 10, system=3500, question=1500, stream=True)
CLERK = Shape("tool agent", _clerk_step, 18, tools=14, system=5500, objects=True)
ENGINEER = Shape("software agent", _engineer_step, 10, tools=8, system=5000, question=1500)
TOOLBOX = Shape("agent with 117 tools", _engineer_step, 10, tools=117, system=36000)
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


def with_notes(messages: list[Json], turn: int) -> list[Json]:
    """What changes all the time behind the last message: only the last one of it is kept."""
    clock = f"{9 + turn // 60:02}:{turn % 60:02}"
    notes = f"\n<environment>\n{clock}, open: file_{turn}.py\n</environment>"
    return [*messages[:-1], messages[-1] | {"content": messages[-1]["content"] + notes}]


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
        body = _request(shape, shown)
        turns.append(Turn(body, tuple(_reply(shape, reply, body, scribe))))
        messages += [_as_object(reply) if shape.objects else reply, *following]
    return turns


def _reply(shape: Shape, reply: Json, body: bytes, scribe: Scribe) -> Iterable[bytes]:
    if shape.messages_api:
        return messages_api.stream(reply, scribe)
    if shape.responses_api:
        return responses_api.stream(reply, body, scribe)
    return stream(reply, scribe) if shape.stream else (completion(reply, scribe),)


def _request(shape: Shape, messages: list[Json]) -> bytes:
    if shape.messages_api:
        return messages_api.request(messages, tools(shape.tools))
    if shape.responses_api:
        return responses_api.request(messages, tools(shape.tools))
    body: Json = {"messages": messages, "model": MODEL, "stream": shape.stream, "temperature": 0}
    if shape.tools:
        body["tools"] = tools(shape.tools)
    return json.dumps(body).encode() if shape.ascii else compact(body)


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
