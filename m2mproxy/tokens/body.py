"""What a request's body asks a model to read, out of the shapes that APIs give it.

They are OpenAI's chat/completions, completions, responses and embeddings, Anthropic's messages, and
Ollama's chat, generate and embed. A body is told by its keys. Images, sound and files are not read:
what they cost is not in their bytes, which are never counted as text.

The one rule: a body of any shape is a Prompt. What is not understood is left out and said so.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Json = Mapping[str, object]


@dataclass(slots=True)
class Call:
    """A call of a tool by the model, as a later request tells it again."""

    name: str
    arguments: str


@dataclass(slots=True)
class Message:
    """A message."""

    role: str
    texts: list[str] = field(default_factory=list)
    name: str = ""
    calls: list[Call] = field(default_factory=list)


@dataclass(slots=True)
class Tool:
    """A function that the model may call."""

    name: str
    description: str
    parameters: Json
    """A JSON schema."""
    whole: Json
    """As it stands in the request."""


@dataclass(slots=True)
class Prompt:
    """What a model is to read."""

    messages: list[Message] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    """Texts without a message around them: prompts to be completed, texts to embed."""
    schema: str = ""
    """The JSON schema of the answer, in JSON; "" for none."""
    tokens: int = 0
    """How many there are in prompts that are token ids already."""
    is_forced: bool = False
    """Whether a tool has to be called."""
    is_named: bool = False
    """Whether that tool is named."""
    is_for_responses: bool = False
    """Whether it is for OpenAI's Responses API."""
    thinks: str = ""
    """How the model is told to think: "enabled", "adaptive", or not at all."""
    is_partial: bool = False
    """Whether something was left out: an image, a file, turns that only the server has."""


def read(body: object) -> Prompt:
    """The prompt of a parsed JSON body."""
    prompt = Prompt()
    if not isinstance(body, Mapping):
        prompt.is_partial = True
        return prompt
    if isinstance(body.get("messages"), list):
        _chat(body, prompt)
    elif "input" in body:  # beside which a "prompt" is a template that the server has
        _input(body, prompt)
    elif "prompt" in body:
        _plain(body["prompt"], prompt)
        _generate(body, prompt)
    else:
        prompt.is_partial = True
    _tools(body, prompt)
    _thinking(body, prompt)
    return prompt


# ---- messages -----------------------------------------------------------------------------------


def _chat(body: Json, prompt: Prompt) -> None:
    if "system" in body:  # Anthropic has it beside the messages
        _add_message("system", body["system"], prompt)
    for message in _sequence(body["messages"]):
        if isinstance(message, Mapping):
            _chat_message(message, prompt)
        else:
            prompt.is_partial = True
    _schema(body.get("response_format"), prompt)
    _schema(mapping(body.get("output_config")).get("format"), prompt)  # Anthropic's
    prompt.is_partial |= bool(body.get("mcp_servers"))  # whose tools only the server knows


def _chat_message(message: Json, prompt: Prompt) -> None:
    added = _add_message(_text(message.get("role")), message.get("content"), prompt)
    added.name = _text(message.get("name"))
    prompt.is_partial |= bool(message.get("images"))  # Ollama's
    calls = [mapping(each) for each in _sequence(message.get("tool_calls"))]
    called = [mapping(each.get("function")) for each in calls]
    added.calls += [_call(each, "arguments") for each in (*called, message.get("function_call"))
                    if isinstance(each, Mapping) and each]


def _call(call: Json, key: str) -> Call:
    arguments = call.get(key)
    return Call(
        _text(call.get("name")), arguments if isinstance(arguments, str) else compact(arguments)
    )


def _add_message(role: str, content: object, prompt: Prompt) -> Message:
    message = Message(role)
    prompt.messages.append(message)
    _content(content, message, prompt)
    return message


def _content(content: object, message: Message, prompt: Prompt) -> None:
    if isinstance(content, str):
        message.texts.append(content)
        return
    for part in _sequence(content):
        if isinstance(part, str):
            message.texts.append(part)
        elif isinstance(part, Mapping):
            _part(part, message, prompt)


def _part(part: Json, message: Message, prompt: Prompt) -> None:
    """A part of a message: text, or a call, or what a tool returned, or what is not text."""
    kind = part.get("type")
    if kind == "tool_use":
        message.calls.append(_call(part, "input"))
        return
    if kind == "tool_result":
        result = part.get("content")
        _content([result] if isinstance(result, str) else _flat(result), message, prompt)
        return
    for key in ("text", "refusal"):
        if isinstance(text := part.get(key), str):
            message.texts.append(text)
            return
    prompt.is_partial = True


def _flat(parts: object) -> list[object]:
    """Parts of a tool's result, in which there are no further ones."""
    return [
        each
        for each in _sequence(parts)
        if not (isinstance(each, Mapping) and each.get("type") == "tool_result")
    ]


# ---- responses, completions, embeddings ---------------------------------------------------------


def is_embedding(body: object) -> bool:
    """Whether a body with an "input" is one of texts to embed, as far as its keys tell."""
    if not isinstance(body, Mapping) or "input" not in body or "messages" in body:
        return False
    if "encoding_format" in body or "dimensions" in body:
        return True
    first = next(iter(_sequence(body["input"])), None)
    return isinstance(first, str | int | list)


def _input(body: Json, prompt: Prompt) -> None:
    if is_embedding(body):
        _plain(body["input"], prompt)
        return
    prompt.is_for_responses = True
    if text := _text(body.get("instructions")):  # an empty one is no message
        _add_message("system", text, prompt)
    if body.get("previous_response_id") or body.get("conversation") or body.get("prompt"):
        prompt.is_partial = True  # what the server has kept
    if isinstance(body["input"], str):
        _add_message("user", body["input"], prompt)
    prompt.is_partial |= not isinstance(body["input"], str | list)
    for item in _sequence(body["input"]):
        if isinstance(item, Mapping):
            _item(item, prompt)
    _schema(mapping(body.get("text")).get("format"), prompt)


def _item(item: Json, prompt: Prompt) -> None:
    """An item of the Responses API's input."""
    kind = item.get("type", "message")
    if kind == "message":
        _add_message(_text(item.get("role")), item.get("content"), prompt)
    elif kind == "function_call":
        prompt.messages.append(Message("assistant", calls=[_call(item, "arguments")]))
    elif kind == "function_call_output":
        _add_message("tool", item.get("output"), prompt)
    else:
        prompt.is_partial = True  # reasoning is kept sealed, references are the server's


def _plain(content: object, prompt: Prompt) -> None:
    """Prompts, of which one can be a list of ids."""
    if isinstance(content, str):
        prompt.texts.append(content)
        return
    prompt.is_partial |= not isinstance(content, list)
    for each in _sequence(content):
        if isinstance(each, str):
            prompt.texts.append(each)
        elif isinstance(each, int):
            prompt.tokens += 1
        elif isinstance(each, list):
            prompt.tokens += len(each)
        else:
            prompt.is_partial = True


def _generate(body: Json, prompt: Prompt) -> None:
    """What Ollama's prompt has beside it: "context" is tokens of what was said before."""
    if text := _text(body.get("system")):
        prompt.texts.append(text)
    prompt.tokens += len(_sequence(body.get("context")))
    prompt.is_partial |= bool(body.get("images"))


# ---- tools --------------------------------------------------------------------------------------


def _tools(body: Json, prompt: Prompt) -> None:
    prompt.tools += _read_tools(body.get("tools"), prompt)
    prompt.tools += _read_tools(body.get("functions"), prompt)
    choice = body.get("tool_choice")
    kind = choice.get("type") if isinstance(choice, Mapping) else choice
    prompt.is_forced = kind in ("any", "tool", "required", "function")
    prompt.is_named = kind == "function"


def _read_tools(tools: object, prompt: Prompt) -> Iterator[Tool]:
    for each in _sequence(tools):
        whole = mapping(each)
        function = mapping(whole.get("function")) or whole
        if not isinstance(function.get("name"), str) or not _is_function(whole):
            prompt.is_partial = True  # what servers bring themselves, as a web search
            continue
        schema = function.get("parameters", function.get("input_schema"))
        about = _text(function.get("description"))
        yield Tool(_text(function["name"]), about, mapping(schema), whole)


def _is_function(tool: Json) -> bool:
    return tool.get("type", "function") in ("function", "custom") and "format" not in tool


def _thinking(body: Json, prompt: Prompt) -> None:
    """By Anthropic's word for it, or by OpenAI's, which others have too."""
    reasoning = mapping(body.get("reasoning"))
    prompt.thinks = _text(mapping(body.get("thinking")).get("type"))
    if reasoning.get("enabled") is True or reasoning.get("effort", "none") not in ("none", None):
        prompt.thinks = "enabled"
    if reasoning.get("mode") not in (None, "standard"):
        prompt.is_partial = True  # several models work on it


def _schema(form: object, prompt: Prompt) -> None:
    about = mapping(form)
    if about.get("type") == "json_schema":
        prompt.schema = compact((mapping(about.get("json_schema")) or about).get("schema"))


# ---- any JSON -----------------------------------------------------------------------------------


def compact(value: object) -> str:
    """As JSON without spaces; "" where it nests too deep to be written."""
    return _written(value, (",", ":"))


def spaced(value: object) -> str:
    """As JSON with spaces, as Python and Jinja write it; "" where it nests too deep."""
    return _written(value, (", ", ": "))


def _written(value: object, separators: tuple[str, str]) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, separators=separators)
    except RecursionError:
        return ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def mapping(value: object) -> Json:
    """What is none is an empty one."""
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else ()
