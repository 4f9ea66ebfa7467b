"""What /stats and the log say of tokens is what a real llama.cpp told its client."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from conftest import Program

QUESTION: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]


def ask(url: str, **more: Any) -> Any:
    client = openai.OpenAI(base_url=url, api_key="sk-test", max_retries=0, timeout=60)
    return client.chat.completions.create(
        model="smollm2", messages=QUESTION, temperature=0, max_tokens=12, **more
    )


def figures(proxy: Program) -> Any:
    with urllib.request.urlopen(proxy.url.removesuffix("/v1") + "/stats", timeout=10) as answer:
        return json.load(answer)["tokens"]


def until(done: Callable[[], Any]) -> Any:
    """What `done` says once that is something: the log and the figures are not waited for."""
    for _ in range(200):
        if found := done():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come")


def lines(proxy: Program, count: int) -> list[dict[str, str]]:
    """The fields of the exchanges' lines."""

    def read() -> list[dict[str, str]]:
        found = [line.split() for line in proxy.lines if "path=/v1/chat/completions" in line]
        fields = [dict(word.split("=", 1) for word in words[1:]) for words in found]
        return fields if len(fields) == count else []

    found: list[dict[str, str]] = until(read)
    return found


def test_the_figures_are_those_of_the_model_server(
    model: str, start_proxy: Callable[..., Program], tmp_path: Path
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('["smol*"]\ninput = 2.0\ncached_input = 1.0\noutput = 4.0\n')
    proxy = start_proxy(model, M2M_TOKENS_PRICES=str(prices))
    said = [ask(proxy.url).usage]
    chunks = list(ask(proxy.url, stream=True, stream_options={"include_usage": True}))
    said.append(chunks[-1].usage)
    given = sum(usage.prompt_tokens for usage in said)
    made = sum(usage.completion_tokens for usage in said)
    cached = sum(usage.prompt_tokens_details.cached_tokens for usage in said)
    until(lambda: figures(proxy)["models"].get("smollm2", {}).get("requests") == 2)
    assert figures(proxy) == {
        "models": {
            "smollm2": {
                "requests": 2,
                "input": {"reported": given, "counted": 0, "estimated": 0},
                "output": {"reported": made, "counted": 0, "estimated": 0},
                "cached_input": cached,
                "cache_write_input": 0,
                "reasoning_output": 0,
                "cost": {
                    "reported": None,
                    "priced": pytest.approx(((given - cached) * 2 + cached + made * 4) / 1e6),
                },
            }
        },
        "unknown": 0,
        "unread": 0,
        "currency": "USD",
    }
    for usage, line in zip(said, lines(proxy, 2), strict=True):
        assert line["tokens_in"] == str(usage.prompt_tokens)
        assert line["tokens_out"] == str(usage.completion_tokens)
        assert line["tokens_cached"] == str(usage.prompt_tokens_details.cached_tokens)
        assert line["tokens_estimated"] == "-"


def test_what_it_does_not_say_is_counted(model: str, start_proxy: Callable[..., Program]) -> None:
    proxy = start_proxy(model, M2M_TOKENS_COUNT="all")
    said = ask(model).usage
    list(ask(proxy.url, stream=True))  # has no usage, but timings
    with ask(proxy.url, stream=True, extra_body={"ignore_eos": True, "n_predict": 4000}) as words:
        for _, _ in zip(range(6), words, strict=False):
            pass
    whole, broken = lines(proxy, 2)
    assert whole["tokens_estimated"] == "-"
    assert whole["tokens_in"] == str(said.prompt_tokens)
    assert whole["tokens_out"] == str(said.completion_tokens)
    assert broken["tokens_estimated"] == "in,out"
    # Its own vocabulary is not ours; the prompt has 16 tokens with its template.
    assert 8 <= int(broken["tokens_in"]) <= 24
    assert int(broken["tokens_out"]) >= 2
    assert figures(proxy)["counted"] == 1
    assert figures(proxy)["unknown"] == figures(proxy)["dropped"] == 0
