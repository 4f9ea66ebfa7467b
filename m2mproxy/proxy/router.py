"""The upstream's request target for a client's: the configured URL, and what its provider wants.

How a configured upstream URL becomes the base of every request:

  * a path with a version segment (/v1, /api/paas/v4, /v1beta/openai) is the base as it stands;
  * any other path, the empty one included, is followed by the profile's `base_path`, of which the
    part that the path already ends in is not said twice: https://openrouter.ai/api and
    https://openrouter.ai both mean /api/v1, and http://gateway/team-a means /team-a/v1;
  * the profile `exact` adds nothing, for bases without a version (Databricks' /serving-endpoints);
  * classic Azure names a deployment in the path: the configured one, else the request's model.

The client's /v1 gives way to that base. A configured query is joined, except parameters that the
client gives itself. Paths under a profile's `native_prefixes` are the provider's own API and keep
their path; only what a gateway puts in front of the base is put in front of them too, and no
api-version is added.

The one rule: what follows the client's /v1, query included, is kept byte for byte.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from m2mproxy.proxy.providers import Profile


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
