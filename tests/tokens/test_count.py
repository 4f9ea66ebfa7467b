"""Counts: as recorded requests cost, exact or with their error, and bounded for any input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.tokens.count import Count, Counter
from m2mproxy.tokens.known import KNOWN
from m2mproxy.tokens.pieces import WINDOW
from m2mproxy.tokens.vocabulary import load, preload

LOADED = Counter(preload(["o200k", "cl100k"]))
BARE = Counter({})
# What OpenAI's API has said of requests in cassettes of public projects (MIT and Apache-2.0).
RECORDED: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("recorded_usage.json").read_text(encoding="utf-8")
)
counters = pytest.mark.parametrize("counter", [LOADED, BARE], ids=["loaded", "bare"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
KEYS = ("messages", "input", "prompt", "system", "tools", "functions", "content", "role", "name",
        "tool_calls", "function", "parameters", "properties", "type", "items", "$ref", "anyOf",
        "enum", "text", "instructions", "response_format", "json_schema", "schema", "tool_choice",
        "function_call", "arguments", "title", "description", "required", "format", "thinking",
        "reasoning", "effort", "mode", "output_config", "mcp_servers")  # fmt: skip
VALUES = ("function", "object", "array", "json_schema", "tool_use", "tool_result", "message",
          "system", "#/$defs/a", "assistant", "enabled", "</think>")  # fmt: skip
bodies = st.recursive(
    st.sampled_from(VALUES) | st.text(max_size=9) | st.none() | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)
    ),
    max_leaves=40,
)  # fmt: skip


def chat(content: object, **more: object) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": content}], **more}


# ---- as requests cost ---------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", RECORDED, ids=range(len(RECORDED)))
def test_what_recorded_requests_cost(recorded: dict[str, Any]) -> None:
    count = LOADED.request(recorded["body"], recorded["model"])
    assert abs(count.tokens - recorded["tokens"]) <= count.error * count.tokens + 0.5


def test_recorded_texts_are_counted_exactly() -> None:
    """But for those of GPT-4 and 3.5, of which one token is in doubt."""
    counted = [(each, LOADED.request(each["body"], each["model"])) for each in RECORDED]
    exact = [(each, count) for each, count in counted if count.is_exact]
    assert all(count.tokens == each["tokens"] for each, count in exact)
    assert len(exact) >= 6


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-4o", 9),  # 3 + "user" + 2 + 3
        ("o3-mini", 8),
        ("gpt-4", 9),
        ("gpt-oss-20b", 69),  # text + 67
        ("claude-sonnet-4-5", 9),
        ("text-embedding-3-small", 2),
    ],
)
def test_the_frame_of_one_message(model: str, tokens: int) -> None:
    assert abs(LOADED.request(chat("Say hello"), model).tokens - tokens) <= 1


# One encoding for all, so that what is left is the frame's.
ALL_ALIKE = Counter(dict.fromkeys(KNOWN, load("o200k")))
USER, SYSTEM = {"role": "user", "content": "hi"}, {"role": "system", "content": "Be brief."}
ASSISTANT = {"role": "assistant", "content": "hello"}


@pytest.mark.parametrize(
    ("model", "one", "with_system", "with_answer"),
    [
        ("gpt-4o", 7, 11, 15),
        ("o3", 6, 10, 14),
        ("gpt-5", 6, 10, 16),
        ("gpt-5.1", 6, 10, 16),
        ("gpt-oss-120b", 67, 71, 75),
        ("llama3", 10, 15, 20),
        ("llama-3.3-70b", 35, 35, 45),
        ("llama-4-scout", 10, 15, 20),
        ("mistral-small-latest", 3, 5, 6),
        ("mixtral-8x22b", 3, 5, 6),
        ("mixtral-8x7b", 8, 10, 16),
        ("mistral-nemo", 3, 3, 6),
        ("deepseek-v3", 3, 3, 6),
        ("deepseek-chat", 5, 5, 8),
        ("qwen3", 8, 13, 18),
        ("claude-3-haiku", 7, 7, 13),
        ("claude-opus-4-7", 11, 11, 17),
        ("claude-opus-4-8", 6, 6, 12),
    ],
)
def test_frames(model: str, one: int, with_system: int, with_answer: int) -> None:
    """As measured (../shared/research/tokenizers.md, section 7); answers as templates have them."""

    def frame(*messages: dict[str, str]) -> int:
        texts = sum(ALL_ALIKE.text(each["content"], model).tokens for each in messages)
        return ALL_ALIKE.request({"messages": list(messages)}, model).tokens - texts

    rounded = 1 if "claude" in model else 0  # estimates of texts are not whole
    assert abs(frame(USER) - one) <= rounded
    assert abs(frame(SYSTEM, USER) - with_system) <= rounded
    assert abs(frame(USER, ASSISTANT, USER) - with_answer) <= rounded


def test_exact_or_not() -> None:
    assert LOADED.request(chat("hi"), "gpt-4o") == Count(8, True, 0)
    assert not LOADED.request(chat("hi"), "claude-sonnet-4-5").is_exact
    assert not LOADED.request(chat("hi"), "gpt-99").is_exact
    assert not BARE.request(chat("hi"), "gpt-4o").is_exact
    assert BARE.text("", "gpt-4o") == Count(0, True, 0)


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "hi"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
        {"input": "hi", "model": "gpt-4o", "stream": True},
        {"input": [{"role": "user", "content": "hi"}]},
        {"input": [{"type": "message", "role": "user", "content": [{"text": "hi"}]}]},
    ],
)
def test_the_same_in_every_shape(body: object) -> None:
    assert LOADED.request(body, "gpt-4o") == Count(8, True, 0)


def test_a_system_text_is_a_message_wherever_it_stands() -> None:
    inside = {"messages": [{"role": "system", "content": "Be brief."}, *chat("hi")["messages"]]}  # type: ignore[misc]
    responses = {"instructions": "Be brief.", "input": [{"role": "user", "content": "hi"}]}
    expected = LOADED.request(inside, "gpt-4o")
    assert expected.is_exact
    assert LOADED.request(responses, "gpt-4o") == expected
    beside = chat("hi", system="Be brief.")
    blocks = chat("hi", system=[{"type": "text", "text": "Be brief."}])
    counts = {LOADED.request(body, "claude-opus-4-8") for body in (inside, beside, blocks)}
    assert len(counts) == 1


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"input": "hello world"}, 2),
        ({"input": ["hello", "hello world"]}, 3),
        ({"input": [1, 2, 3]}, 3),
        ({"input": [[1, 2], [3]], "encoding_format": "base64"}, 3),
        ({"prompt": "hello world"}, 2),
        ({"prompt": [[15339, 1917]]}, 2),
    ],
)
def test_texts_and_ids_without_messages(body: object, tokens: int) -> None:
    model = "text-embedding-3-small"
    assert LOADED.request({"model": model, **body}, model) == Count(tokens, True, 0)  # type: ignore[dict-item]


def test_an_answer_is_counted_but_not_what_it_does_not_show() -> None:
    for model in ("o3", "gpt-5", "gpt-5.1", "o1-mini"):
        assert LOADED.answer("hello world", model) == Count(2, False, 0)
    assert LOADED.answer("hello world", "gpt-4o") == Count(2, True, 0)


def test_empty_instructions_are_no_message() -> None:
    body = {"input": [{"role": "user", "content": "hi"}]}
    assert LOADED.request({"instructions": "", **body}, "gpt-4o") == Count(8, True, 0)


def test_what_several_models_work_on_is_not_counted_and_said() -> None:
    body = {"input": "hi", "reasoning": {"effort": "high", "mode": "pro"}}
    assert not LOADED.request(body, "gpt-5.6").is_exact
    one = {"input": "hi", "reasoning": {"effort": "high", "mode": "standard"}}
    assert LOADED.request(one, "gpt-5.6").is_exact


def test_a_server_of_tools_is_not_counted_and_said() -> None:
    body = chat("hi", mcp_servers=[{"type": "url", "url": "https://tools.example"}])
    assert not LOADED.request(body, "gpt-4o").is_exact


@pytest.mark.parametrize(
    ("model", "more", "tokens"),
    [
        ("claude-sonnet-4-5", {"thinking": {"type": "enabled", "budget_tokens": 1024}}, 28),
        ("claude-sonnet-4-5", {"reasoning": {"effort": "low"}}, 28),
        ("claude-sonnet-4-5", {"reasoning": {"enabled": True}}, 28),
        ("claude-sonnet-4-5", {"reasoning": {"effort": "none"}}, 0),
        ("claude-sonnet-4-5", {"thinking": {"type": "disabled"}}, 0),
        ("claude-opus-4-6", {"thinking": {"type": "adaptive"}}, 17),
        ("claude-opus-4-7", {"thinking": {"type": "adaptive"}}, 0),
        ("gpt-5", {"reasoning": {"effort": "low"}}, 0),
    ],
)
def test_being_told_to_think_costs(model: str, more: dict[str, Any], tokens: int) -> None:
    plain, told = LOADED.request(chat("hi"), model), LOADED.request(chat("hi", **more), model)
    assert told.tokens - plain.tokens == tokens


@pytest.mark.parametrize(
    ("model", "forgets"),
    [("deepseek-r1", True), ("qwen3", True), ("gpt-4o", False), ("claude-opus-4-8", False)],
)
def test_some_models_do_not_read_again_what_they_thought(model: str, forgets: bool) -> None:
    def asked(answer: str, role: str = "assistant") -> int:
        turns = [{"role": role, "content": answer}, {"role": "user", "content": "why?"}]
        return LOADED.request({"messages": turns}, model).tokens

    thoughts = "<think>\nlet me see whether it is seven or eight\n</think>"
    assert (asked(thoughts + "Eight.") == asked("Eight.")) is forgets
    assert asked(thoughts + "Eight.", "user") > asked("Eight.", "user")


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}


@counters
@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5"])
def test_what_is_no_text_is_not_counted_and_said(counter: Counter, model: str) -> None:
    text = {"type": "text", "text": "hi"}
    with_picture = counter.request(chat([text, PICTURE]), model)
    assert with_picture.tokens == counter.request(chat([text]), model).tokens
    assert not with_picture.is_exact and not with_picture.is_whole


@pytest.mark.parametrize("key", ["messages", "prompt"])
def test_ollamas_pictures_are_not_counted_and_said(key: str) -> None:
    beside = {"images": ["A" * 1000]}
    chat = {"messages": [{"role": "user", "content": "hi", **beside}]}
    body = chat if key == "messages" else {"prompt": "hi", **beside}
    count = LOADED.request(body, "llava")
    assert not count.is_whole and count.tokens < 20


def test_what_ollama_has_beside_a_prompt_is_counted() -> None:
    def tokens(**more: Any) -> int:
        return LOADED.request({"prompt": "hello world", **more}, "gpt-4o").tokens

    assert (tokens(), tokens(system="hello world"), tokens(context=[1, 2, 3])) == (2, 4, 5)


@pytest.mark.parametrize("key", ["previous_response_id", "conversation", "prompt"])
def test_what_the_server_keeps_is_not_counted_and_said(key: str) -> None:
    body = {"input": [{"role": "user", "content": "hi"}], key: "x_1"}
    assert LOADED.request(body, "gpt-4o") == Count(8, False, 0, False)


@pytest.mark.parametrize(
    "body",
    [None, 1, "x", [], {}, {"messages": 1}, {"messages": "x"}, {"prompt": {}}, {"prompt": None},
     {"input": {}}, {"model": "gpt-4o"}],
)
def test_what_is_no_request(body: object) -> None:
    assert LOADED.request(body, "gpt-4o") == Count(0, False, 0, False)


# ---- calls and tools ----------------------------------------------------------------------------


def tool(**properties: object) -> dict[str, object]:
    schema = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5", "claude-sonnet-4-5", "mistral-7b", "x"])
@counters
def test_tools_and_calls_cost(counter: Counter, model: str) -> None:
    plain = counter.request(chat("hi"), model)
    tools = [tool(city={"type": "string"})]
    with_tools = counter.request(chat("hi", tools=tools), model)
    forced = counter.request(chat("hi", tools=tools, tool_choice="required"), model)
    assert plain.tokens < with_tools.tokens <= forced.tokens
    assert not with_tools.is_exact and with_tools.error > 0
    call = {"function": {"name": "f", "arguments": '{"city":"Rome"}'}}
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]}]
    assert counter.request({"messages": turns}, model).tokens > plain.tokens + 5


def test_tools_cost_less_in_the_responses_api() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    flat = {"type": "function", "name": "f", "parameters": schema}
    asked = [{"role": "user", "content": "hi"}]
    for model, less in (("gpt-4o", 6), ("gpt-5", 82), ("gpt-5.4-mini", 76)):
        in_chat = LOADED.request(chat("hi", tools=[tool(city={"type": "string"})]), model)
        in_responses = LOADED.request({"input": asked, "tools": [flat]}, model)
        assert in_chat.tokens - in_responses.tokens == less


@pytest.mark.parametrize(
    ("model", "any_tool", "this_tool"),
    [("gpt-4o", 0, 8), ("gpt-5-mini", 0, 0), ("claude-sonnet-4-5", 97, 97)],
)
def test_a_tool_that_must_be_called(model: str, any_tool: int, this_tool: int) -> None:
    tools = [tool(city={"type": "string"})]
    free = LOADED.request(chat("hi", tools=tools), model).tokens
    named = {"type": "function", "function": {"name": "f"}}
    for choice, more in (("required", any_tool), (named, this_tool)):
        forced = LOADED.request(chat("hi", tools=tools, tool_choice=choice), model).tokens
        assert forced - free == more


def test_anthropics_calls_are_those_of_openai() -> None:
    use = {"type": "tool_use", "name": "f", "input": {"city": "Rome"}}
    result = {"type": "tool_result", "content": [{"type": "text", "text": "sunny"}]}
    turns = [{"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    call = {"function": {"name": "f", "arguments": '{"city":"Rome"}'}}
    theirs = [{"role": "assistant", "tool_calls": [call]}, {"role": "user", "content": "sunny"}]
    model = "claude-opus-4-8"
    assert LOADED.request({"messages": turns}, model) == LOADED.request(
        {"messages": theirs}, model
    )


def test_a_schema_of_the_answer_costs_about_its_text() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    text = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
    plain = LOADED.request(chat("hi"), "gpt-4o").tokens
    first = LOADED.request(chat("hi", response_format=form), "gpt-4o")
    second = LOADED.request({"input": [{"role": "user", "content": "hi"}], "text": text}, "gpt-4o")
    assert first == second
    assert plain + 10 < first.tokens < plain + 30 and not first.is_exact


def test_anthropics_schema_of_the_answer_costs_more_than_its_text() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"format": {"type": "json_schema", "schema": schema}}
    plain = LOADED.request(chat("hi"), "claude-sonnet-4-5").tokens
    count = LOADED.request(chat("hi", output_config=form), "claude-sonnet-4-5")
    assert plain + 140 < count.tokens < plain + 170 and not count.is_exact


def test_a_tool_that_the_server_has_is_not_counted_and_said() -> None:
    count = LOADED.request(chat("hi", tools=[{"type": "web_search"}]), "gpt-4o")
    assert count == Count(8, False, 0, False)


# ---- any input ----------------------------------------------------------------------------------


@counters
@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5", "mixtral"])
@given(body=bodies | json_values)
def test_any_body_has_a_count(counter: Counter, model: str, body: object) -> None:
    count = counter.request(body, model)
    assert count.tokens >= 0 and 0 <= count.error <= 1
    assert not (count.is_exact and count.error)


@counters
@pytest.mark.parametrize("model", ["gpt-4o", "gemini-2.5-pro"])
@given(text=st.text(alphabet=st.characters(), max_size=300))
def test_any_text_has_a_count(counter: Counter, model: str, text: str) -> None:
    count = counter.text(text, model)
    assert 0 <= count.tokens <= 4 * len(text.encode("utf-8", "replace")) + 1


def nested(depth: int) -> dict[str, object]:
    schema: dict[str, object] = {"type": "string"}
    for level in range(depth):
        kind = {"type": "array", "items": schema} if level % 2 else {"anyOf": [schema, schema]}
        schema = {"type": "object", "properties": {"a": {"type": "array", "items": schema}}}
        schema = schema if level % 3 else kind
    return schema


@counters
@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5", "x"])
@pytest.mark.parametrize("depth", [5, 12])
def test_deep_schemas(counter: Counter, model: str, depth: int) -> None:
    parameters = {"properties": {"x": nested(depth)}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    assert counter.request(chat("hi", tools=tools), model).tokens > 0


@counters
@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5"])
def test_a_schema_that_is_deeper_than_the_stack(counter: Counter, model: str) -> None:
    value: object = "x"
    for _ in range(5000):
        value = {"items": value, "type": "array"}
    assert counter.request(chat("hi", tools=[tool(a=value)]), model).tokens > 0


def test_a_schema_that_is_made_of_itself() -> None:
    itself = {"$ref": "#/$defs/n"}
    node = {"type": "object", "properties": {"left": itself, "right": itself}}
    parameters = {"properties": {"tree": {"$ref": "#/$defs/n"}}, "$defs": {"n": node}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    assert 0 < LOADED.request(chat("hi", tools=tools), "gpt-4o").tokens < 100


@counters
@pytest.mark.parametrize("text", [" " * 1_100_000, "\t" * 1_100_000 + "x", "\ud800" * 1000,
                                  "<|endoftext|>" * 1000, "\n" * 300_000, "日" * 100_000])
def test_what_breaks_tokenizers(counter: Counter, text: str) -> None:
    assert counter.text(text, "gpt-4o").tokens > 0
    assert counter.text(text, "claude-sonnet-4-5").tokens > 0


def test_names_of_special_tokens_are_text() -> None:
    assert LOADED.text("<|endoftext|>", "gpt-4o").tokens > 3


def test_windows_change_no_count_of_words() -> None:
    text = "The quick brown fox, it's said, jumps over 12345 lazy dogs.\n" * 3000
    assert len(text) > 5 * WINDOW
    whole = len(load("o200k").encode(text))
    assert LOADED.text(text, "gpt-4o") == Count(whole, True, 0)


def test_a_cut_within_a_word_is_doubtful() -> None:
    count = LOADED.text("é" * (2 * WINDOW), "gpt-4o")
    whole = len(load("o200k").encode("é" * (2 * WINDOW)))
    assert not count.is_exact
    assert abs(count.tokens - whole) <= count.error * count.tokens


def test_counting_brings_no_tokenizer_into_the_process() -> None:
    """Who loads vocabularies does; a process that only estimates stays small."""
    program = (
        "import sys; from m2mproxy.tokens.count import Counter\n"
        "Counter({}).request({'messages': [{'role': 'user', 'content': 'hi'}]}, 'gpt-4o')\n"
        "print('tiktoken' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "False")
