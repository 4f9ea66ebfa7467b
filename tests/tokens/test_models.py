"""Models by the names that providers give them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.tokens.estimate import targets
from m2mproxy.tokens.frames import FRAMES
from m2mproxy.tokens.known import KNOWN
from m2mproxy.tokens.models import Model, find, row_of
from m2mproxy.tokens.names import OTHER, ROWS

# As they stand in requests. What is estimated has "-" for a vocabulary; ~ says it is only near.
NAMES = """
openai             o200k     gpt-4o-mini openai/gpt-4o gpt-4o-2024-08-06 chatgpt-4o-latest
openai             o200k     gpt-4.1
openai             o200k     ft:gpt-4o-mini-2024-07-18:org:name:9abc gpt-4.1-nano-2025-04-14
openai             o200k     prod-gpt4o gpt-5-chat-latest gpt-4o-audio-preview GPT-4o
openai-search      o200k     gpt-4o-search-preview gpt-4o-mini-search-preview-2025-03-11
openai~            o200k     gpt-9 gpt-6-mini omni-moderation-latest
openai-cl100k      cl100k    gpt-4 gpt-4-turbo gpt-4-0613 gpt-3.5-turbo gpt-35-turbo gpt-4-32k
openai-cl100k      cl100k    ft:gpt-3.5-turbo-0125:org::id azure/gpt-35-turbo-16k
openai-o1-first    o200k     o1-preview o1-mini-2024-09-12
openai-reasoning   o200k     o1 o3-mini o4-mini openai/o3 my-o3-mini
openai-gpt-5-later o200k     gpt-5.1 gpt-5.2-chat gpt-5-4-mini openai.gpt-5.5 gpt-5.1-codex-mini
openai-reasoning   o200k     codex-mini-latest o4-mini-deep-research-2025-06-26
openai-gpt-5       o200k     gpt-5 gpt-5-2025-08-07 gpt-5-mini gpt-5-nano-2025-08-07
gpt-oss            o200k     openai/gpt-oss-120b gpt-oss:20b openai.gpt-oss-20b-1:0
text               cl100k    gpt-3.5-turbo-instruct davinci-002
embedding          cl100k    text-embedding-3-small text-embedding-3-large text-embedding-ada-002
llama31            llama3    meta-llama/Llama-3.3-70B-Instruct llama3.2:3b llama-3.1-8b-instant
llama31            llama3    us.meta.llama3-1-70b-instruct-v1:0 @cf/meta/llama-3.1-8b-instruct
llama31            llama3    accounts/fireworks/models/llama-v3p1-405b-instruct
llama31            llama3    meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo Llama_3.3_70B
llama3             llama3    meta.llama3-8b-instruct-v1:0 llama3 llama3:70b
llama3             llama3    meta-llama/Meta-Llama-3-8B
llama31            llama3    nvidia/llama-3.1-nemotron-nano-8b-v1
llama31~           llama3    sonar-pro
llama4             llama4    meta-llama/Llama-4-Scout-17B-16E-Instruct llama4:scout
llama4             llama4    accounts/fireworks/models/llama4-maverick-instruct-basic
llama2~            -         llama2:13b codellama/CodeLlama-7b-hf meta-llama/Llama-2-7b-chat-hf
chatml             llama3    nousresearch/hermes-3-llama-3.1-405b
mistral            tekken    mistral-large-latest mistral-small-2503
mistral            tekken    pixtral-12b
mistral            tekken    ministral-8b-latest devstral-small-2505 magistral-medium-2506
mistral            tekken    codestral-latest codestral-2501 mistral.pixtral-large-2502-v1:0
mistral            tekken    mistralai/Mistral-Small-3.2-24B-Instruct-2506
mistral-small      tekken    mistral-small-latest magistral-small-latest mistral-small-2603
mistral-nemo       tekken    open-mistral-nemo mistral-nemo:12b
mistral-v1         spm       mistralai/Mixtral-8x7B-Instruct-v0.1 mistral.mistral-7b-instruct-v0:2
mistral-spm        spm       open-mixtral-8x22b mistral:7b
mistral-spm        spm       mistral
mistral-spm        spm       mistral-large-2411 codestral:22b
mistral-spm        spm       mistral.mistral-large-2402-v1:0 mistral-small-2409
mistral-spm        spm       mistralai/Mistral-7B-Instruct-v0.3 mistral-large-2411@001
mistral~           tekken    mistral-large mistralai/mistral-small
embedding~         tekken    mistral-embed
deepseek           deepseek  deepseek/deepseek-r1 deepseek-ai/DeepSeek-V3.1 deepseek.r1-v1:0
deepseek           deepseek  accounts/fireworks/models/deepseek-v3p1 deepseek-r1:671b
deepseek-v4~       deepseek  deepseek-v4-flash deepseek-ai/DeepSeek-V4-Pro
deepseek-api       deepseek  deepseek-chat deepseek-reasoner
deepseek~          deepseek  deepseek-v2:16b deepseek-coder:6.7b
deepseek           llama3    deepseek-r1-distill-llama-70b deepseek-r1:70b
deepseek           qwen      deepseek-ai/DeepSeek-R1-Distill-Qwen-32B deepseek-r1:7b
qwen               qwen      qwen2.5:7b Qwen/Qwen3-235B-A22B-Instruct-2507 qwq-32b
qwen               qwen      qwen3-coder:30b Qwen/Qwen3-8B qwen/qwen3-8b:free Qwen/Qwen-72B-Chat
qwen               qwen      Qwen3-8B-Q4_K_M.gguf qwen3-80b-a3b qwen3:8b
qwen               qwen35    qwen/qwen3.5-397b-a17b qwen3.6-27b qwen3-6-plus qwen3p5-27b qwen3.5:9b
qwen~              qwen      qwen-max qwen-plus-latest
embedding          qwen      Qwen/Qwen3-Embedding-8B
claude3~           -         claude-3-5-sonnet-20241022
claude3~           -         claude-3-5-sonnet@20240620
claude3~           -         anthropic.claude-3-haiku-20240307-v1:0 claude-opus-4-1-20250805
claude3~           -         claude-2.1
claude3~           -         us.anthropic.claude-sonnet-4-20250514-v1:0
claude3~           -         arn:aws:bedrock:r:1:inference-profile/us.anthropic.claude-3-7-sonnet
claude45~          -         claude-sonnet-4-5 claude-opus-4-6 anthropic/claude-sonnet-4.5
claude45~          -         claude-haiku-4-5-20251001
claude47~          -         claude-opus-4-7 anthropic/claude-opus-4.7
claude48~          -         claude-opus-4-8 claude-sonnet-5 claude-fable-5
gemini~            -         gemini-2.5-pro models/gemini-1.5-flash google/gemma-2-9b-it
gemini~            -         gemma3:12b
embedding~         -         gemini-embedding-001 nomic-embed-text BAAI/bge-m3
other~             -         grok-4 x-ai/grok-3-mini command-r-plus amazon.nova-pro-v1:0 phi-4
other~             -         glm-4.6
other~             -         moonshotai/kimi-k2-instruct MiniMax-M2 whisper-1 - / : ft: é
"""
CASES = [
    (name, family, vocabulary)
    for line in NAMES.strip().splitlines()
    for family, vocabulary, *names in (line.split(),)
    for name in names
]


@pytest.mark.parametrize(("name", "family", "vocabulary"), CASES)
def test_a_name(name: str, family: str, vocabulary: str) -> None:
    is_exact = not family.endswith("~")
    assert find(name) == Model(family.rstrip("~"), vocabulary.strip("-"), is_exact)


@given(name=st.text(max_size=400))
def test_any_text_is_a_name(name: str) -> None:
    assert find(name).family in FRAMES


@pytest.mark.parametrize("name", ["", "gpt-4o" + "x" * 10_000, "/" * 10_000, "ft:" * 5000])
def test_long_and_empty_names(name: str) -> None:
    assert find(name).family in FRAMES


def test_every_row_decides_for_a_name_here() -> None:
    """None stands behind one that takes all of its names."""
    assert {row_of(name) for name, *_ in CASES} | {OTHER} >= set(ROWS) - UNUSED


# Kept for names that stand for whole lists of others.
UNUSED = {row for row in ROWS if re.search("text-.davinci|mistral-medium-2312|mamba", row.pattern)}


def test_rows_name_what_there_is() -> None:
    for row in (*ROWS, OTHER):
        assert row.family in FRAMES
        assert row.vocabulary in KNOWN or not row.vocabulary
        assert row.vocabulary or not row.is_exact


def test_there_are_weights_for_every_vocabulary() -> None:
    assert set(KNOWN) | {"claude3", "claude47", "claude48", "gemma3", "other"} == set(targets())
