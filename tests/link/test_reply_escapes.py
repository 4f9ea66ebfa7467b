"""What some writers of JSON escape that others write as it is."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.link import escapes
from m2mproxy.link.escapes import spell
from m2mproxy.link.reply import render

CODE = "if a < b && c > d: print('x' + `y`, \"=\", 'a/b')"
TEXTS = st.text(st.sampled_from("ab<>&'=+`/\\\\\"\n"), max_size=12)


def dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def as_go(value: object) -> bytes:
    return re.sub(rb"[<>&]", lambda found: b"\\u%04x" % ord(found[0]), dumped(value))


def as_gson(value: object) -> bytes:
    return re.sub(rb"[<>&'=]", lambda found: b"\\u%04x" % ord(found[0]), dumped(value))


def as_dotnet(value: object) -> bytes:
    def escaped(found: re.Match[bytes]) -> bytes:
        piece = found[0]
        if piece == b'\\"':
            return b"\\u0022"
        return b"\\u%04X" % ord(piece) if len(piece) == 1 else piece

    return re.sub(rb"\\.|[<>&'+`]", escaped, dumped(value))


def as_php(value: object) -> bytes:
    return dumped(value).replace(b"/", b"\\/")


WRITERS = [dumped, as_go, as_gson, as_dotnet, as_php]


@pytest.mark.parametrize("write", WRITERS)
@given(text=TEXTS, arguments=TEXTS)
def test_a_reply_is_spelt_as_the_request_is(write: Any, text: str, arguments: str) -> None:
    history = [{"role": "user", "content": CODE}]
    function = {"name": "f", "arguments": arguments}
    reply = {"role": "assistant", "content": text, "tool_calls": [{"function": function}]}
    assert render([reply], write({"messages": history})) in write({"messages": [*history, reply]})


def test_the_letters_of_html_go_together() -> None:
    assert spell(b'"<b>&"', b'"\\u003cp"') == b'"\\u003cb\\u003e\\u0026"'
    assert spell(b'"<b>&"', b'"\\u0026"') == b'"\\u003cb\\u003e\\u0026"'
    assert spell(b'"<b>&"', b'"\\u0026\\u003C"') == b'"\\u003Cb\\u003E\\u0026"'


@pytest.mark.parametrize(
    "request_body",
    [
        b'"\\u003c \\u003e <"',
        b'"\\u0022 \\""',
        b'"\\u0027 \'"',
        b'"a/b"',
        b'"a\\/b/"',
        b'"a/b\\/"',
        b"",
        b"/",
        b'"\\u00e9"',
    ],
)
def test_what_is_seen_as_it_is_stays_so(request_body: bytes) -> None:
    text = b'{"a":"<b> \\" \'/\'"}'
    assert spell(text, request_body) == text


def test_only_the_end_of_a_request_is_looked_at() -> None:
    """Which bounds what it takes."""
    most = escapes._MOST_SEEN
    assert spell(b'"<"', b'"\\u003c' + b" " * (most - 6)) == b'"\\u003c"'
    assert spell(b'"<"', b'"\\u003c' + b" " * (most - 5)) == b'"<"'
    assert spell(b'"<"', b'"< \\u003c' + b" " * (most - 6)) == b'"\\u003c"'
