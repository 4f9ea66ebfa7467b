"""m2m-link(7) is a specification: its bytes are those of the code, read out of the page.

Where a dictionary was trained anew the page's name and frames are old; each failure shows what the
code makes now.
"""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import pytest

from m2mproxy.codec import after, dictionaries, events, static, zstd
from m2mproxy.codec.template import TemplateDecoder
from m2mproxy.config import Link
from m2mproxy.link.edits import MOST_EDITS, Edit
from m2mproxy.link.match import BLOCK, Run
from m2mproxy.link.message import Known, decode, encode, read_head
from m2mproxy.link.reply import ReplyReader, render
from m2mproxy.link.use import MOST_RUNS, REACH, Use
from m2mproxy.net.h2_budget import FrameBudget
from m2mproxy.net.h2_engine import READS_PIECES
from m2mproxy.net.h2_frames import Data, FrameReader
from m2mproxy.proxy import codings
from m2mproxy.proxy.links import (
    CODING,
    DICTIONARIES,
    HAVE,
    HEARS,
    MISS,
    OFFER,
    READS_AFTER,
    SCOPE,
    SECONDS,
    SETTING,
    Links,
)

PAGE = (Path(__file__).parents[2] / "man" / "m2m-link.7").read_text()
_HEX = re.compile(r"((?:[0-9a-f]{2} ?)+)(?:  .*)?")


def block(kind: str, name: str) -> str:
    """The literal text that stands below the comment of that name."""
    found = re.findall(
        rf'^\.\\" {kind}: {name}\n\.Bd -literal -offset indent\n(.*?)^\.Ed$', PAGE, re.M | re.S
    )
    assert len(found) == 1, f"{kind} {name}"
    return str(found[0])


def example(name: str) -> bytes:
    """The bytes of an example, without what is said of them."""
    lines = [_HEX.fullmatch(line) for line in block("example", name).splitlines()]
    assert all(lines) and lines, name
    return bytes.fromhex("".join(line[1] for line in lines if line))


def text(name: str) -> bytes:
    """A body that the page has on several lines."""
    return block("text", name).replace("\n", "").encode()


def test_the_settings() -> None:
    pairs = dict(struct.iter_unpack(">HI", example("settings")))
    assert pairs == dict(Links(Link(), lambda: 0.0, sealed=False).announce)
    assert set(re.findall(r"^\.It 0x(\w{4})$", PAGE, re.M)) == {
        f"{code:04X}" for code in (SETTING, DICTIONARIES, SECONDS, SCOPE, READS_PIECES, READS_AFTER)
    }


def test_the_dictionaries_name() -> None:
    named = set(re.findall(r"^\.Ql (?:m2m-|m2m-events-)?([0-9a-f]{8})\b", PAGE, re.M))
    assert named == {dictionaries.version(), dictionaries.events_version()}
    assert named == {form[-8:].decode() for form in codings.peer_replies()[:2]}


def test_the_fields() -> None:
    said = re.findall(r"^\.Dl (\S+): (\S.*)$", PAGE, re.M)
    assert said == [
        ("m2m-link", OFFER.decode()),
        ("content-encoding", CODING.decode()),
        ("m2m-link", HAVE.decode()),
        ("m2m-link", HEARS.decode()),
        ("m2m-link", MISS.decode()),
        ("content-encoding", codings.LINK.decode()),
    ]


def test_the_first_turn() -> None:
    message = example("first")
    head = read_head(message)
    body = decode(message, head, head.use, Known(), 60)
    assert body == text("first"), encode(text("first")).message(0).hex(" ")
    assert (head.distance, head.size, head.is_one) == (0, 60, True)


def test_the_reply() -> None:
    reader = ReplyReader(events=False)
    reader.feed(text("response"))
    assert render(reader.finish(), text("first")) == text("reply")


def test_the_reply_is_the_same_in_events() -> None:
    reader = ReplyReader(events=True)
    for delta in ('{"role":"assistant","content":""}', '{"content":"Hi"}', '{"content":"!"}'):
        reader.feed(f'data: {{"choices":[{{"index":0,"delta":{delta}}}]}}\r\n\r\n'.encode())
    reader.feed(b"data: [DONE]\n\n")
    assert render(reader.finish(), text("first")) == text("reply")


def test_the_second_turn() -> None:
    message = example("second")
    head = read_head(message)
    assert (3 - head.distance, head.use) == (1, Use(reply=True, replaces=True, tail=2))
    known = Known(text("first"), text("reply"))
    assert decode(message, head, head.use, known, 129) == text("second")
    assert len(message) < len(text("second")) / 4


def test_the_third_turn() -> None:
    third = text("second").replace(b"Bye", text("third"))
    reply = text("reply").replace(b"Hi!", b"Bye!")
    third = text("second")[:-2] + reply + third[third.rindex(b',{"role"') :]
    known = Known(text("second"), reply, 2)
    message = example("third")
    head = read_head(message)
    use = head.use.within(*(known.body, known.reply, known.tail))
    now = encode(third, use, known).message(2)
    assert decode(message, head, use, known, len(third)) == third, now.hex(" ")
    assert (head.distance, use.where_before, use.tail) == (2, True, 2)


def test_the_second_turn_as_the_page_describes_it() -> None:
    """Nothing of the package but the dictionary's file: its tables, and a frame put together."""
    file = (Path(dictionaries.__file__).parent / "request.zdict").read_bytes()
    offsets = struct.pack("<3I", 1, 4, 8)
    at = file.index(offsets) + len(offsets)
    meant = text("first")[-2:] + text("first")[:-2] + text("reply")
    dictionary = file[:at] + (file[at:] + meant)[-32768:]
    block, size = example("second")[8:], 69
    frame = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", size)
    frame += (len(block) << 3 | 2 << 1 | 1).to_bytes(3, "little") + block
    inserted = zstd.unpack_frame(frame, size, zstd.Dictionary(dictionary))
    assert text("first")[:-2] + inserted + text("first")[-2:] == text("second")


def test_the_runs() -> None:
    head = read_head(example("runs"))
    assert (9 - head.distance, head.use.runs) == (5, (Run(1, 2), Run(7, 1)))
    assert (head.size, head.checksum, head.at) == (9000, 0x12345678, len(example("runs")))
    assert not head.is_one
    body = bytes(range(256)) * (8 * BLOCK // 256)
    file = (Path(dictionaries.__file__).parent / "request.zdict").read_bytes()
    blocks = body[1024:3072] + body[7168:8192]
    assert head.use.prefix(body, b"") == head.use.dictionary(body, b"") == file + blocks
    assert f"runs there are, from 1 to {MOST_RUNS}.\n" in PAGE
    assert PAGE.count(f"{REACH} bytes") == 3  # and of a response


def test_the_edits() -> None:
    head = read_head(example("edits"))
    assert (9 - head.distance, head.use.reply, head.use.replaces) == (5, True, True)
    assert head.use.edits == (Edit(40, 2, 2), Edit(100, 0, 98))
    assert (head.size, head.checksum, head.at) == (100, 0x12345678, len(example("edits")))
    body = bytes(range(200))
    assert head.use.applied(body, b"xy" + b"z" * 98) == (
        body[:40] + b"xy" + body[42:142] + b"z" * 98 + body[142:]
    )
    assert b"".join(head.use.pieces(body, b"reply")) == body[142:] + body[:142] + b"reply"
    assert f"there are, from 1 to {MOST_EDITS}.\n" in PAGE


def test_the_static_form() -> None:
    body = static.decode(example("static"), static.Way.RESPONSE, 1024)
    now = static.encode(text("response"), static.Way.RESPONSE)
    assert body == text("response"), now.hex(" ")


@pytest.fixture
def three() -> list[bytes]:
    """The page's events."""
    blank = re.split(r"(?<=\n\n)", block("text", "events"))
    assert blank.pop() == "" and len(blank) == 3
    return [event.encode() for event in blank]


def test_the_records(three: list[bytes]) -> None:
    first, second, third = re.findall(r"^(.*?)  ", block("example", "records"), re.M)
    assert bytes((0x1F, len(three[0]))) + three[0].startswith(b"data:") * b"data:" == (
        bytes.fromhex(first)
    )
    decoder = TemplateDecoder()
    assert decoder.decode(bytes((0x1F, len(three[0]))) + three[0], 4096) == three[0]
    assert decoder.decode(bytes.fromhex(second), 4096) == three[1]
    assert decoder.decode(bytes.fromhex(third), 4096) == three[2]


def test_a_number_that_counts_on() -> None:
    told = re.findall(r"^\.Ql data: (\S+)$", PAGE, re.M)
    eight = ("data: " + told[0].replace("\\(dq", '"') + "\n\n").encode()
    seven, nine = eight.replace(b"8", b"7"), eight.replace(b"8", b"9")
    decoder = TemplateDecoder()
    decoder.decode(bytes((0x1F, len(seven))) + seven, 4096)
    assert decoder.decode(example("count"), 4096) == eight
    assert decoder.decode(b"\x00", 4096) == nine


@pytest.mark.parametrize("name,spells", [("events", False), ("words", True)])
def test_the_stream(three: list[bytes], name: str, spells: bool) -> None:
    coded = example(name)
    encoder, now = events.EventsEncoder(spells=spells), b""
    for event in three:
        now += b"".join([*encoder.feed(event), *encoder.flush()])
    decoder = events.EventsDecoder(1024, spells=spells)
    pieces = [piece for piece in decoder.feed(coded) if piece]
    decoder.finish()
    assert pieces == three, (now + b"\x00").hex(" ")


def test_the_shared_frame(three: list[bytes]) -> None:
    reader = FrameReader(FrameBudget(lambda: 0.0, 1, 1), 4096, in_pieces=True)
    list(reader.feed(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))))  # SETTINGS
    wire, found = example("shared"), []
    decoder = events.EventsDecoder(1024)
    pieces = decoder.feed(example("words")[:20])
    for at in range(len(wire)):
        for frame in reader.feed(wire[at : at + 1]):
            assert isinstance(frame, Data)
            pieces += decoder.feed(frame.data)
            found.append((frame.stream_id, len(frame.data), frame.ends))
        assert pieces == three[: 1 + (at >= 16) + (at >= 19)]
    decoder.finish()
    assert found == [(1, 1, False)] * 16 + [(1, 1, True)]


@pytest.fixture
def repeating() -> list[bytes]:
    """The page's events that repeat the first request."""
    blank = re.split(r"(?<=\n\n)", block("text", "repeating"))
    assert blank.pop() == "" and len(blank) == 2
    return [event.encode() for event in blank]


def test_the_pieces(repeating: list[bytes]) -> None:
    history = after.History(after.Before(text("first")))
    now = b" | ".join(history.encode(event).hex(" ").encode() for event in repeating)
    decoder = events.EventsDecoder(1024, before=after.Before(text("first")))
    assert [piece for piece in decoder.feed(example("pieces")) if piece] == repeating, now
    decoder.finish()


def test_whole_responses_after_what_came_before_them() -> None:
    first = after.Before(text("first"))
    then = after.Before(text("second"), text("response"))
    for name, before, body in (("after", first, text("response")), ("next", then, said_then())):
        now = after.encode(body, before).hex(" ")
        assert after.decode(example(name), before, 1024) == body, now


def said_then() -> bytes:
    return text("response").replace(b"Hi!", b"Bye!")


def test_a_response_after_its_request_as_the_page_describes_it(repeating: list[bytes]) -> None:
    """Nothing of the package but the dictionary's file: what stands before, and frames put
    together."""
    file = (Path(dictionaries.__file__).parent / "response.zdict").read_bytes()
    content = file.index(offsets := struct.pack("<3I", 1, 4, 8)) + len(offsets)

    def read(block: bytes, size: int, before: zstd.Reference) -> bytes:
        frame = b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", size)
        frame += (len(block) << 3 | 2 << 1 | 1).to_bytes(3, "little") + block
        return zstd.unpack_frame(frame, size, before)

    near = (file[content:] + text("first"))[-32768:]
    assert read(example("after")[6:], 87, zstd.once(file[:content] + near)) == text("response")
    near = (file[content:] + text("second") + text("response"))[-32768:]
    assert read(example("next")[6:], 88, zstd.once(file[:content] + near)) == said_then()
    coded, before = example("pieces"), file[content:][-8192:] + text("first")
    assert read(coded[3:23], 68, zstd.prefix(before)) == repeating[0]
    before += repeating[0]
    assert read(coded[27:43], 73, zstd.prefix(before)) == repeating[1]


def test_the_words_as_the_page_describes_them() -> None:
    lengths = (Path(dictionaries.__file__).parent / "spelling.zdict").read_bytes()
    bits = f"{int.from_bytes(example('words')[-3:-1], 'big'):016b}"
    text = b""
    while bits != "1" * len(bits) or len(bits) > 7:
        own = lengths[256:] if text else lengths[:256]
        code = before = 0
        for byte in sorted(range(256), key=lambda byte: (own[byte], byte)):
            code, before = code << own[byte] - before, own[byte]
            if bits.startswith(f"{code:0{before}b}"):
                break
            code += 1
        text, bits = text + bytes((byte,)), bits[before:]
    assert text == b" So"


def test_the_stream_as_the_page_describes_it(three: list[bytes]) -> None:
    """Nothing of the package but the dictionary: lengths, deflate, the four bytes at the end."""
    inflate, coded, records = zlib.decompressobj(-15, dictionaries.stream()), example("events"), []
    while coded[0]:
        length, coded = coded[0], coded[1:]
        records.append(inflate.decompress(coded[:length] + b"\x00\x00\xff\xff"))
        coded = coded[length:]
    assert coded == b"\x00"
    assert records[0] == bytes((0x1F, len(three[0]))) + three[0]
    assert b"".join(records[1:]) == example("records")[7:]
