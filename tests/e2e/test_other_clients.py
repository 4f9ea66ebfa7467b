"""openai-node, LangChain and curl against a real llama.cpp, through the proxy."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Program

NODE_MODULES = Path(os.environ.get("M2M_TEST_NODE", Path(sys.prefix) / "node"))

SCRIPT = """
import OpenAI from 'openai';
const api = new OpenAI({baseURL: process.argv[2], apiKey: 'sk-test', maxRetries: 0});
const ask = {model: 'smollm2', temperature: 0, max_tokens: 12,
             messages: [{role: 'user', content: 'What is the capital of France?'}]};
const plain = await api.chat.completions.create(ask);
let streamed = '', events = 0;
for await (const chunk of await api.chat.completions.create({...ask, stream: true})) {
  streamed += chunk.choices[0]?.delta?.content ?? '';
  events += 1;
}
const models = await api.models.list();
const aborter = new AbortController();
let aborted = false;
try {
  const long = await api.chat.completions.create(
    {...ask, max_tokens: 4000, stream: true, ignore_eos: true}, {signal: aborter.signal});
  for await (const _ of long) aborter.abort();
} catch (error) { aborted = true; }
console.log(JSON.stringify({plain: plain.choices[0].message.content, streamed, events,
                            models: models.data.map(m => m.id), aborted: aborter.signal.aborted}));
"""


def test_openai_node(proxy: Program, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not (NODE_MODULES / "node_modules" / "openai").is_dir():
        pytest.skip("no Node with the openai package here; tools/test installs them")
    script = tmp_path / "ask.mjs"
    script.write_text(SCRIPT)
    (tmp_path / "node_modules").symlink_to(NODE_MODULES / "node_modules")
    done = subprocess.run(
        [node, script, proxy.url], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert "Paris" in told["plain"]
    assert told["streamed"] == told["plain"]
    assert told["events"] > 5
    assert told["models"] == ["smollm2"]
    assert told["aborted"]


def test_langchain(proxy: Program) -> None:
    if importlib.util.find_spec("langchain_openai") is None:
        pytest.skip("no langchain-openai here; tools/test installs it")
    from langchain_openai import ChatOpenAI

    chat = ChatOpenAI(
        model="smollm2", base_url=proxy.url, api_key="sk-test", temperature=0, max_tokens=12
    )
    question = "What is the capital of France?"
    assert "Paris" in str(chat.invoke(question).content)
    assert "Paris" in "".join(str(piece.content) for piece in chat.stream(question))


def curl(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("no curl here; tools/test installs it")
    return subprocess.run(
        [program, "-sS", "--max-time", "60", *arguments], capture_output=True, check=True
    )


ASK = '{"model":"m","temperature":0,"max_tokens":8,"messages":[{"role":"user","content":"Hi"}]}'
JSON = ("-H", "content-type: application/json")


@pytest.mark.parametrize(
    "extra",
    [
        (),
        ("--http1.0",),
        ("-H", "transfer-encoding: chunked"),
        ("-H", "expect: 100-continue"),
        ("--compressed",),
        ("--http2",),  # offers an upgrade to h2c, which is passed over
    ],
    ids=lambda extra: extra[-1] if extra else "plain",
)
def test_curl_gets_its_answer(model: str, proxy: Program, extra: tuple[str, ...]) -> None:
    url = "/chat/completions"
    direct = json.loads(curl(*JSON, "-d", ASK, model + url).stdout)
    through = json.loads(curl(*JSON, *extra, "-d", ASK, proxy.url + url).stdout)
    assert through["choices"] == direct["choices"]


def test_curl_head_has_a_length_and_no_body(proxy: Program) -> None:
    head = curl("-I", proxy.url + "/models").stdout
    assert head.startswith(b"HTTP/1.1 200")
    assert b"content-length: " in head.lower()


def test_curl_reads_the_alias_without_v1(proxy: Program) -> None:
    url = proxy.url.removesuffix("/v1") + "/chat/completions"
    assert json.loads(curl(*JSON, "-d", ASK, url).stdout)["object"] == "chat.completion"


def test_curl_over_a_unix_socket(model: str, start_proxy: object, tmp_path: Path) -> None:
    path = tmp_path / "m2m.sock"
    start_proxy(model, "--listen", f"unix:{path}")  # type: ignore[operator]
    reply = curl("--unix-socket", path, "http://localhost/v1/models").stdout
    assert json.loads(reply)["data"][0]["id"] == "smollm2"
