"""m2m-wire(7) is a specification: its tables and its bytes are those of the code, read out of the
page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from m2mproxy.codec import abbreviated, base, legacy, token_native
from m2mproxy.codec.batches import BatchOpener, BatchSealer
from m2mproxy.codec.frame import PLAIN, HmacSeal, Seal, decode, encode, peek
from m2mproxy.codec.header import FrameSecurity
from m2mproxy.codec.routing import REQUEST_FLAGS, RESPONSE_FLAGS, Finish, Schema
from m2mproxy.codec.sealed import AeadSeal
from m2mproxy.tokens import vocabulary

PAGE = (Path(__file__).parents[2] / "man" / "m2m-wire.7").read_text()
KEY = bytes(range(32))
EVENT = b"data: {}\n\n"
_HEX = re.compile(r"((?:[0-9a-f]{2} ?)+)(?:  .*)?")


def counted(size: int) -> bytes:
    """What stands in the examples where bytes are random."""
    return bytes(range(size))


def block(comment: str) -> str:
    """What stands below the comment, which the page has once: a list or a literal text."""
    kind = r"\.(?:Bl|Bd)[^\n]*\n(.*?)^\.(?:El|Ed)$"
    found = re.findall(rf'^\.\\" {comment}\n{kind}', PAGE, re.M | re.S)
    assert len(found) == 1, comment
    return str(found[0])


def items(name: str) -> list[tuple[str, str]]:
    """A list's tags, and the first word of what each is."""
    return re.findall(r"^\.It (?:Ql )?(\S+)\n(\w*)", block(f"table: {name}"), re.M)


def pairs(name: str) -> dict[bytes, bytes]:
    """A literal table of names and what they are abbreviated to."""
    words = block(f"table: {name}").encode().split()
    return dict(zip(words[::2], words[1::2], strict=True))


def example(name: str) -> bytes:
    """The bytes of an example, without what is said of them."""
    lines = [_HEX.fullmatch(line) for line in block(f"example: {name}").splitlines()]
    assert all(lines) and lines, name
    return bytes.fromhex("".join(line[1] for line in lines if line))


def text(comment: str) -> bytes:
    """A text that the page may have on several lines."""
    return block(comment).replace("\n", "").encode()


REQUEST, RESPONSE = text("text: request"), text("text: response")


def test_the_prefixes() -> None:
    said = {tag.encode() for tag, _ in items("prefixes")}
    assert said == {
        base.M2M_PREFIX,
        base.TOKENS_PREFIX,
        base.ABBREVIATED_PREFIX,
        base.LEGACY_PREFIX,
    }


@pytest.mark.parametrize(
    ("name", "numbers"), [("schemas", Schema), ("securities", FrameSecurity), ("finishes", Finish)]
)
def test_the_numbers(name: str, numbers: type[Schema | FrameSecurity | Finish]) -> None:
    said = {int(tag, 16): word for tag, word in items(name)}
    assert said == {number.value: number.name.lower() for number in numbers}


@pytest.mark.parametrize(
    ("name", "flags"), [("request", REQUEST_FLAGS), ("response", RESPONSE_FLAGS)]
)
def test_the_flags(name: str, flags: tuple[str, ...]) -> None:
    assert items(f"{name} flags") == [(str(bit), flag) for bit, flag in enumerate(flags)]


def test_the_vocabularies() -> None:
    assert dict(items("vocabularies")) == token_native.NAMES


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("keys", b'{"%b":1}'),
        ("roles", b'{"role":"%b"}'),
        ("models", b'{"model":"%b"}'),
    ],
)
def test_the_abbreviations(name: str, form: bytes) -> None:
    said = pairs(name)
    for long, short in said.items():
        message = b"#T1|" + form.replace(b"model", b"M") % short
        assert abbreviated.encode(form % long) == message
        assert abbreviated.decode(message) == form % long
    ours = {
        "keys": abbreviated._SHORT_KEYS,
        "roles": abbreviated._SHORT_ROLES,
        "models": abbreviated._SHORT_MODELS,
    }
    assert said == ours[name]


@pytest.mark.parametrize(
    ("name", "body", "seal"),
    [
        ("request", REQUEST, PLAIN),
        ("response", RESPONSE, PLAIN),
        ("hmac", b"{}", HmacSeal(KEY)),
        ("aead", b"{}", AeadSeal(KEY, counted)),
    ],
)
def test_the_frames(name: str, body: bytes, seal: Seal) -> None:
    frame = example(name)
    assert encode(body, seal=seal) == frame
    assert decode(frame, seals=(seal,)) == body


def test_the_text_frame() -> None:
    said = re.search(r"^\.Ql (#M2M\|1\|\w+) \.$", PAGE, re.M)
    assert said is not None
    assert encode(REQUEST, text=True).startswith(said[1].encode())


def test_what_the_example_says_of_a_response() -> None:
    seen = peek(example("response")).as_dict()
    assert seen["flags"] == ["usage"] and seen["compressed"]
    assert (seen["id"], seen["finish_reason"], seen["prompt_tokens"]) == ("c1", "stop", 8)


def test_the_sealed_stream() -> None:
    sealer = BatchSealer(AeadSeal(KEY), counted)
    made = [*sealer.feed(EVENT), *sealer.flush(), *sealer.finish()]
    assert b"".join(made) == example("stream")
    opener = BatchOpener(AeadSeal(KEY), 100)
    assert opener.feed(example("stream")) == [EVENT]
    assert opener.finish() == []


def test_the_text_forms() -> None:
    vocabularies = {"O": vocabulary.load("o200k")}
    assert token_native.encode(REQUEST, vocabularies["O"], "O") == text("line: tokens")
    assert token_native.decode(text("line: tokens"), vocabularies) == REQUEST
    assert abbreviated.encode(REQUEST) == text("line: abbreviated")
    assert legacy.decode(text("line: legacy")) == REQUEST


def test_the_limits() -> None:
    assert f"{base.DEFAULT_LIMITS.message >> 20} MiB and decodes them to as much" in PAGE
    assert base.DEFAULT_LIMITS.message == base.DEFAULT_LIMITS.decoded
    assert f"a depth of {base.DEFAULT_LIMITS.depth}," in PAGE
