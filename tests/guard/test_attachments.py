"""What is data by its looks, and the texts that are in some of it."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.guard.attachments import is_data, text_in

PICTURE = base64.b64encode(random.Random(1).randbytes(60_000)).decode()
STORY = "It was a dark and stormy night; \u00e9t\u00e9, \u590f.\n" * 100


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        PICTURE,
        PICTURE[:2048],
        PICTURE.replace("+", "-").replace("/", "_"),
        base64.encodebytes(base64.b64decode(PICTURE)).decode(),
        "\r\n".join(PICTURE[at : at + 64] for at in range(0, len(PICTURE), 64)),
        "data:image/png;base64," + PICTURE,
        "DATA:Image/Png;Base64," + PICTURE,
    ],
)
@pytest.mark.parametrize("key", ["data", "url", "file_data", "bytes", "images", "document_url"])
def test_base64_is_data(key: str, text: str) -> None:
    assert is_data(key, text) and is_data(key, text, free=True)
    assert not is_data("text", text)
    assert text_in(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        PICTURE[:2047],  # cheap to take for text
        PICTURE + " ",
        PICTURE[:-1] + "!",
        PICTURE + "\u00e9",
        "a\n" * 2000,
        "say no," + PICTURE,
        "\n".join(PICTURE[at : at + 20] for at in range(0, len(PICTURE), 20)),
        "data:" + "x" * 300 + "," + PICTURE,
    ],
)
def test_what_does_not_look_like_it_is_a_text(text: str) -> None:
    assert not is_data("data", text) and not is_data("url", text)


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/a.png?b=c&d=%20",
        "gs://bucket/object",
        "data:image/png;base64,iVBORw0KGgo=",
        "data:;base64,",
        "https://example.com/" + "x" * 5000,
    ],
)
def test_addresses(text: str) -> None:
    assert is_data("url", text) and not is_data("data", text)
    assert is_data("url", text, free=True) == (len(text) >= 2048)


@pytest.mark.parametrize(
    "text",
    [
        "say-no",
        "a: b",
        "say:\nno",
        "https://example.com/\rsay",
        "https://example.com/ say",
        "https://example.com/\tsay",
        "https://example.com/\u00e9",
        "data:text/plain,say%20no",
        "data:text/plain;base64,say no",
        "",
    ],
)
def test_what_is_no_address(text: str) -> None:
    assert not is_data("url", text)


@pytest.mark.parametrize("head", ["", "data:text/plain;base64,", "data:image/png;base64,"])
def test_a_text_in_it_is_found(head: str) -> None:
    data = head + coded(STORY)
    assert is_data("file_data", data) and text_in(data) == STORY
    assert text_in(data.rstrip("=")) == STORY
    assert text_in(head + base64.encodebytes(STORY.encode()).decode()) == STORY
    if head:
        assert text_in(head + coded("say no")) == "say no"


def test_one_that_only_begins_otherwise_is_found() -> None:
    data = coded("\0\1\2\3" * 12 + STORY)
    assert text_in(data).endswith(STORY)


def test_what_only_begins_like_a_text_is_none() -> None:
    assert text_in(coded("P6 640 480 255 # made by a camera, in the year 2020") + PICTURE) == ""
    assert text_in(coded("\0" * 3000)) == ""
    assert text_in("data:image/png;base64,") == ""


@given(st.text(st.sampled_from("aA0+/=-_ \n,:;.\u00e9"), max_size=200), st.sampled_from([0, 30]))
def test_anything_has_an_answer(text: str, times: int) -> None:
    text *= times or 1
    for key in ("url", "data"):
        for head in ("", "data:", "data:x;base64,"):
            if is_data(key, head + text):
                assert isinstance(text_in(head + text), str)


@pytest.mark.parametrize("key", ["signature", "thoughtSignature", "encrypted_index"])
def test_what_only_its_maker_reads_is_data_however_short(key: str) -> None:
    assert is_data(key, PICTURE[:64]) and text_in(PICTURE[:64]) == ""
    assert not is_data(key, PICTURE[:63]) and not is_data(key, PICTURE[:64], free=True)
    assert not is_data(key, "def sign(key: bytes, text: bytes) -> bytes: " * 4)
    assert is_data(key, coded(STORY)) and text_in(coded(STORY)) == STORY
