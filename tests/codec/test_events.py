"""The stream form: any bytes, in any batches, exactly; and readable at each flush."""

from __future__ import annotations

import json
import random
import zlib
from string import ascii_lowercase

import pytest
from allocations import allocating_at_most
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.codec import dictionaries, events
from m2mproxy.codec.after import Before, History
from m2mproxy.codec.base import TooLarge, WireError
from m2mproxy.codec.events import EventsDecoder, EventsEncoder
from m2mproxy.codec.varint import read_prefixed, write_varint

MiB = 1024 * 1024
with_and_without = pytest.mark.parametrize("templates", [True, False])


def event(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None}
    value = {"id": "chatcmpl-123", "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


EVENTS = [event(f" word{number % 7}") for number in range(40)] + [b"data: [DONE]\n\n"]

chunks = st.lists(
    st.tuples(
        st.binary(max_size=60) | st.builds(event, st.text(max_size=5)),
        st.booleans(),
    ),
    max_size=30,
)


def coded(
    some: list[tuple[bytes, bool]], templates: bool = True, spells: bool = True
) -> list[bytes]:
    """The batches of chunks, each with whether it is flushed."""
    encoder = EventsEncoder(templates=templates, spells=spells)
    out: list[bytes] = []
    for chunk, flush in some:
        out += encoder.feed(chunk)
        if flush:
            out += encoder.flush()
    return out + encoder.finish()


def decoded(
    some: list[bytes], limit: int = MiB, templates: bool = True, spells: bool = True
) -> bytes:
    decoder = EventsDecoder(limit, templates=templates, spells=spells)
    out = [piece for chunk in some for piece in decoder.feed(chunk)]
    return b"".join(out + decoder.finish())


@given(chunks, st.booleans(), st.booleans(), st.integers(1, 50))
def test_any_stream_comes_back(
    some: list[tuple[bytes, bool]], templates: bool, spells: bool, size: int
) -> None:
    wire = b"".join(coded(some, templates, spells))
    plain = b"".join(chunk for chunk, _ in some)
    cut = [wire[at : at + size] for at in range(0, len(wire), size)]
    assert decoded(cut, len(plain), templates, spells) == plain


@given(chunks, st.booleans(), st.integers(1, 50), st.randoms(use_true_random=False))
def test_a_filler_between_batches_means_nothing(
    some: list[tuple[bytes, bool]], templates: bool, size: int, source: random.Random
) -> None:
    batches = coded(some, templates)
    wire = b"".join(events.FILLER * source.choice((0, 0, 1, 2, 200)) + each for each in batches)
    plain = b"".join(chunk for chunk, _ in some)
    cut = [wire[at : at + size] for at in range(0, len(wire), size)]
    assert decoded(cut, len(plain), templates) == plain
    with pytest.raises(WireError):
        decoded([*cut, events.FILLER], len(plain), templates)


@with_and_without
def test_each_flush_is_one_batch_and_readable(templates: bool) -> None:
    encoder, decoder = EventsEncoder(templates=templates), EventsDecoder(MiB, templates=templates)
    for each in EVENTS:
        assert encoder.feed(each) == []
        (batch,) = encoder.flush()
        assert decoder.feed(batch) == [each]
        assert encoder.flush() == []
    assert encoder.finish() == [b"\0"]


def test_streams_that_were_expected_are_coded_as_others_and_apart() -> None:
    def coded(encoder: EventsEncoder) -> bytes:
        pieces = [(*encoder.feed(each), *encoder.flush()) for each in EVENTS]
        return b"".join(map(b"".join, pieces))

    reference = coded(EventsEncoder(dictionaries.stream()))
    events.expect()
    events.expect()  # one at a time is enough
    some = [EventsEncoder() for _ in range(3)]
    assert [coded(encoder) for encoder in some] == [reference] * 3


def test_an_event_is_small() -> None:
    sizes = [len(batch) for batch in coded([(each, True) for each in EVENTS])]
    assert sizes[0] < len(EVENTS[0]) / 2  # the dictionary
    assert max(sizes[2:-2]) <= 7  # most of the text, and a byte
    before = [len(batch) for batch in coded([(each, True) for each in EVENTS], spells=False)]
    assert max(before[2:-2]) <= 12  # the text, and four bytes


def test_the_form_is_that_of_the_specification() -> None:
    batches = coded([(each, True) for each in EVENTS], templates=False, spells=False)
    inflate = zlib.decompressobj(-15, dictionaries.stream())
    for batch, each in zip(batches, EVENTS, strict=False):
        assert batch[0] == len(batch) - 1 < 0x80 or batch.startswith(write_varint(len(batch) - 2))
        body = batch[1:] if batch[0] < 0x80 else batch[2:]
        assert inflate.decompress(body + b"\0\0\xff\xff") == each
    assert batches[-1] == b"\0"


@with_and_without
@pytest.mark.parametrize("size", [32767, 32768, 32769, 300_000])
def test_large_chunks_become_several_batches(size: int, templates: bool) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    for chunk in (body[:size], b'"\n\n' * (size // 3), b"\n" * size):
        wire = coded([(b"before", False), (chunk, False), (b"after", True)], templates)
        assert decoded(wire, MiB, templates) == b"before" + chunk + b"after"


@with_and_without
def test_no_truncation_passes_for_the_whole(templates: bool) -> None:
    wire = b"".join(coded([(each, True) for each in EVENTS], templates))
    for size in range(len(wire)):
        with pytest.raises(WireError):
            decoded([wire[:size]], templates=templates)
    with pytest.raises(WireError):
        decoded([wire + b"\0"], templates=templates)


def test_the_limit_is_exact() -> None:
    wire = coded([(each, True) for each in EVENTS])
    size = sum(map(len, EVENTS))
    assert len(decoded(wire, size)) == size
    with pytest.raises(TooLarge):
        decoded(wire, size - 1)


def zeros(size: int) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=dictionaries.stream())
    data = compressor.compress(bytes(size)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return write_varint(2 * (len(data) - 4)) + data[:-4]


@with_and_without
@pytest.mark.parametrize("size", [MiB, 100 * MiB])
def test_a_bomb_is_refused_in_flat_memory(size: int, templates: bool) -> None:
    bomb = zeros(size)
    EventsDecoder(MiB)  # what all of them share is made once
    with allocating_at_most(MiB), pytest.raises(WireError):
        decoded([bomb], limit=1 << 40, templates=templates)


def test_templates_do_not_multiply() -> None:
    records = b"\x1f\x80\x20" + bytes(4096) + b"\x10\x00" + b"\x00" * 100_000  # 400 MiB
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=dictionaries.stream())
    data = compressor.compress(records) + compressor.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(WireError):
        decoded([write_varint(2 * (len(data) - 4)) + data[:-4]], limit=1 << 40)


@pytest.mark.parametrize(
    "wire",
    [
        b"\xff\xff\xff\xff\xff\xff\xff\x01",
        write_varint(1 << 20) + bytes(100),
        b"\x80\x80\x80",
        b"\x06\x03\x00\x00",  # a deflate stream that ends
        b"\x08\xff\xff\xff\xff",
        b"\x03\xff",
        b"\x05\x00\xff",
        write_varint(2 * 380 + 1) + bytes(380),
    ],
)
def test_what_is_no_batch_is_refused_at_once(wire: bytes) -> None:
    with pytest.raises(WireError):
        EventsDecoder(MiB).feed(wire)


def test_both_sides_have_to_agree() -> None:
    wire = coded([(each, True) for each in EVENTS])
    assert decoded(wire) == b"".join(EVENTS)
    with pytest.raises(WireError):
        decoder = EventsDecoder(MiB, dictionary=b"another" * 100)
        assert b"".join(decoder.feed(b"".join(wire))) != b"".join(EVENTS)
        decoder.finish()
        raise WireError("or it came out as something else, which only a checksum would tell")


# -- what is spelt ---------------------------------------------------------------------------------


def said(text: str) -> bytes:
    return b'data: {"delta":"%b"}\n\n' % text.encode()


def test_a_word_is_spelt_and_what_repeats_it_finds_it() -> None:
    """It goes through the window of both ends, however long that waits."""
    words = [" " + "".join(random.Random(at).choices(ascii_lowercase, k=8)) for at in range(400)]
    first = [(said(word), True) for word in words]
    again = said("".join(words[-100:]))
    for known in ([*first, (again, True)], [first[0], (again, True)]):
        wire = coded(known)
        assert decoded(wire) == b"".join(chunk for chunk, _ in known)
        if len(known) > 2:
            assert sum(batch[0] & 1 for batch in wire) > 300
            assert len(wire[-2]) < len(again) / 3
        else:
            assert len(wire[-2]) > len(again) / 3


def test_an_end_that_does_not_spell_reads_and_writes_the_older_form() -> None:
    some = [(each, True) for each in EVENTS]
    assert decoded(coded(some, spells=False), spells=False) == b"".join(EVENTS)
    with pytest.raises(WireError):
        decoded(coded(some), spells=False)


def test_a_spelt_batch_before_a_broken_one_is_no_matter() -> None:
    """The window is caught up with even where nothing was deflated yet."""
    spelt = next(batch for batch in coded([(each, True) for each in EVENTS]) if batch[0] & 1)
    decoder = EventsDecoder(MiB, templates=False)
    for _ in range(2000):
        assert decoder.feed(spelt)
    with pytest.raises(WireError):
        decoder.feed(b"\x08\xff\xff\xff\xff")


def test_what_is_not_short_enough_is_deflated() -> None:
    for size, is_spelt in ((1, True), (253, True), (254, False)):
        text = random.Random(size).randbytes(size).replace(b'"', b"x").replace(b"\\", b"x")
        records = b"\x00" + text + b'"'
        encoder = EventsEncoder(templates=False)
        encoder.feed(records)
        (batch,) = encoder.flush()
        assert batch[0] & 1 <= is_spelt
        assert b"".join(EventsDecoder(MiB, templates=False).feed(batch)) == records


# -- after a request -------------------------------------------------------------------------------

REQUEST = random.Random(7).randbytes(2500).hex().encode()


BEFORE = Before(REQUEST)


def ends(before: Before | None = BEFORE) -> tuple[EventsEncoder, EventsDecoder]:
    return EventsEncoder(before=before), EventsDecoder(MiB, before=before)


def echo(number: int, size: int = 3000) -> bytes:
    return b'data: {"number":%d,"instructions":"%b"}\n\n' % (number, REQUEST[:size])


def each(encoder: EventsEncoder, decoder: EventsDecoder, *some: bytes) -> list[int]:
    """The sizes of chunks, each of which is there at its flush."""
    sizes = []
    for chunk in some:
        wire = b"".join(encoder.feed(chunk) + encoder.flush())
        assert b"".join(decoder.feed(wire)) == chunk
        sizes.append(len(wire))
    return sizes


def test_an_event_that_repeats_its_request_is_small() -> None:
    encoder, decoder = ends()
    sizes = each(encoder, decoder, echo(1), echo(2), *EVENTS, echo(3))
    assert sizes[0] < 200 and sizes[1] < 40 and sizes[-1] < 40
    assert b"".join(decoder.feed(b"".join(encoder.finish()))) == b""
    decoder.finish()
    assert each(*ends(None), echo(1))[0] > 1000


def test_large_events_among_small_ones_in_one_chunk() -> None:
    encoder, decoder = ends()
    chunk = EVENTS[0] + echo(1) + EVENTS[1] + EVENTS[2] + echo(2) + EVENTS[3]
    sizes = each(encoder, decoder, chunk, echo(3) + EVENTS[4], chunk)
    assert sizes[2] < 200
    wire = b"".join(encoder.feed(chunk) + encoder.flush())
    assert kinds(wire) == [1, 2, 0, 2, 1]


def kinds(wire: bytes) -> list[int]:
    """Of the batches, by the lowest bits of their varints."""
    found, at = [], 0
    while at < len(wire):
        batch = read_prefixed(wire, at, MiB, 2)
        assert batch is not None
        _, at, kind = batch
        found.append(kind)
    return found


def test_who_has_seen_eight_small_batches_expects_no_large_event() -> None:
    for count, small in ((7, True), (8, False)):
        encoder, decoder = ends()
        each(encoder, decoder, *EVENTS[:count])
        assert (encoder._history is None) is (decoder._history is None) is not small
        assert (each(encoder, decoder, echo(1))[0] < 200) is small
        each(encoder, decoder, *EVENTS[:20])
        assert (encoder._history is None) is (decoder._history is None) is not small


def test_what_says_that_a_stream_is_after_a_reply_is_none_of_the_eight() -> None:
    before = Before.of(b"{}", b"a reply")
    encoder, decoder = EventsEncoder(before=before), EventsDecoder(MiB, before=before)
    each(encoder, decoder, *EVENTS[:7])
    assert encoder._history is not None and decoder._history is not None
    each(encoder, decoder, EVENTS[7])
    assert encoder._history is None and decoder._history is None


def test_a_stream_of_nothing_after_a_reply_is_its_end_alone() -> None:
    before = Before.of(b"{}", b"a reply")
    wire = b"".join(EventsEncoder(before=before).finish())
    assert wire == b"\0"
    decoder = EventsDecoder(1000, before=before)
    assert decoder.feed(wire) == []
    assert decoder.finish() == []


def test_large_events_that_repeat_nothing_are_soon_coded_as_others() -> None:
    """To go through what came before takes long, and is of no use."""
    encoder, decoder = ends()
    source = random.Random(8)
    noise = [b"data: %b\n\n" % source.randbytes(1000).hex().encode() for _ in range(6)]
    each(encoder, decoder, *noise[:3], echo(1), *noise[:3], *noise[3:6], echo(2))
    assert encoder._history is not None  # three in a row, each time that they are new
    more = [b"data: %b\n\n" % source.randbytes(1000).hex().encode() for _ in range(5)]
    each(encoder, decoder, *more, echo(3), *noise)
    assert encoder._history is None and decoder._history is not None


def test_a_stream_has_256_large_events_at_most() -> None:
    """However small they are on the wire, each is read after all that came before it."""
    encoder, decoder = ends()
    sizes = each(encoder, decoder, *(echo(number % 3) for number in range(256)))
    assert max(sizes[1:]) < 60 and encoder._history is decoder._history is None
    wire = b"".join(encoder.feed(echo(9)) + encoder.flush())
    assert kinds(wire) == [0] and decoder.feed(wire) == [echo(9)]
    with pytest.raises(WireError):
        decoder.feed(b"\x0a\x00\x00")


def test_an_event_in_several_chunks_comes_back() -> None:
    encoder, decoder = ends()
    event = echo(1, len(REQUEST))
    sizes = each(encoder, decoder, event[:1500], event[1500:3000], event[3000:] + EVENTS[0])
    assert sum(sizes) < 400


def test_what_a_reply_says_again_at_its_end_is_small() -> None:
    """Its large event has the text of the small ones."""
    encoder, decoder = ends()
    source = random.Random(8)
    said = [source.randbytes(30).hex().encode() for _ in range(9)]
    small = [b'data: {"delta":"%b"}\n\n' % text for text in said]
    sizes = each(encoder, decoder, echo(1), *small, echo(2)[:-3] + b"".join(said) + b'"}\n\n')
    assert sizes[-1] < 100


def test_a_stream_begins_small_after_one_that_began_so() -> None:
    first = b'data: {"id":"%b","model":"%b"}\n\n' % (REQUEST[:20], REQUEST[100:200])
    sizes = [each(*ends(Before(b"{}", kept)), first)[0] for kept in (b"", first * 3, first * 900)]
    assert sizes[0] > 100 and max(sizes[1:]) < 60
    encoder, decoder = ends(Before(b"{}", b"x" * 5000 + b"y" * 5000))
    assert each(encoder, decoder, *EVENTS) and len(Before(b"", bytes(9000)).in_window) == 2048


def test_a_large_event_is_refused_where_none_can_be() -> None:
    encoder, decoder = ends()
    large = b"".join(encoder.feed(echo(1)) + encoder.flush())
    each(EventsEncoder(before=BEFORE), decoder, *EVENTS[:8])
    for other in (decoder, EventsDecoder(MiB, before=Before(b"another"))):
        with pytest.raises(WireError):
            other.feed(large)


def test_a_word_under_another_kind_is_refused() -> None:
    encoder, decoder = ends()
    each(encoder, decoder, *EVENTS[:12])
    word = next(
        wire for x in EVENTS[12:] for wire in encoder.feed(x) + encoder.flush() if wire[0] & 3 == 1
    )
    for kind in (2, 3):
        with pytest.raises(WireError):
            decoder.feed(bytes((word[0] & ~3 | kind,)) + word[1:])


def test_large_events_count_for_the_limit_and_have_one_of_their_own() -> None:
    encoder = EventsEncoder(before=BEFORE)
    wire = b"".join(encoder.feed(echo(1)) + encoder.flush())
    wire += b"".join(encoder.feed(echo(2)) + encoder.flush())
    with pytest.raises(TooLarge):
        EventsDecoder(5000, before=BEFORE).feed(wire)
    coded = History(BEFORE).encode(bytes(33 * 1024))
    with pytest.raises(WireError):
        EventsDecoder(MiB, before=BEFORE).feed(write_varint(len(coded) << 2 | 2) + coded)


@pytest.mark.parametrize("wire", [b"\x02", b"\x03", b"\x07x", b"\x06\x00", b"\x06\xff"])
def test_what_is_no_batch_after_a_request_is_refused(wire: bytes) -> None:
    with pytest.raises(WireError):
        EventsDecoder(MiB, before=BEFORE).feed(wire)


long_chunks = st.lists(
    st.tuples(st.sampled_from([echo(1), echo(2), echo(3)[:1700], *EVENTS[:5]]), st.booleans()),
    max_size=20,
)


@given(chunks, long_chunks, st.integers(1, 500), st.randoms(use_true_random=False))
def test_any_stream_comes_back_after_a_request(
    short: list[tuple[bytes, bool]],
    long: list[tuple[bytes, bool]],
    size: int,
    source: random.Random,
) -> None:
    some = short + long
    source.shuffle(some)
    encoder, decoder = ends()
    wire = b""
    for chunk, flush in some:
        wire += b"".join(encoder.feed(chunk)) + b"".join(encoder.flush() if flush else [])
        wire += events.FILLER * source.choice((0, 0, 3)) if flush else b""
    wire += b"".join(encoder.finish())
    out = [b"".join(decoder.feed(wire[at : at + size])) for at in range(0, len(wire), size)]
    decoder.finish()
    assert b"".join(out) == b"".join(chunk for chunk, _ in some)


@pytest.mark.parametrize("kept", [b"", b"another reply", b"a replY"])
def test_a_stream_after_a_reply_that_this_end_does_not_keep_is_refused(kept: bytes) -> None:
    encoder = EventsEncoder(before=Before.of(b"{}", b"a reply"))
    encoder.feed(b"data: a reply again\n\n")
    made = b"".join(encoder.flush())
    decoder = EventsDecoder(1000, before=Before.of(b"{}", kept))
    with pytest.raises(WireError, match="a stream begins after a reply"):
        decoder.feed(events.FILLER + made)
    same = EventsDecoder(1000, before=Before.of(b"{}", b"a reply"))
    assert same.feed(events.FILLER + made) == [b"data: a reply again\n\n"]


def test_a_stream_after_a_reply_says_so_once_and_at_its_beginning() -> None:
    before = Before.of(b"{}", b"a reply")
    check = b"\x0b" + before.check
    plain = EventsEncoder(before=Before.of(b"{}"))
    plain.feed(b"data: 1\n\n")
    for spoiled in (b"".join(plain.flush()), check * 2):
        with pytest.raises(WireError, match="a stream begins after a reply"):
            EventsDecoder(1000, before=before).feed(spoiled)
    assert EventsDecoder(1000, before=before).feed(check + b"\x00") == []
