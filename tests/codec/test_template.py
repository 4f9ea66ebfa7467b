"""The template step: any batches come back, and what repeats is small."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.codec.base import WireError
from m2mproxy.codec.template import TemplateDecoder, TemplateEncoder

MOST = 1 << 20


def there_and_back(batches: list[bytes]) -> list[bytes]:
    """What each batch was written as, after checking that it comes back."""
    encoder, decoder = TemplateEncoder(), TemplateDecoder()
    written = []
    for batch in batches:
        written.append(encoder.encode(batch))
        assert decoder.decode(written[-1], len(batch)) == batch
    return written


def chunk(text: str, **more: object) -> bytes:
    delta = {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {"content": text}}], **more}
    return b"data: " + json.dumps(delta, separators=(",", ":")).encode() + b"\n\n"


# Bytes that mean something here, close together.
awkward = st.lists(
    st.sampled_from(
        [b'"', b"\\", b'\\"', b"\n\n", b"\r\n\r\n", b"1", b"9", b"10", b",", b"\0", b"\x1f", b"a"]
    ),
    max_size=30,
).map(b"".join)
events = st.builds(chunk, st.text(max_size=12)) | st.builds(
    lambda text, number: chunk(text, sequence_number=number, obfuscation=text[::-1]),
    st.text('ab"\\/é\n', max_size=8),
    st.integers(0, 1100),
)
batches = st.lists(
    st.binary(max_size=40) | awkward | st.lists(events | awkward, max_size=4).map(b"".join),
    max_size=25,
)


@given(batches)
def test_any_batches_come_back(some: list[bytes]) -> None:
    there_and_back(some)


@given(st.lists(events, min_size=1, max_size=12), st.data())
def test_events_come_back_wherever_they_are_cut(some: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(some)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    there_and_back([stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)])


def test_what_repeats_is_not_written_again() -> None:
    first, second, third = there_and_back([chunk("One"), chunk(" two"), chunk(" three")])
    assert first == b"\x1f" + bytes((len(chunk("One")),)) + chunk("One")
    assert second == b'\x10\x01\x0d two"'
    assert third == b'\x00 three"'


def test_numbers_that_count_are_not_written() -> None:
    written = there_and_back([chunk(word, sequence_number=n) for n, word in enumerate("abcd", 8)])
    assert written[2:] == [b'\x00c"', b'\x00d"']


@pytest.mark.parametrize("number", ["0", "00", "01", "-1", "1.5", "999999999", "1e3", "1,2"])
def test_numbers_of_any_spelling_come_back(number: str) -> None:
    there_and_back([b'{"a":%b}\n\n' % each.encode() for each in (number, "1", "2", number, "10")])


def test_escaped_quotes_belong_to_their_string() -> None:
    words = ['{"', 'a\\"', 'b"c', '"', "x", "\\d"]
    written = there_and_back([chunk(word) for word in words])
    assert max(map(len, written[2:])) < 16


def test_a_string_that_ends_in_a_backslash_costs_no_more_than_its_event() -> None:
    words = ["a", "b\\", "c\\", "d"]
    written = there_and_back([chunk(word) for word in words])
    assert [len(each) > 16 for each in written] == [True, True, False, False]


def test_a_batch_of_several_events_is_a_record_each() -> None:
    first, second = there_and_back([chunk("a"), chunk("b") + chunk("c") + chunk("d")])
    assert len(second) < 16 < len(first)


def test_crlf_ends_events_too() -> None:
    windows = [chunk(word).replace(b"\n", b"\r\n") for word in "abc"]
    assert len(there_and_back([windows[0], windows[1] + windows[2]])[1]) < 16


def test_eight_shapes_are_kept() -> None:
    shapes = [b"data: " + b'"",' * n + b"\n\n" for n in range(1, 10)]
    assert all(len(each) == 1 for each in there_and_back(shapes[:8] * 2)[8:])
    assert all(len(each) > 1 for each in there_and_back(shapes * 2))


@pytest.mark.parametrize("size", [4095, 4096, 4097, 100_000])
def test_events_of_any_size_come_back(size: int) -> None:
    large = (b'data: "' + b"x" * size)[: size - 3] + b'"\n\n'
    there_and_back([large, large, chunk("a"), large])


@pytest.mark.parametrize(
    "records",
    [
        b"\x00",
        b"\x07",
        b"\x08",
        b'\x10\x01\x00a"',
        b"\x1e",
        b"\x1e\x05abc",
        b"\x1f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x1f\x81\x20" + bytes(4097),
        b"\x1f\xfe\x01" + b'"' * 254,
        b'\x1f\x03"a"\x01',
        b'\x1f\x03"a"\x10\x01\x03',
        b'\x1f\x03"a"\x10\x01\x01b',
        b'\x1f\x03"a"\x10\x01\x01\\"',
        b'\x1f\x03"a"\x10\x01\x82',
        b'\x1f\x031"a\x10\x02\x80',
        b"\xff",
        b"\x1e\x00",
        b"\x1f\x00",
    ],
)
def test_what_is_no_record_is_refused(records: bytes) -> None:
    with pytest.raises(WireError):
        TemplateDecoder().decode(records, MOST)


def test_a_batch_is_as_large_as_allowed() -> None:
    kept = b"\x1f\x80\x20" + bytes(4096) + b"\x10\x00"
    assert len(TemplateDecoder().decode(kept + b"\x00" * 14, 65536)) == 65536
    with pytest.raises(WireError):
        TemplateDecoder().decode(kept + b"\x00" * 100_000, 65536)


def test_what_is_used_again_may_not_grow_without_bound() -> None:
    decoder = TemplateDecoder()
    decoder.decode(b'\x1f\x03"a"', MOST)
    with pytest.raises(WireError):
        decoder.decode(b"\x10\x01\x01" + b"x" * 5000 + b'"', MOST)


@pytest.mark.parametrize("event", [b"\n\n", b"\r\n\r\n", b":\n\n", b"data:\n\n", b'""\n\n'])
def test_many_events_of_next_to_nothing_are_one_record(event: bytes) -> None:
    batch = event * 1000
    (written,) = there_and_back([batch])
    assert written[0] == 0x1E
    assert written.endswith(batch)


def test_short_events_among_others_are_told_apart() -> None:
    batch = b"".join(chunk("a") + b":\n\n" for _ in range(20))
    (written,) = there_and_back([batch])
    assert len(written) < len(batch) / 10
