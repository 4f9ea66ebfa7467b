"""How bodies are coded towards one upstream and its clients, and what is counted of them, as the
configuration has it.

The one rule: "auto" uses a coding only for a peer that has shown that it reads it, and only where
bytes cross a wire; the name of a coding uses that one, on the operator's word; "off" touches
nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from m2mproxy.codec import events
from m2mproxy.codec.token_native import Vocabularies
from m2mproxy.config import Compression, Config
from m2mproxy.http.headers import Headers
from m2mproxy.proxy import codings
from m2mproxy.proxy.forms import Forms
from m2mproxy.proxy.providers import Profile
from m2mproxy.proxy.readable import Readable
from m2mproxy.proxy.request_coding import RequestCoding
from m2mproxy.proxy.response_coding import ResponseCoding
from m2mproxy.proxy.room import Room
from m2mproxy.proxy.sealing import BothSeal, PeerSeal
from m2mproxy.proxy.tally import Submit, Tallies

# Bytes of a request that is sealed: it is held whole, and no frame carries more than 1 GiB.
_MOST_SEALED = 1 << 29


def forms_of(config: Config, aead: BothSeal | None, vocabularies: Vocabularies) -> Forms:
    """What this instance reads and writes. `aead` has the key of `peer.psk_file`, where one is set;
    whoever loaded the configuration made it, since it takes ten megabytes that few need."""
    peer = config.peer
    if aead is None:
        return Forms(vocabularies=vocabularies)
    seal = PeerSeal(peer.psk, peer.seal, aead)
    return Forms(seal, peer.required, min(config.max_body, _MOST_SEALED), vocabularies)


def request_coding(
    config: Compression, profile: Profile, clock: Callable[[], float], forms: Forms
) -> RequestCoding:
    """For the requests to an upstream of that profile."""
    wanted: tuple[bytes, ...] = ()
    configured: tuple[bytes, ...] = ()
    if config.requests == "auto":
        wanted = codings.requests()
    elif config.requests != "off":
        wanted = configured = (config.requests.encode(),)
    readable = Readable(clock, profile.reads, profile.tries, configured)
    extra = Headers(profile.coded_headers)
    return RequestCoding(
        readable, wanted, config.min_size, config.level, extra, forms, profile.decodes
    )


def response_coding(config: Compression, upstream_host: str, forms: Forms) -> ResponseCoding:
    """For the responses of the upstream at that host."""
    if config.responses != "off":
        events.prepare()
    near = upstream_host in ("localhost", "::1") or upstream_host.startswith("127.")
    return ResponseCoding(config.responses, config.min_size, config.level, near, forms)


def tallies_of(config: Config, submit: Submit | None) -> Tallies | None:
    """What becomes of the tokens of exchanges; `submit` takes what is to be counted."""
    if config.tokens.count == "off":
        return None
    return Tallies(submit if config.tokens.count == "all" else None, Room())
