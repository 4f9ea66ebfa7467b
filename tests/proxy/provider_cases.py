"""One case for every response in provider_fixtures/: what is asked through the proxy of whom.

The relay test replays the fixture as the upstream's answer; test_providers checks the rest. What
each file is and where its bytes come from stands in provider_fixtures/SOURCES.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FIXTURES = Path(__file__).parent / "provider_fixtures"
KEY = b"configured-key"
BEARER = (b"authorization", b"Bearer " + KEY)
API_KEY = (b"api-key", KEY)
CHAT = b"/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class Case:
    fixture: str  # file name without .http
    profile: str  # what "auto" must find, unless `named`
    upstream: str  # the configured URL
    expected: bytes  # the request target that the upstream must see
    auth: tuple[bytes, bytes] = BEARER  # the field that carries KEY to it
    target: bytes = CHAT  # what the client asks of the proxy
    model: str | None = None  # the body's model, where the path needs it
    named: bool = False  # nothing in the URL betrays the provider: it is configured by name

    def response(self) -> bytes:
        """The upstream's answer, a whole HTTP/1.1 response."""
        return (FIXTURES / f"{self.fixture}.http").read_bytes()


_OPENAI = "https://api.openai.com/v1"
_DEPLOYMENT = "https://example.openai.azure.com/openai/deployments/gpt-4o?api-version=2024-10-21"
_GPT4O = b"/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
_ROUTER = "https://openrouter.ai/api/v1"
_OLLAMA = "http://localhost:11434"

CASES = (
    Case("openai_stream", "openai", _OPENAI, CHAT),
    Case("openai_rate_limited", "openai", _OPENAI, CHAT),
    Case("openai_stream_fails", "openai", "https://eu.api.openai.com", CHAT),
    Case(
        "azure_responses",
        "azure",
        "https://example.openai.azure.com",
        b"/openai/v1/responses",
        API_KEY,
        target=b"/v1/responses",
    ),
    Case("azure_classic_stream", "azure-classic", _DEPLOYMENT, _GPT4O, API_KEY),
    Case(
        "azure_classic_throttled",
        "azure-classic",
        "https://example.openai.azure.com/?api-version=2024-10-21",
        _GPT4O,
        API_KEY,
        model="gpt-4o",
    ),
    Case(
        "bedrock_chat",
        "bedrock",
        "https://bedrock-runtime.us-west-2.amazonaws.com",
        b"/openai/v1/chat/completions",
    ),
    Case(
        "bedrock_mantle_responses",
        "bedrock-mantle",
        "https://bedrock-mantle.us-east-1.api.aws/openai/v1",
        b"/openai/v1/responses",
        target=b"/v1/responses",
    ),
    Case("openrouter_stream", "openrouter", _ROUTER, b"/api/v1/chat/completions"),
    Case("openrouter_stream_fails", "openrouter", _ROUTER, b"/api/v1/chat/completions"),
    Case("openrouter_waits", "openrouter", "https://openrouter.ai", b"/api/v1/chat/completions"),
    Case("together_stream", "together", "https://api.together.ai/v1", CHAT),
    Case(
        "groq_stream_fails",
        "groq",
        "https://api.groq.com",
        b"/openai/v1/chat/completions",
        target=b"/chat/completions",
    ),
    Case("deepseek_waits", "deepseek", "https://api.deepseek.com", CHAT),
    Case("deepseek_stream_waits", "deepseek", "https://api.deepseek.com/v1", CHAT),
    Case("vllm_stream", "vllm", "http://127.0.0.1:8000/v1", CHAT, named=True),
    Case("vllm_stream_fails", "vllm", "http://127.0.0.1:8000/v1", CHAT, named=True),
    Case("vllm_unknown_model", "vllm", "http://127.0.0.1:8000", CHAT, named=True),
    Case("ollama_stream", "ollama", _OLLAMA + "/v1/", CHAT),
    Case("ollama_not_found", "ollama", _OLLAMA, CHAT),
    Case("localai_stream", "localai", "http://localhost:8080/v1", CHAT, named=True),
    Case("localai_bad_request", "localai", "http://localhost:8080/v1", CHAT, named=True),
    Case("tgi_stream", "tgi", "http://localhost:3000/v1", CHAT, named=True),
    Case("tgi_stream_fails", "tgi", "http://localhost:3000/v1", CHAT, named=True),
    Case("tgi_overloaded", "tgi", "http://localhost:3000/v1", CHAT, named=True),
    Case("llamacpp_stream", "llamacpp", "http://127.0.0.1:18080/v1", CHAT, named=True),
    Case("llamacpp_bad_json", "llamacpp", "http://127.0.0.1:18080/v1", CHAT, named=True),
    Case("sse_starlette_stream", "generic", "http://127.0.0.1:18090/v1", CHAT),
)
