"""What `tools/demo` shows once everything is installed.

An unmodified OpenAI SDK talks to a real model server on this machine through two proxies, an edge
beside the application and a core beside the model: a short chat, and six turns of an agent with
what each took on either wire, counted by witnesses on both; then the proof that nothing was
changed. Exit 0 only if that proof holds.
"""

import contextlib
import hashlib
import http.client
import importlib.metadata
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import demo_agent
import openai
from benchlib.process import die_with_parent
from demo_agent import Leg, Step
from openai.types.chat import ChatCompletionMessageParam
from tap import Tap, tapped

HERE = Path(__file__).parent
MODEL = "smollm2"
QUESTIONS = (
    "What is the capital of France?",
    "Name three things to see there.",
)
MAX_TOKENS = 90
WIDTH = 92
INDENT = " " * 11
BAR = 36


class Failed(Exception):
    """The demo cannot go on, or has proved the wrong thing."""


# ---- Terminal ----


def style(code: str, text: str) -> str:
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR")
    return text if plain else f"\033[{code}m{text}\033[0m"


def title(text: str) -> None:
    print(f"\n{style('1', text)}")


def line(name: str, text: str) -> None:
    print(f"  {style('2', f'{name:9}')}{text}")


class Margin:
    """Prints words as they come, broken at the right margin."""

    def __init__(self) -> None:
        self._column = len(INDENT)

    def write(self, text: str) -> None:
        for number, piece in enumerate(text.split("\n")):
            if number:
                self._break()
            if self._column + len(piece) > WIDTH:
                self._break()
                piece = piece.lstrip()
            print(piece, end="", flush=True)
            self._column += len(piece)

    def _break(self) -> None:
        print(f"\n{INDENT}", end="")
        self._column = len(INDENT)


# ---- What the demo starts ----


@contextlib.contextmanager
def child(argv: Sequence[str], log: Path) -> Iterator[IO[str]]:
    """A process and its stdout; it is gone when the block is left, however it is left."""
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,  # Ctrl-C is for us; we end our children ourselves
            preexec_fn=die_with_parent,
        )
    assert process.stdout
    try:
        yield process.stdout
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


@contextlib.contextmanager
def model_server(directory: Path) -> Iterator[str]:
    """llama.cpp with SmolLM2; its base URL."""
    log = directory / "model.log"
    with child([sys.executable, str(HERE / "serve_model.py")], log) as stdout:
        said = stdout.readline()
        if not said.startswith("ready "):
            raise Failed(f"the model server did not start: {log.read_text().strip()}")
        yield said.split()[1]


@contextlib.contextmanager
def proxy(directory: Path, name: str, upstream: str, *options: str) -> Iterator[str]:
    """A proxy in front of `upstream`; its base URL."""
    log = directory / f"{name}.log"
    port = free_port()
    command = ["m2m", "proxy", "--port", str(port), "--upstream", upstream, *options]
    with child([str(Path(sys.executable).with_name("m2m")), *command[1:]], log):
        wait_for(f"http://127.0.0.1:{port}/health", log)
        line(name, " ".join(command))
        yield f"http://127.0.0.1:{port}/v1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(url: str, log: Path) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):
            return
        time.sleep(0.05)
    raise Failed(f"the proxy did not start: {log.read_text().strip()}")


def port_of(base_url: str) -> int:
    return int(base_url.split(":")[2].split("/")[0])


# ---- What it shows ----


def converse(base_url: str) -> float:
    """A conversation, the answers word by word; how long the application waited for them."""
    client = openai.OpenAI(base_url=base_url, api_key="none-needed")
    messages: list[ChatCompletionMessageParam] = []
    waited = 0.0
    for question in QUESTIONS:
        print()
        line("you", question)
        messages.append({"role": "user", "content": question})
        started = time.monotonic()
        answer = stream_answer(client, messages)
        waited += time.monotonic() - started
        messages.append({"role": "assistant", "content": answer})
    return waited


def stream_answer(client: openai.OpenAI, messages: list[ChatCompletionMessageParam]) -> str:
    print(f"  {style('2', f'{MODEL:9}')}", end="", flush=True)
    margin, answer = Margin(), ""
    with client.chat.completions.create(
        model=MODEL, messages=messages, temperature=0, max_tokens=MAX_TOKENS, stream=True
    ) as stream:
        for event in stream:
            words = event.choices[0].delta.content if event.choices else None
            if words:
                answer += words
                margin.write(words)
    print()
    return answer


def show_agent(base_url: str, plain: Tap, link: Tap) -> None:
    """The agent's turns as they end, and then what they took."""
    title("An agent of six turns: each sends the whole history again")
    client, steps = openai.OpenAI(base_url=base_url, api_key="none-needed"), list[Step]()
    for step in demo_agent.work(client, MODEL, plain, link):
        steps.append(step)
        line(f"turn {len(steps)}", f"{step.asked:28} {first_words(step.answered, 48)}")
    title("Bytes of each turn, heads and all: core to model, and on the link from edge to core")
    for number, wire, bar, leg in demo_agent.rows(steps, BAR):
        print(f"  {number:3}{wire:9}{painted(wire, f'{bar:{BAR}}')} {shown(leg)}")
    without = sum(step.plain.both for step in steps)
    linked = sum(step.link.both for step in steps)
    line("all six", f"{linked:,} bytes instead of {without:,}: {1 - linked / without:.1%} saved")


def first_words(text: str, size: int) -> str:
    words = " ".join(text.split())
    return words if len(words) <= size else words[: size - 1] + "…"


def painted(wire: str, bar: str) -> str:
    return style("32" if wire == "link" else "33", bar)


def shown(leg: Leg) -> str:
    return f"{leg.both:7,} = {leg.sent:6,} out + {leg.received:6,} back"


def show_added(edge: str, core: str, waited: float) -> None:
    title("What the two proxies added (GET /stats)")
    for name, stats in (("edge", figures(edge)), ("core", figures(core))):
        line(name, f"{stats['avg_latency_ms']:.3f} ms a request")
    line("model", f"{waited * 1e3:,.0f} ms for the {len(QUESTIONS)} answers of the chat")


def figures(base_url: str) -> dict[str, Any]:
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/stats", timeout=5) as reply:
        stats: dict[str, Any] = json.load(reply)
    return stats


def prove_identity(tap: Tap, direct: str, proxied: str) -> bool:
    title("Did it change anything?")
    results = [same_bytes(tap, proxied), same_answer(direct, proxied)]
    return all(results)


def request_body(stream: bool) -> bytes:
    """Spaces, escapes and key order that a proxy which rewrites JSON would not keep."""
    text = """{ "temperature":0.0, "model":"MODEL", "seed":1, "cache_prompt":false, "max_tokens":24,
    "stream":STREAM, "messages":[{"content":"Caf\\u00e9 or café?  Choose.","role":"user"}] }"""
    return text.replace("MODEL", MODEL).replace("STREAM", str(stream).lower()).encode()


def post(base_url: str, body: bytes) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(base_url), timeout=60)
    with contextlib.closing(connection):
        headers = {"Content-Type": "application/json", "Authorization": "Bearer none-needed"}
        connection.request("POST", "/v1/chat/completions", body, headers)
        reply = connection.getresponse()
        data = reply.read()
        if reply.status != 200:
            raise Failed(f"{base_url} answered {reply.status}: {data[:200]!r}")
        return data


def same_bytes(tap: Tap, proxied: str) -> bool:
    """What the application sent to the edge and got from it, against what a witness saw between
    core and model server."""
    sent = request_body(stream=True)
    tap.clear()
    received = post(proxied, sent)
    seen = tap.exchange()
    request_kept = verdict("request", sent, seen.request_body, "what the application sent")
    stream_kept = verdict("stream", seen.reply_body, received, "what the model server sent")
    return request_kept and stream_kept


def verdict(name: str, sent: bytes, arrived: bytes, what: str) -> bool:
    same = sent == arrived
    digest = hashlib.sha256(arrived).hexdigest()[:16]
    line(name, f"{judged(same)} {what}: {len(arrived):,} bytes, sha256 {digest}…")
    return same


def same_answer(direct: str, proxied: str) -> bool:
    """One question asked both ways; ids, dates and timings differ by nature."""
    body = request_body(stream=False)
    ours, theirs = (deterministic(json.loads(post(url, body))) for url in (proxied, direct))
    same = ours == theirs
    line("answer", f"{judged(same)} that without the proxy: words, finish reason, usage")
    if not same:
        print(f"{INDENT}{ours}\n{INDENT}{theirs}")
    return same


def judged(same: bool) -> str:
    return style("32", "exactly") if same else style("31", "NOT")


def deterministic(reply: dict[str, Any]) -> dict[str, Any]:
    return {key: reply[key] for key in ("choices", "model", "object", "usage")}


def show(directory: Path) -> bool:
    title("m2mproxy demo")
    with contextlib.ExitStack() as stack:
        model = stack.enter_context(model_server(directory))
        line("model", f"llama.cpp with SmolLM2-135M-Instruct at {model}")
        tap = stack.enter_context(tapped(port_of(model)))
        core = stack.enter_context(proxy(directory, "core", f"http://127.0.0.1:{tap.port}/v1"))
        between = stack.enter_context(tapped(port_of(core)))
        link = f"http://127.0.0.1:{between.port}/v1"
        base_url = stack.enter_context(proxy(directory, "edge", link, "--upstream-http", "2"))
        sdk = importlib.metadata.version("openai")
        line("client", f"OpenAI SDK {sdk}, base_url={base_url}")
        waited = converse(base_url)
        show_agent(base_url, tap, between)
        show_added(base_url, core, waited)
        return prove_identity(tap, model, base_url)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with tempfile.TemporaryDirectory(prefix="m2m-demo-") as directory:
            if show(Path(directory)):
                print()
                return 0
            print("\ndemo: the proxy changed what passed through it", file=sys.stderr)
    except KeyboardInterrupt:
        print("\ndemo: stopped", file=sys.stderr)
        return 130
    except (Failed, openai.OpenAIError, http.client.HTTPException, OSError) as failure:
        print(f"\ndemo: {failure}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
