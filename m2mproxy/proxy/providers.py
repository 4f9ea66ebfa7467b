"""What one LLM provider wants differently from another: paths, the key's header, api-version.

The one rule: a difference between providers is a value in a row of PROFILES, never an `if` on a
name elsewhere. What needs no help (rate-limit headers, request ids, SSE comments, error events) is
relayed as bytes and only noted beside its row, for the reader and for the replay tests.

How a configured upstream URL becomes the base of every request (`Router`):

  * a path with a version segment (/v1, /api/paas/v4, /v1beta/openai) is the base as it stands;
  * any other path, the empty one included, is followed by the profile's `base_path`, of which the
    part that the path already ends in is not said twice: https://openrouter.ai/api and
    https://openrouter.ai both mean /api/v1, and http://gateway/team-a means /team-a/v1;
  * the profile `exact` adds nothing, for bases without a version (Databricks' /serving-endpoints);
  * classic Azure names a deployment in the path: the configured one, else the request's model.

The client's /v1 gives way to that base. What follows it, query included, is kept byte for byte; a
configured query is joined, except parameters that the client gives itself. Paths under a profile's
`native_prefixes` are the provider's own API and keep their path; only what a gateway puts in front
of the base is put in front of them too, and no api-version is added.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

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


class DeploymentError(ValueError):
    """The request names no model, or one that cannot be a deployment: the client's fault, a 400."""


class Router:
    """Maps the targets of one upstream's requests. Built once; `target` is on the hot path.

    ValueError, raised when built, says what is wrong with the configured URL.
    """

    __slots__ = ("_deploy", "_endpoints", "_native", "_plain", "_prefix", "_query", "_root")

    def __init__(
        self, profile: Profile, base_path: str, base_query: str = "", api_version: str = ""
    ) -> None:
        root, base, deploy = _layout(profile, base_path)
        self._root = root.encode("ascii")
        self._prefix = base.encode("ascii")
        self._deploy = deploy.encode("ascii")
        self._endpoints = frozenset(p.encode() for p in profile.deployment_endpoints)
        self._native = tuple(p.encode() for p in profile.native_prefixes)
        self._query = _parameters(base_query, api_version or profile.api_version)
        self._plain = not (self._deploy or self._query)

    def is_native(self, target: bytes) -> bool:
        """Whether `target` is a path of the provider's own API, to be served beside /v1/."""
        return target.startswith(self._native)

    def needs_model(self, target: bytes) -> bool:
        """Whether the body's model must be read before `target` can be mapped."""
        return b"{model}" in self._deploy and _path(_after_v1(target)) in self._endpoints

    def target(self, client: bytes, model: str | None = None) -> bytes:
        """The upstream's request target for a client's, in origin form (RFC 9112 3.2.1).

        `client` is under /v1/, an alias without /v1, or native. DeploymentError: see there.
        """
        if self._plain and client.startswith(b"/v1/"):
            return self._prefix + client[3:]
        if not client.startswith(b"/"):
            raise ValueError("not a request target in origin form")
        if self.is_native(client):
            return _join(self._root + client, self._query, skip=b"api-version")
        rest = _after_v1(client)
        mapped = self._base(rest, model) + rest
        return _join(mapped if mapped.startswith(b"/") else b"/" + mapped, self._query)

    def _base(self, rest: bytes, model: str | None) -> bytes:
        if not self._deploy or _path(rest) not in self._endpoints:
            return self._prefix
        if b"{model}" not in self._deploy:
            return self._deploy
        return self._deploy.replace(b"{model}", _deployment(model))


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


# --- the configured URL --------------------------------------------------------------------------

_VERSIONED = re.compile(r"/v\d[a-z0-9.]*(?=/|$)")
_ENDPOINT = re.compile(r"/(?:(?:chat/)?completions|responses|embeddings)$")


def _layout(profile: Profile, path: str) -> tuple[str, str, str]:
    """Three prefixes: of native paths, of all others, of those below a deployment ("" if none)."""
    path = path.rstrip("/")
    if path and not path.startswith("/"):
        raise ValueError(f"path {path!r} does not start with /")
    if endpoint := _ENDPOINT.search(path):
        raise ValueError(f"path {path!r} is an endpoint: leave out {endpoint[0]}")
    if profile.deployment_path:
        return _deployment_layout(profile, path)
    base = path if _VERSIONED.search(path) else _followed_by(path, profile.base_path)
    root = base.removesuffix(profile.base_path) if base.endswith(profile.base_path) else ""
    return root, base, ""


def _deployment_layout(profile: Profile, path: str) -> tuple[str, str, str]:
    parent = profile.deployment_path.removesuffix("{model}")
    head, below, name = path.partition(parent)
    if "/" in name:
        raise ValueError(f"path {path!r} goes on after the deployment")
    if below:
        return head, head + profile.base_path, path
    if _VERSIONED.search(path):
        raise ValueError(f"path {path!r} has a version, but {profile.name} takes api-version")
    base = _followed_by(path.removesuffix(parent.rstrip("/")), profile.base_path)
    root = base.removesuffix(profile.base_path)
    return root, base, root + profile.deployment_path


def _followed_by(path: str, tail: str) -> str:
    """`path` and then `tail`, less the first segments of `tail` that `path` already ends in."""
    segments = tail.split("/")
    for count in range(len(segments), 1, -1):
        said = "/".join(segments[:count])
        if path.endswith(said):
            return path + tail[len(said) :]
    return path + tail


def _parameters(query: str, api_version: str) -> tuple[tuple[bytes, bytes], ...]:
    """(name, raw bytes) of each configured parameter, with api-version if it is not among them."""
    raw = [part for part in query.removeprefix("?").encode("ascii").split(b"&") if part]
    found = [(_name(part), part) for part in raw]
    if api_version and all(name != b"api-version" for name, _ in found):
        found.append((b"api-version", b"api-version=" + quote(api_version, safe="").encode()))
    return tuple(found)


# --- one request ---------------------------------------------------------------------------------

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.~-]+")
_DOTS = (".", "..")
_LONGEST_NAME = 256  # Azure's own limit is 64; without any, a client could grow the head at will


def _after_v1(target: bytes) -> bytes:
    """What follows /v1, or the whole of an alias that has no /v1."""
    return target[3:] if target.startswith(b"/v1") and target[3:4] in (b"/", b"?", b"") else target


def _path(target: bytes) -> bytes:
    return target.partition(b"?")[0]


def _name(parameter: bytes) -> bytes:
    return unquote_to_bytes(parameter.partition(b"=")[0])


def _join(target: bytes, configured: tuple[tuple[bytes, bytes], ...], skip: bytes = b"") -> bytes:
    """`target` with the configured parameters that it lacks; its own bytes stay as they are."""
    if not configured:
        return target
    _, question, query = target.partition(b"?")
    given = {_name(part) for part in query.split(b"&")} if query else set()
    lacking = [raw for name, raw in configured if name not in given and name != skip]
    if not lacking:
        return target
    glue = b"&" if query else b"" if question else b"?"
    return target + glue + b"&".join(lacking)


def _deployment(model: str | None) -> bytes:
    """`model` as one path segment; a body must not reach another resource with the server's key."""
    if not model:
        raise DeploymentError("the request names no model, which this upstream needs in its path")
    if model in _DOTS or len(model) > _LONGEST_NAME:
        raise DeploymentError("the model cannot be the name of a deployment")
    return (model if _PLAIN_NAME.fullmatch(model) else quote(model, safe="")).encode("ascii")
