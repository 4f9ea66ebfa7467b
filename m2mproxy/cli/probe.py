"""`m2m probe`: what an origin accepts, and how that is known.

The one rule: it asks once, as an m2mproxy in front of that origin would; only `--trial` sends more,
and none of that makes a model work. All that is printed comes from an answer or from a profile, and
says from which.
"""

import argparse
from typing import Any

from m2mproxy.cli.data import guarded, say, write_json, write_lines
from m2mproxy.cli.options import EXIT_FAILURE, EXIT_USAGE, Parser
from m2mproxy.config import KEYS, Config, ConfigError, load, printable

# The flags and the keys of the configuration that they are, and what help says of them.
_SETTINGS = (
    ("--key-file", "proxy.api_key_file", "FILE", "file that holds the key of the origin"),
    ("--provider", "proxy.provider", "NAME", "profile of the origin (default: auto)"),
    ("--http", "proxy.upstream_http", "VERSION", "HTTP version: auto (default), 1.1 or 2"),
    ("--ca-file", "proxy.ca_file", "FILE", "certificates to verify it against, in PEM"),
    ("--upstream-cert", "proxy.tls.upstream_cert", "FILE", "certificate to show it, in PEM"),
    ("--upstream-key", "proxy.tls.upstream_key", "FILE", "its key, if that is in another file"),
    ("--timeout", "proxy.timeouts.connect", "TIME", "to connect, and to answer (default: 10s)"),
)
_INSECURE, _UPSTREAM = "proxy.tls.insecure", "proxy.upstream"
_WIDTH = 13
# Why an m2mproxy is seen that offers no link.
_NO_OFFER = " (link.enabled is off there, it has a key of [peer], or something stands between)"


def add_probe(probe: Parser) -> None:
    probe.add_argument("url", metavar="URL", help="the origin, as --upstream names it")
    for flag, path, metavar, about in _SETTINGS:
        probe.add_argument(flag, dest=path, metavar=metavar, help=about)
    probe.add_argument("--insecure", action="store_true", help="do not verify its certificate")
    probe.add_argument(
        "--trial", action="store_true", help="send coded requests too, which it has to refuse"
    )
    probe.add_argument("--json", action="store_true", help="print JSON")
    probe.set_defaults(run=guarded(_probe))


def _probe(args: argparse.Namespace) -> int:
    import asyncio

    from m2mproxy.cli.probe_origin import look
    from m2mproxy.service.upstream import parts

    try:
        config = _config(args)
        built = parts(config)
    except ConfigError as error:
        error.key = _name(error.key)
        say(str(error))
        return EXIT_USAGE
    seen = asyncio.run(look(config, built, args.trial))
    if args.json:
        write_json(seen)
    elif seen["reachable"]:
        write_lines(_report(seen))
    if not seen["reachable"]:
        say(str(seen["message"]))
        return EXIT_FAILURE
    return 0


def _config(args: argparse.Namespace) -> Config:
    """As a proxy's, from the command line alone: no variable lends a key to any origin."""
    given = {path: vars(args)[path] for _, path, _, _ in _SETTINGS}
    flags = {path: value for path, value in given.items() if value is not None}
    flags[_UPSTREAM] = args.url
    if args.insecure:
        flags[_INSECURE] = True
    notices: list[str] = []
    config = load(None, {}, flags, notices)
    for notice in notices:
        say(f"warning: {notice}")
    return config


def _name(key: str) -> str:
    """What `m2m probe` calls a setting."""
    names = {KEYS[path].flag: flag for flag, path, _, _ in _SETTINGS}
    return {**names, KEYS[_UPSTREAM].flag: "URL"}.get(key, key)


# ---- the report ---------------------------------------------------------------------------------


def _report(seen: dict[str, Any]) -> list[str]:
    rows = [
        ("origin", seen["url"]),
        ("answered", f"{seen['status']} to GET {seen['path']}, over HTTP/{seen['http']}"),
        *([("said", seen["said"])] if seen["said"] else []),
        ("TLS", _tls(seen["tls"])),
        ("m2mproxy", _peer(seen["m2mproxy"], seen["server"])),
        ("link", _link(seen["link"], seen["http"], seen["m2mproxy"])),
        ("shown", _shown(seen["shown"])),
        ("response", _response(seen["response"], seen["asked"])),
        ("profile", _profile(seen["profile"])),
        ("requests", _requests(seen["requests"])),
        *((f"trial, {each['coding']}", _trial(each)) for each in seen.get("trials", ())),
    ]
    return [f"{name:{_WIDTH}}{printable(text)}" for name, text in rows]


def _tls(tls: dict[str, Any] | None) -> str:
    if tls is None:
        return "none"
    doubt = "" if tls["verified"] else ", its certificate not verified"
    return f"{tls['version']}, {tls['cipher']}{doubt}"


def _peer(peer: dict[str, Any] | None, server: str) -> str:
    if peer is None and server == "m2mproxy":
        return "yes, but this answer is its own: it shows what it reads with those of its upstream"
    if peer is None:
        return "no: it names no form of M2M"
    known = {
        "same": "with the same dictionaries as here",
        "other": "with other dictionaries than here, so that they are not used",
        "none": "without dictionaries",
    }
    return f"yes, {known[peer['dictionaries']]} ({', '.join(peer['forms'])})"


def _link(link: dict[str, Any], http: str, peer: dict[str, Any] | None) -> str:
    """What it offers of m2m-link, and how that was learnt. `http` is the version spoken; `peer`
    what it shows, if it is an m2mproxy."""
    if "error" in link:
        return f"its response says so (m2m-link), but {link['error']}"
    if "version" not in link:
        silent = "its SETTINGS do" if "learnt" in link else f"its response over HTTP/{http} does"
        return f"no: {silent} not say so{_NO_OFFER if peer else ''}"
    known = {
        "same": "the same dictionaries as here",
        "other": "other dictionaries than here",
        "none": "no dictionaries",
    }
    what = f"version {link['version']}, {link['memory'] >> 10} KiB, {known[link['dictionaries']]}"
    learnt = "SETTINGS"
    if link["learnt"] == "prior knowledge":
        learnt = "m2m-link of its response, then SETTINGS of HTTP/2 with prior knowledge"
    return f"{'yes' if link['usable'] else 'none that can be used'}: {what} ({learnt})"


def _shown(shown: list[str]) -> str:
    if not shown:
        return "nothing: its response has no accept-encoding"
    return f"{', '.join(shown)} (accept-encoding of its response)"


def _response(response: dict[str, Any], asked: str) -> str:
    coding, size = response["coding"] or "plain", response["bytes"]
    text = f"{coding}, {size} bytes"
    if "error" in response:
        text += f"; {response['error']}"
    elif response["coding"]:
        text += f" of {response['decoded_bytes']}"
    return f"{text} (asked for {asked})"


def _profile(profile: dict[str, Any]) -> str:
    said = [f"reads {', '.join(profile['reads'])}"] if profile["reads"] else []
    if profile["tries"]:
        said.append(f"{', '.join(profile['tries'])} may be tried on it once")
    return f"{profile['name']}: {' and '.join(said) or 'says nothing of codings'}"


def _requests(requests: dict[str, str]) -> str:
    """What an m2mproxy would send, and why."""
    if not requests["coding"]:
        return f"would go plain: {requests['why']}"
    why = {"shown": "it has shown it", "profile": "its profile says so"}[requests["why"]]
    return f"would be coded in {requests['coding']}, since {why}"


def _trial(trial: dict[str, Any]) -> str:
    return f"{trial['verdict']}: {trial['why']}"
