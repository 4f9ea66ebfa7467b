"""The OpenAI Python SDK against a real llama.cpp, through the proxy exactly as without it."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest
from conftest import Program

QUESTION: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
# What differs between two equal requests to the same server.
VOLATILE = ("id", "created", "timings", "prompt_tokens_details")


def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="sk-test", max_retries=0, timeout=60)


def stable(value: Any) -> Any:
    """A reply without what differs from one request to the next."""
    if isinstance(value, dict):
        return {k: stable(v) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list):
        return [stable(item) for item in value]
    return value


def ask(url: str, timeout: float = 60, **more: Any) -> Any:
    return client(url).with_options(timeout=timeout).chat.completions.create(
        model="smollm2", messages=QUESTION, temperature=0, max_tokens=12, seed=1, **more
    )


def test_chat_is_answered_as_without_the_proxy(model: str, proxy: Program) -> None:
    direct, through = ask(model), ask(proxy.url)
    assert "Paris" in through.choices[0].message.content
    assert stable(through.model_dump()) == stable(direct.model_dump())


def test_a_stream_has_the_same_events(model: str, proxy: Program) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    direct = [stable(chunk.model_dump()) for chunk in ask(model, **options)]
    through = [stable(chunk.model_dump()) for chunk in ask(proxy.url, **options)]
    assert len(through) > 5
    assert through == direct


def test_words_arrive_while_the_model_speaks(proxy: Program) -> None:
    """The answer has no end: whoever waited for it would never see its beginning."""
    stream = client(proxy.url).chat.completions.create(
        model="smollm2",
        messages=QUESTION,
        stream=True,
        extra_body={"ignore_eos": True, "n_predict": 6000},
        timeout=15,
    )
    words = iter(stream)
    for _ in range(6):
        assert next(words).choices
    stream.close()


def test_async_clients_work_side_by_side(proxy: Program) -> None:
    async def both() -> list[str]:
        async with openai.AsyncOpenAI(base_url=proxy.url, api_key="sk-test") as api:
            replies = await asyncio.gather(
                *(
                    api.chat.completions.create(
                        model="smollm2", messages=QUESTION, temperature=0, max_tokens=12
                    )
                    for _ in range(4)
                )
            )
            return [reply.choices[0].message.content or "" for reply in replies]

    assert all("Paris" in text for text in asyncio.run(both()))


def test_async_streams(proxy: Program) -> None:
    async def words() -> str:
        async with openai.AsyncOpenAI(base_url=proxy.url, api_key="sk-test") as api:
            stream = await api.chat.completions.create(
                model="smollm2", messages=QUESTION, temperature=0, max_tokens=12, stream=True
            )
            return "".join(
                [c.choices[0].delta.content or "" async for c in stream if c.choices]
            )

    assert "Paris" in asyncio.run(words())


def test_tools_reach_the_model_and_come_back_as_without_the_proxy(
    model: str, proxy: Program
) -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a city",
            "parameters": {
                "type": "object",
                "properties": {"c": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
                "required": ["c"],
            },
        },
    }

    def outcome(url: str) -> Any:
        # This small model's template has no tools, so the server may refuse them: both must.
        try:
            return stable(ask(url, tools=[tool], tool_choice="auto").model_dump())
        except openai.APIStatusError as error:
            return error.status_code, error.body

    assert outcome(proxy.url) == outcome(model)


def test_models_embeddings_completions_and_responses_pass(model: str, proxy: Program) -> None:
    def outcomes(url: str) -> list[Any]:
        api = client(url)
        calls: list[Any] = [
            lambda: api.models.list().model_dump(),
            lambda: api.embeddings.create(model="smollm2", input="x").model_dump(),
            lambda: api.completions.create(
                model="smollm2", prompt="1 2 3", max_tokens=4, temperature=0
            ).model_dump(),
        ]
        results = []
        for call in calls:
            try:
                results.append(stable(call()))
            except openai.APIStatusError as error:
                results.append((error.status_code, stable(error.body)))
        return results

    assert outcomes(proxy.url) == outcomes(model)
    reply = client(proxy.url).responses.create(
        model="smollm2", input="What is the capital of France?", max_output_tokens=16
    )
    assert reply.output_text


@pytest.mark.parametrize(
    ("messages", "options"),
    [("none", {}), ([{"role": "user", "content": "x " * 9000}], {"max_tokens": 1})],
    ids=["no list of messages", "more than the context holds"],
)
def test_the_servers_errors_arrive_as_they_are(
    model: str, proxy: Program, messages: Any, options: Any
) -> None:
    seen = []
    for url in (model, proxy.url):
        with pytest.raises(openai.APIStatusError) as caught:
            client(url).chat.completions.create(model="smollm2", messages=messages, **options)
        seen.append((caught.value.status_code, caught.value.body))
    assert seen[0] == seen[1]


def test_an_abandoned_stream_stops_the_model(proxy: Program) -> None:
    """Two endless answers hold both slots of the server; unless leaving ends them, the third
    request would wait for minutes."""
    for _ in range(2):
        stream = client(proxy.url).chat.completions.create(
            model="smollm2",
            messages=[{"role": "user", "content": "Count from one to ten thousand."}],
            stream=True,
            extra_body={"ignore_eos": True, "n_predict": 6000},
        )
        next(iter(stream))
        stream.close()
    assert "Paris" in ask(proxy.url, timeout=15).choices[0].message.content


def test_an_abandoned_plain_request_stops_the_model(proxy: Program) -> None:
    impatient = client(proxy.url).with_options(timeout=0.5)
    for _ in range(2):
        with pytest.raises(openai.APITimeoutError):
            impatient.chat.completions.create(
                model="smollm2",
                messages=QUESTION,
                extra_body={"ignore_eos": True, "n_predict": 6000},
            )
    assert "Paris" in ask(proxy.url, timeout=15).choices[0].message.content


def test_no_server_is_a_clear_error(start_proxy: Any) -> None:
    program = start_proxy("http://127.0.0.1:1/v1")
    with pytest.raises(openai.InternalServerError) as caught:
        ask(program.url)
    assert caught.value.status_code == 502
    assert caught.value.code == "upstream_unreachable"
    assert "127.0.0.1:1" in caught.value.message


def test_the_configured_key_is_used_only_where_the_client_has_none(start_proxy: Any) -> None:
    # No upstream is needed to see that a client's own key is never replaced: see tests/proxy.
    program = start_proxy("http://127.0.0.1:1/v1", M2M_API_KEY="sk-operator")
    with pytest.raises(openai.InternalServerError):
        ask(program.url)
    assert not any("sk-" in line for line in program.lines)
