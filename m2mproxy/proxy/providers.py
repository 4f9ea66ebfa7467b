"""What one LLM provider wants differently from another: paths, the key's header, api-version.

How a configured URL and these values make the target of a request is in router.py.

The one rule: a difference between providers is a value in a row of PROFILES, never an `if` on a
name elsewhere. What needs no help (rate-limit headers, request ids, SSE comments, error events) is
relayed as bytes and only noted beside its row, for the reader and for the replay tests.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from m2mproxy.http.headers import CREDENTIALS

# Where a client may bring a key of its own, whatever the provider. If any is there, the configured
# key stays here: mixing the two would lend the operator's account to somebody else's request.
#   authorization  OpenAI and most others; also AWS SigV4 and Microsoft Entra tokens
#                  https://developers.openai.com/api/reference/overview
#   api-key        Azure OpenAI https://learn.microsoft.com/azure/foundry/openai/reference
#   ocp-apim-subscription-key  Azure AI services and API Management
#                  https://learn.microsoft.com/azure/ai-services/authentication
#   x-api-key      Anthropic-style /v1/messages https://docs.claude.com/en/api/overview; LocalAI
#   xi-api-key     LocalAI https://localai.io/features/authentication/
#   x-goog-api-key Gemini's own API https://ai.google.dev/gemini-api/docs/api-key
CREDENTIAL_HEADERS: Final = CREDENTIALS - {b"cookie"}
# The values of one without a credential in it.
_EMPTY: Final = (b"", b"bearer")


@dataclass(frozen=True, slots=True)
class Profile:
    """One provider. Every field has the value that an ordinary OpenAI-compatible server wants."""

    name: str
    # Host patterns for `provider = "auto"`: ".x" is any host below x, "*" is one label.
    hosts: tuple[str, ...] = ()
    # Ports that betray a local server, believed on loopback only.
    ports: tuple[int, ...] = ()
    # What the client's /v1 becomes when the configured URL has no versioned path.
    base_path: str = "/v1"
    # Where the configured key goes, and in front of it.
    auth_header: bytes = b"authorization"
    auth_prefix: bytes = b"Bearer "
    credential_headers: frozenset[bytes] = CREDENTIAL_HEADERS
    # Base of `deployment_endpoints`, with {model} for the deployment; other paths use `base_path`.
    deployment_path: str = ""
    deployment_endpoints: tuple[str, ...] = ()
    # Default of a required api-version parameter; "" where none is required.
    api_version: str = ""
    # Codings of requests that it is known to read, and those that may be tried on it once (see
    # readable.py); the most bytes that it decodes, and what a coded request says besides.
    reads: tuple[bytes, ...] = ()
    tries: tuple[bytes, ...] = ()
    decodes: int = 8 << 20
    coded_headers: tuple[tuple[bytes, bytes], ...] = ()
    # Client paths beside /v1/ that are this provider's own API.
    native_prefixes: tuple[str, ...] = ()
    # What in the configured path and query betrays this profile on a host that nobody claims, and
    # the profile to which one that claims the host gives way when that one's mark is there.
    mark: str = ""
    variant: str = ""


_PROFILES: Final = (
    # https://developers.openai.com/api/reference/overview (Bearer; x-request-id, x-ratelimit-*,
    # openai-processing-ms). Regional hosts: openai-python `_data_residency.py`. A stream that
    # fails ends in `data: {"error": ...}` without [DONE]; deltas are padded ("obfuscation").
    Profile("openai", ("api.openai.com", ".api.openai.com")),
    # The v1 API: https://learn.microsoft.com/azure/foundry/openai/api-version-lifecycle (both host
    # forms, api-key or Bearer, no api-version). cognitiveservices: the form that the portal shows.
    # openai.azure.us: https://learn.microsoft.com/azure/ai-foundry/openai/azure-government.
    # Streams may open with a frame of empty `choices` (prompt_filter_results) and carry more of
    # them; the default filter releases text in blocks, so pauses are normal:
    # https://learn.microsoft.com/azure/foundry/openai/concepts/content-streaming.
    Profile(
        "azure",
        (
            ".openai.azure.com",
            ".services.ai.azure.com",
            ".cognitiveservices.azure.com",
            ".openai.azure.us",
        ),
        base_path="/openai/v1",
        auth_header=b"api-key",
        auth_prefix=b"",
        native_prefixes=("/openai/",),
        variant="azure-classic",
    ),
    # Dated versions: https://learn.microsoft.com/azure/ai-services/openai/reference, latest general
    # availability 2024-10-21. Only these endpoints live below a deployment, the others directly
    # below /openai (openai-python lib/azure.py `_deployments_endpoints`).
    Profile(
        "azure-classic",
        base_path="/openai",
        auth_header=b"api-key",
        auth_prefix=b"",
        deployment_path="/openai/deployments/{model}",
        deployment_endpoints=(
            "/completions",
            "/chat/completions",
            "/embeddings",
            "/audio/transcriptions",
            "/audio/translations",
            "/audio/speech",
            "/images/generations",
            "/images/edits",
        ),
        api_version="2024-10-21",
        native_prefixes=("/openai/",),
        mark=r"/openai/deployments(?:/|$|\?)|^(?!.*/openai/v1(?:/|$|\?)).*[?&]api-version=\d",
    ),
    # https://docs.aws.amazon.com/bedrock/latest/userguide/endpoints.html: "called on the /openai/v1
    # paths". An older page says /v1 (inference-chat-completions-mantle.html): then configure it.
    # Bearer key or SigV4, which signs Host and body:
    # https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys-use.html. FIPS and dual-stack
    # names: openai-python providers/bedrock.py. Silences of two minutes happen mid-stream.
    Profile(
        "bedrock",
        (
            "bedrock-runtime.*.amazonaws.com",
            "bedrock-runtime-fips.*.amazonaws.com",
            "bedrock-runtime.*.api.aws",
            "bedrock-runtime-fips.*.api.aws",
        ),
        base_path="/openai/v1",
    ),
    # https://docs.aws.amazon.com/bedrock/latest/userguide/inference-responses-api.html: most models
    # under /v1, some (GPT, what OpenAI's SDK assumes) under /openai/v1: then configure it. Events
    # of /responses have `data:` before `event:`, and no [DONE] follows (seen: corpus C4, s29).
    Profile("bedrock-mantle", ("bedrock-mantle.*.api.aws",)),
    # https://openrouter.ai/docs/api/reference/streaming: ": OPENROUTER PROCESSING" comments, errors
    # after the head as data events under 200, X-Generation-Id; Retry-After on 429 and 503. A plain
    # reply may wait in blank lines before its JSON (seen: corpus C5, r573). Regions:
    # https://openrouter.ai/docs/guides/features/in-region-routing.
    Profile("openrouter", ("openrouter.ai", ".openrouter.ai"), base_path="/api/v1"),
    # https://docs.together.ai/docs/inference/openai-compatibility; .xyz is the older name. Limits:
    # x-ratelimit-limit/remaining/reset, x-tokenlimit-*; overload is 503, one's own excess 429
    # (https://docs.together.ai/docs/rate-limits).
    Profile("together", ("api.together.ai", "api.together.xyz")),
    # https://console.groq.com/docs/openai. A failing stream ends in "event: error" without [DONE]
    # (seen: corpus C4, stream s40).
    Profile("groq", ("api.groq.com",), base_path="/openai/v1"),
    # https://api-docs.deepseek.com/quick_start/rate_limit: under load a stream waits in
    # ": keep-alive" comments and a plain reply in empty lines before its JSON.
    Profile("deepseek", ("api.deepseek.com",)),
    # https://ai.google.dev/gemini-api/docs/openai
    Profile("gemini", ("generativelanguage.googleapis.com",), base_path="/v1beta/openai"),
    # https://docs.fireworks.ai/tools-sdks/openai-compatibility
    Profile("fireworks", ("api.fireworks.ai",), base_path="/inference/v1"),
    # https://docs.vllm.ai/en/stable/serving/online_serving/openai_compatible_server/: --api-key
    # guards /v1 only, so its other paths stay unreachable here. A failing stream says
    # `data: {"error": ...}` and still [DONE]. Port 8000 is everybody's, so "auto" ignores it.
    Profile("vllm"),
    # https://docs.sglang.io/docs/basic_usage/send_request
    # Reads zstd where its operator has switched that on, and then wants to be told twice.
    Profile(
        "sglang",
        ports=(30000,),
        tries=(b"zstd",),
        coded_headers=((b"x-body-compressed", b"zstd"),),
    ),
    # https://docs.ollama.com/api/openai-compatibility; Bearer for ollama.com, no key locally
    # (https://docs.ollama.com/api/authentication). Its own /api/* can pull and delete models and
    # is not served.
    # 0.18 and later read exactly zstd on /v1/*, in one frame; earlier ones answer 400.
    Profile("ollama", ("ollama.com", ".ollama.com"), ports=(11434,), reads=(b"zstd",)),
    # https://localai.io/features/authentication/ (Bearer, x-api-key, xi-api-key; port 8080, shared
    # with llama.cpp). https://localai.io/reference/api-errors/.
    Profile("localai"),
    # https://huggingface.co/docs/text-generation-inference/reference/api_reference. Keep-alive
    # comments by axum; every stream ends in [DONE], failed ones too (router/src/server.rs); plain
    # errors are {"error": "...", "error_type": "..."}.
    Profile("tgi"),
    # https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md; captured:
    # ":\n\n" pings, Connection: close on every error and every 100th reply.
    Profile("llamacpp"),
    Profile("exact", base_path=""),
    Profile("generic"),
)

PROFILES: Final = {profile.name: profile for profile in _PROFILES}


def profile_for(name: str, host: str, port: int, path: str) -> Profile:
    """The profile that the configuration names, or for "auto" the one that the upstream suggests.

    `path` is that of the configured URL with its query. ValueError names what may be chosen.
    """
    if name == "auto":
        chosen = _detect(host.lower().rstrip("."), port, path)
    elif name in PROFILES:
        chosen = PROFILES[name]
    else:
        raise ValueError(f"unknown provider {name!r}: choose auto, {', '.join(PROFILES)}")
    variant = PROFILES.get(chosen.variant)
    return variant if variant is not None and re.search(variant.mark, path) else chosen


def has_credential(profile: Profile, fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the client brings a key of its own, so that the configured one must not be added.
    A field that has no key in it is none: OpenAI's SDK cannot leave it out, only empty."""
    names = profile.credential_headers
    for name, value in fields:  # noqa: SIM110  two to four times as fast as any() or isdisjoint()
        if name in names and value.strip().lower() not in _EMPTY:
            return True
    return False


def key_field(profile: Profile, key: bytes) -> tuple[bytes, bytes]:
    """The header field that carries the configured key to this provider."""
    return profile.auth_header, profile.auth_prefix + key


# --- which provider ------------------------------------------------------------------------------


def _detect(host: str, port: int, path: str) -> Profile:
    for profile in _PROFILES:
        if any(_host_matches(pattern, host) for pattern in profile.hosts):
            return profile
    local = _is_loopback(host)
    for profile in _PROFILES:
        if (local and port in profile.ports) or (profile.mark and re.search(profile.mark, path)):
            return profile
    return PROFILES["generic"]


def _host_matches(pattern: str, host: str) -> bool:
    labels = re.escape(pattern).replace(r"\*", "[^.]+")
    return re.fullmatch(".+" + labels if pattern.startswith(".") else labels, host) is not None


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 6.3
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
