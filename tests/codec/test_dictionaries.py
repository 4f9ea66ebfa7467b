"""The dictionaries that are shipped: there, named, and nobody's."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from m2mproxy.codec import dictionaries

FOLDER = Path(dictionaries.__file__).parent
LIMITS = {"request": 65536, "response": 65536, "stream": 32768}
each_file = pytest.mark.parametrize("name", LIMITS)


def content(name: str) -> bytes:
    return (FOLDER / f"{name}.zdict").read_bytes()


@each_file
def test_a_dictionary_is_within_its_size(name: str) -> None:
    assert 1024 < len(content(name)) <= LIMITS[name]


def test_each_is_read_once_and_as_it_is() -> None:
    assert dictionaries.request() is dictionaries.request()
    assert dictionaries.response() is dictionaries.response()
    assert dictionaries.request().dict_content == content("request")
    assert dictionaries.response().dict_content == content("response")
    assert dictionaries.stream() == content("stream")
    assert dictionaries.request().dict_id != dictionaries.response().dict_id


def test_the_name_is_that_of_all_three() -> None:
    whole = b"".join(content(name) for name in ("request", "response", "stream"))
    assert dictionaries.version() == hashlib.sha256(whole).hexdigest()[:8]
    assert re.fullmatch("[0-9a-f]{8}", dictionaries.version())


def test_the_name_for_event_streams_is_that_of_two() -> None:
    assert len(dictionaries.spelling()) == 512
    whole = content("stream") + content("spelling")
    assert dictionaries.events_version() == hashlib.sha256(whole).hexdigest()[:8]


@each_file
@pytest.mark.parametrize(
    "pattern",
    [
        rb"[\w.+-]+@[\w-]+\.\w",
        rb"\bsk-[A-Za-z0-9]{3}",
        rb"Bearer \S",
        rb"eyJ[A-Za-z0-9]{6}",
        rb"AKIA|AIza|ghp_|BEGIN [A-Z ]*KEY",
        rb"https?://[\w.-]*\.\w",
        rb"\d{5}",
        rb"[0-9a-f]{12}",
        rb"(?:chatcmpl|resp|msg|call|req|fp)[-_](?=\w*\d)\w{6}",
        rb"\d+\.\d+\.\d+\.\d+",
    ],
    ids=lambda pattern: pattern.decode(),
)
def test_nothing_in_them_looks_like_a_secret_or_an_id(name: str, pattern: bytes) -> None:
    text = content(name)
    if name != "stream":
        text = text[1200:]  # zstd's tables, which are no text
    assert re.findall(pattern, text) == []


@each_file
@pytest.mark.parametrize("name_of", [b"Messi", b"Haaland", b"Lewandowski", b"Bruyne"])
def test_people_that_the_corpora_talk_about_are_not_in_them(name: str, name_of: bytes) -> None:
    assert name_of not in content(name)
