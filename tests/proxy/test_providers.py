"""Providers: which one an upstream is, where its paths are, who gets the configured key."""

from __future__ import annotations

import dataclasses
from urllib.parse import urlsplit

import h11
import pytest
from provider_cases import CASES, FIXTURES, KEY, Case

from m2mproxy.proxy.providers import PROFILES, has_credential, key_field, profile_for
from m2mproxy.proxy.router import DeploymentError, Router

CHAT = b"/v1/chat/completions"
LONG_URL = b"/v1/files/a%2Fb//c;p=%20?q=%C3%A9&q=+&&x"


# --- paths ---------------------------------------------------------------------------------------

# provider, configured path, configured query, client's target, upstream's target
PATHS = [
    # An ordinary server: with /v1, without, behind a prefix.
    ("generic", "", "", CHAT, CHAT),
    ("generic", "/", "", CHAT, CHAT),
    ("generic", "/v1", "", CHAT, CHAT),
    ("generic", "/v1/", "", CHAT, CHAT),
    ("generic", "/prefix", "", CHAT, b"/prefix/v1/chat/completions"),
    ("generic", "/prefix/", "", CHAT, b"/prefix/v1/chat/completions"),
    ("generic", "/prefix/v1", "", CHAT, b"/prefix/v1/chat/completions"),
    ("generic", "/a/b/c", "", b"/v1/models", b"/a/b/c/v1/models"),
    # A versioned path is the whole base, wherever the version stands in it.
    ("generic", "/api/paas/v4", "", CHAT, b"/api/paas/v4/chat/completions"),
    ("generic", "/v1beta/openai", "", CHAT, b"/v1beta/openai/chat/completions"),
    ("generic", "/api/v2/cortex/v1", "", CHAT, b"/api/v2/cortex/v1/chat/completions"),
    (
        "generic",
        "/v1/projects/p/locations/l/endpoints/openapi",
        "",
        CHAT,
        b"/v1/projects/p/locations/l/endpoints/openapi/chat/completions",
    ),
    ("generic", "/v1.5", "", CHAT, b"/v1.5/chat/completions"),
    # What only looks like a version is a prefix.
    ("generic", "/vendor", "", CHAT, b"/vendor/v1/chat/completions"),
    ("generic", "/v", "", CHAT, b"/v/v1/chat/completions"),
    ("generic", "/v1-proxy", "", CHAT, b"/v1-proxy/v1/chat/completions"),
    # The alias, /v1 alone, and what only looks like /v1.
    ("generic", "/prefix", "", b"/chat/completions", b"/prefix/v1/chat/completions"),
    ("generic", "/prefix", "", b"/chat/completions?x=1", b"/prefix/v1/chat/completions?x=1"),
    ("generic", "/prefix", "", b"/v1", b"/prefix/v1"),
    ("generic", "/prefix", "", b"/v1/", b"/prefix/v1/"),
    ("generic", "/prefix", "", b"/v1?x=1", b"/prefix/v1?x=1"),
    ("generic", "/prefix", "", b"/v10/x", b"/prefix/v1/v10/x"),
    # The client's bytes stay, whatever they are.
    ("generic", "/p/v1", "", LONG_URL, b"/p" + LONG_URL),
    ("generic", "", "", b"/v1/chat/completions?", b"/v1/chat/completions?"),
    ("generic", "/p%20q", "", b"/v1/x", b"/p%20q/v1/x"),
    # A configured query is joined, unless the client gives the parameter itself.
    ("generic", "/v1", "key=s%2B", CHAT, CHAT + b"?key=s%2B"),
    ("generic", "/v1", "?key=s", CHAT, CHAT + b"?key=s"),
    ("generic", "/v1", "a=1&b", b"/v1/x?c=3", b"/v1/x?c=3&a=1&b"),
    ("generic", "/v1", "a=1&b=2", b"/v1/x?b=9", b"/v1/x?b=9&a=1"),
    ("generic", "/v1", "a=1", b"/v1/x?%61=9", b"/v1/x?%61=9"),
    ("generic", "/v1", "a=1", b"/v1/x?", b"/v1/x?a=1"),
    ("generic", "/v1", "a=1", b"/v1/x?aa=1&&", b"/v1/x?aa=1&&&a=1"),
    ("generic", "/v1", "a=1&a=2", b"/v1/x", b"/v1/x?a=1&a=2"),
    # Bases elsewhere; what the configured path already says is not said twice.
    ("openrouter", "", "", CHAT, b"/api/v1/chat/completions"),
    ("openrouter", "/api", "", CHAT, b"/api/v1/chat/completions"),
    ("openrouter", "/api/v1", "", CHAT, b"/api/v1/chat/completions"),
    ("openrouter", "/gw", "", CHAT, b"/gw/api/v1/chat/completions"),
    ("bedrock", "", "", CHAT, b"/openai/v1/chat/completions"),
    ("bedrock", "/v1", "", CHAT, b"/v1/chat/completions"),
    ("bedrock-mantle", "", "", CHAT, CHAT),
    ("bedrock-mantle", "/openai/v1", "", CHAT, b"/openai/v1/chat/completions"),
    ("groq", "/openai", "", CHAT, b"/openai/v1/chat/completions"),
    ("gemini", "", "", CHAT, b"/v1beta/openai/chat/completions"),
    ("gemini", "/v1beta/openai/", "", CHAT, b"/v1beta/openai/chat/completions"),
    ("fireworks", "", "", b"/v1/models", b"/inference/v1/models"),
    ("exact", "", "", CHAT, b"/chat/completions"),
    ("exact", "", "", b"/v1?x", b"/?x"),
    ("exact", "/serving-endpoints", "", CHAT, b"/serving-endpoints/chat/completions"),
    ("exact", "/inference", "", b"/chat/completions", b"/inference/chat/completions"),
    # Ollama's own API keeps its path, and what a gateway puts in front of the base.
    ("ollama", "/ollama", "", CHAT, b"/ollama/v1/chat/completions"),
    # Azure, v1: the OpenAI SDK by way of /v1/, Azure's own clients by way of /openai/.
    ("azure", "", "", CHAT, b"/openai/v1/chat/completions"),
    ("azure", "/openai", "", CHAT, b"/openai/v1/chat/completions"),
    ("azure", "/openai/v1/", "", b"/v1/responses", b"/openai/v1/responses"),
    ("azure", "", "", b"/openai/v1/models", b"/openai/v1/models"),
    ("azure", "/gw/openai/v1", "", b"/openai/v1/models", b"/gw/openai/v1/models"),
    (
        "azure",
        "",
        "",
        b"/openai/deployments/m/chat/completions?api-version=2025-01-01-preview",
        b"/openai/deployments/m/chat/completions?api-version=2025-01-01-preview",
    ),
    (
        "azure",
        "/openai/v1",
        "api-version=preview",
        CHAT,
        b"/openai" + CHAT + b"?api-version=preview",
    ),
    # Azure, dated: what is not below a deployment is directly below /openai.
    ("azure-classic", "/openai/deployments/d", "", b"/v1/models", b"/openai/models"),
    ("azure-classic", "", "", b"/v1/files?purpose=batch", b"/openai/files?purpose=batch"),
    ("azure-classic", "/gw", "", b"/v1/responses", b"/gw/openai/responses"),
    ("azure-classic", "/openai", "", b"/v1/chat/completions/c1", b"/openai/chat/completions/c1"),
    (
        "azure-classic",
        "/openai/deployments/d",
        "",
        b"/chat/completions",
        b"/openai/deployments/d/chat/completions",
    ),
    (
        "azure-classic",
        "/gw/openai/deployments/a%20b/",
        "",
        b"/v1/embeddings",
        b"/gw/openai/deployments/a%20b/embeddings",
    ),
]


@pytest.mark.parametrize(("name", "path", "query", "target", "expected"), PATHS)
def test_the_target_that_each_profile_makes(
    name: str, path: str, query: str, target: bytes, expected: bytes
) -> None:
    if name == "azure-classic":
        glue = b"&" if b"?" in expected else b"?"
        expected += glue + b"api-version=2024-10-21"
    assert Router(PROFILES[name], path, query).target(target, None) == expected


@pytest.mark.parametrize(
    ("base", "model", "segment"),
    [
        ("", "gpt-4o", b"gpt-4o"),
        ("/openai", "gpt-4o_mini.2~x", b"gpt-4o_mini.2~x"),
        ("/openai/deployments", "gpt", b"gpt"),
        ("/openai/deployments/{model}", "gpt", b"gpt"),
        ("", "a/b", b"a%2Fb"),
        ("", "../../x", b"..%2F..%2Fx"),
        ("", "a?b#c%d e", b"a%3Fb%23c%25d%20e"),
        ("", "é\r\n", b"%C3%A9%0D%0A"),
        ("", "{model}", b"%7Bmodel%7D"),
    ],
)
def test_the_model_names_the_deployment(base: str, model: str, segment: bytes) -> None:
    router = Router(PROFILES["azure-classic"], base)
    assert router.needs_model(CHAT)
    assert router.target(CHAT + b"?a=1", model) == (
        b"/openai/deployments/" + segment + b"/chat/completions?a=1&api-version=2024-10-21"
    )


@pytest.mark.parametrize("model", [None, "", ".", "..", "x" * 257])
def test_a_model_that_is_no_deployment_is_the_clients_fault(model: str | None) -> None:
    with pytest.raises(DeploymentError):
        Router(PROFILES["azure-classic"], "").target(CHAT, model)


def test_needs_model_only_below_an_open_deployment() -> None:
    classic = PROFILES["azure-classic"]
    assert not Router(classic, "/openai/deployments/d").needs_model(CHAT)
    assert not Router(PROFILES["azure"], "").needs_model(CHAT)
    router = Router(classic, "")
    assert not router.needs_model(b"/v1/models")
    assert not router.needs_model(b"/openai/deployments/d/chat/completions")
    for endpoint in classic.deployment_endpoints:
        assert router.needs_model(b"/v1" + endpoint.encode() + b"?x=1")
        assert router.needs_model(endpoint.encode())


def test_api_version_comes_from_the_client_the_url_the_option_the_profile_in_this_order() -> None:
    classic = PROFILES["azure-classic"]

    def version(client: bytes, query: str, option: str) -> bytes:
        sent = Router(classic, "", query, option).target(b"/v1/models" + client, None)
        return sent.removeprefix(b"/openai/models?")

    assert version(b"?api-version=c", "api-version=u", "o") == b"api-version=c"
    assert version(b"", "api-version=u", "o") == b"api-version=u"
    assert version(b"", "", "o&x") == b"api-version=o%26x"
    assert version(b"", "", "") == b"api-version=2024-10-21"


def test_native_paths_get_no_api_version_but_the_rest_of_the_query() -> None:
    router = Router(PROFILES["azure-classic"], "", "api-version=2024-10-21&code=k")
    assert router.target(b"/openai/v1/models") == b"/openai/v1/models?code=k"
    assert router.is_native(b"/openai/v1/models")
    assert not router.is_native(b"/v1/models")
    assert not Router(PROFILES["openai"], "").is_native(b"/openai/v1/models")


@pytest.mark.parametrize(
    ("name", "path", "says"),
    [
        ("generic", "v1", "start with /"),
        ("generic", "/v1/chat/completions", "leave out /chat/completions"),
        ("azure-classic", "/openai/deployments/d/chat/completions", "leave out"),
        ("azure-classic", "/openai/deployments/d/x", "goes on after the deployment"),
        ("azure-classic", "/openai/v1", "has a version"),
        ("generic", "/é", "ascii"),
    ],
)
def test_a_path_that_cannot_work_is_refused_when_built(name: str, path: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Router(PROFILES[name], path)


@pytest.mark.parametrize("target", [b"*", b"http://h/v1/x", b"", b"h:443"])
def test_only_origin_form_is_mapped(target: bytes) -> None:
    with pytest.raises(ValueError, match="origin form"):
        Router(PROFILES["generic"], "").target(target)


def test_deployment_paths_are_those_of_openais_own_azure_client() -> None:
    httpx = pytest.importorskip("httpx2")
    openai = pytest.importorskip("openai")
    seen: list[bytes] = []

    def answer(request: object) -> object:
        seen.append(request.url.raw_path)  # type: ignore[attr-defined]
        return httpx.Response(200, json={})

    client = openai.AzureOpenAI(
        azure_endpoint="https://example.openai.azure.com",
        api_key="k",
        api_version="2024-10-21",
        http_client=httpx.Client(transport=httpx.MockTransport(answer)),
    )
    classic = PROFILES["azure-classic"]
    router = Router(classic, "")
    for endpoint in (*classic.deployment_endpoints, "/responses", "/files", "/moderations"):
        client.post(endpoint, cast_to=object, body={"model": "a b/c"})
        assert router.target(b"/v1" + endpoint.encode(), "a b/c") == seen[-1]


# --- which provider ------------------------------------------------------------------------------

DETECTED = [
    ("https://api.openai.com/v1", "openai"),
    ("https://us.api.openai.com", "openai"),
    ("https://API.OpenAI.com./v1", "openai"),
    ("https://notapi.openai.com", "generic"),
    ("https://api.openai.com.example.org", "generic"),
    ("https://r.openai.azure.com", "azure"),
    ("https://r.openai.azure.com/openai/v1", "azure"),
    ("https://r.openai.azure.com/openai/v1?api-version=preview", "azure"),
    ("https://r.openai.azure.com/openai/v1/?api-version=2025-04-01", "azure"),
    ("https://r.openai.azure.com?api-version=preview", "azure"),
    ("https://r.services.ai.azure.com/openai/v1", "azure"),
    ("https://r.services.ai.azure.com/api/projects/p/openai/v1", "azure"),
    ("https://r.openai.azure.us", "azure"),
    ("https://openai.azure.com", "generic"),
    ("https://r.openai.azure.com/openai/deployments/d", "azure-classic"),
    ("https://r.openai.azure.com/openai/deployments", "azure-classic"),
    ("https://r.openai.azure.com/openai/deployments/d?api-version=preview", "azure-classic"),
    ("https://r.openai.azure.com?api-version=2024-10-21", "azure-classic"),
    ("https://r.cognitiveservices.azure.com/openai/deployments/v1", "azure-classic"),
    ("https://gateway.example/llm/openai/deployments/d", "azure-classic"),
    ("https://openrouter.ai/openai/deployments/d", "openrouter"),
    ("https://bedrock-runtime.eu-central-1.amazonaws.com", "bedrock"),
    ("https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "bedrock"),
    ("https://bedrock-runtime.us-east-1.api.aws", "bedrock"),
    ("https://bedrock-mantle.us-east-1.api.aws", "bedrock-mantle"),
    ("https://s3.us-east-1.amazonaws.com", "generic"),
    ("https://bedrock-runtime.a.b.amazonaws.com", "generic"),
    ("https://openrouter.ai/api/v1", "openrouter"),
    ("https://eu.openrouter.ai", "openrouter"),
    ("https://api.together.ai/v1", "together"),
    ("https://api.together.xyz/v1", "together"),
    ("https://api.groq.com/openai/v1", "groq"),
    ("https://api.deepseek.com", "deepseek"),
    ("https://generativelanguage.googleapis.com/v1beta/openai/", "gemini"),
    ("https://api.fireworks.ai/inference/v1", "fireworks"),
    ("https://ollama.com/v1", "ollama"),
    ("http://localhost:11434/v1", "ollama"),
    ("http://127.0.0.1:11434", "ollama"),
    ("http://127.8.8.8:11434", "ollama"),
    ("http://[::1]:11434", "ollama"),
    ("http://a.localhost:11434", "ollama"),
    ("http://192.168.1.2:11434", "generic"),
    ("http://ollama.example:11434", "generic"),
    ("http://localhost:30000", "sglang"),
    ("http://localhost:8000/v1", "generic"),
    ("http://localhost:8080/v1", "generic"),
    ("http://localhost:3000/v1", "generic"),
]


def find(url: str, name: str = "auto") -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    path = parts.path + ("?" + parts.query if parts.query else "")
    return profile_for(name, parts.hostname or "", port, path).name


@pytest.mark.parametrize(("url", "name"), DETECTED)
def test_auto(url: str, name: str) -> None:
    assert find(url) == name


def test_a_named_provider_is_believed() -> None:
    for name in PROFILES:
        assert find("https://api.openai.com/v1", name) == name
    assert find("http://gw/openai/deployments/d", "generic") == "generic"


def test_azure_by_name_still_tells_its_two_dialects_apart() -> None:
    assert find("http://gw/openai/deployments/d", "azure") == "azure-classic"
    assert find("http://gw/openai/v1", "azure") == "azure"


def test_an_unknown_provider_is_refused_with_the_choice() -> None:
    with pytest.raises(ValueError, match=r"'nope': choose auto, openai, azure, .*generic"):
        profile_for("nope", "h", 1, "")


# --- the key -------------------------------------------------------------------------------------


def test_the_key_goes_where_the_provider_reads_it() -> None:
    azure = {"azure", "azure-classic"}
    for name, profile in PROFILES.items():
        bearer = (b"authorization", b"Bearer k")
        assert key_field(profile, b"k") == ((b"api-key", b"k") if name in azure else bearer)


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize(
    "header",
    [
        b"authorization",
        b"api-key",
        b"x-api-key",
        b"xi-api-key",
        b"x-goog-api-key",
        b"ocp-apim-subscription-key",
    ],
)
def test_a_clients_own_key_keeps_the_configured_one_back(name: str, header: bytes) -> None:
    fields = [(b"host", b"h"), (header, b"k"), (b"accept", b"*/*")]
    assert has_credential(PROFILES[name], fields)
    for empty in (b"", b" ", b"Bearer", b"bearer "):
        fields[1] = (header, empty)
        assert not has_credential(PROFILES[name], fields)
        assert has_credential(PROFILES[name], [*fields, (header, b"k")])


def test_other_fields_are_no_credential() -> None:
    fields = [
        (b"host", b"authorization"),
        (b"openai-organization", b"org"),
        (b"anthropic-version", b"2023-06-01"),
        (b"x-api-keys", b"k"),
        (b"proxy-authorization", b"Basic eDp5"),  # for us, and it goes no further
    ]
    assert not has_credential(PROFILES["openai"], fields)
    assert not has_credential(PROFILES["openai"], [])


# --- the table -----------------------------------------------------------------------------------


def test_the_table_is_sound() -> None:
    claimed: set[str] = set()
    for name, profile in PROFILES.items():
        assert profile.name == name != "auto"
        assert not claimed & set(profile.hosts)
        claimed |= set(profile.hosts)
        assert profile.auth_header in profile.credential_headers
        assert profile.base_path == "" or profile.base_path.startswith("/")
        assert not profile.base_path.endswith("/")
        for prefix in profile.native_prefixes:
            assert prefix.startswith("/") and prefix.endswith("/")
            assert not prefix.startswith("/v1/")  # the hot path does not look for it there
        for endpoint in profile.deployment_endpoints:
            assert profile.deployment_path.endswith("/{model}") and endpoint.startswith("/")
        assert not profile.variant or PROFILES[profile.variant].mark


def test_profiles_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PROFILES["openai"].base_path = "/x"  # type: ignore[misc]


# --- the fixtures --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fixture)
def test_case(case: Case) -> None:
    assert find(case.upstream, case.profile if case.named else "auto") == case.profile
    profile = PROFILES[case.profile]
    parts = urlsplit(case.upstream)
    router = Router(profile, parts.path, parts.query)
    assert router.needs_model(case.target) == (case.model is not None)
    assert router.target(case.target, case.model) == case.expected
    assert key_field(profile, KEY) == case.auth


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fixture)
def test_fixture_is_one_whole_response(case: Case) -> None:
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(case.response())
    head = reader.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while isinstance(event := reader.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert reader.trailing_data == (b"", False)
    stream = dict(head.headers)[b"content-type"].startswith(b"text/event-stream")
    assert body.endswith((b"\n\n", b"\r\n\r\n")) if stream else body


def test_every_fixture_has_a_case_and_a_source() -> None:
    files = {path.stem for path in FIXTURES.glob("*.http")}
    assert files == {case.fixture for case in CASES}
    sources = (FIXTURES / "SOURCES.md").read_text()
    assert not {name for name in files if f"`{name}`" not in sources}
    # Every provider that issue 2 names, and Azure both ways.
    assert {case.profile for case in CASES} >= {
        *("openai", "azure", "azure-classic", "bedrock", "openrouter"),
        *("together", "vllm", "ollama", "localai", "tgi"),
    }
