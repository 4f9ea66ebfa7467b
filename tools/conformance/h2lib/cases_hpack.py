"""RFC 7541: field blocks by hand, those that must be read and those that must not.

Blocks that must be read carry `x-probe: value-42`, or another known value, and where the upstream
is ours it says what arrived.
"""

import json

from hpack.hpack import encode_integer
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from h2lib.client import Client
from h2lib.suite import Wrong, case
from h2lib.wire import COMPRESSION_ERROR, HEADER_TABLE_SIZE

HUFFMAN = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
USER_AGENT = 58  # in the static table
FIRST = 62  # the newest entry of the dynamic table


def integer(value: int, prefix: int, first: int) -> bytes:
    """An integer whose first octet also carries the bits `first`."""
    octets = encode_integer(value, prefix)
    octets[0] |= first
    return bytes(octets)


def string(text: bytes, huffman: bool = False) -> bytes:
    """A string literal."""
    coded = HUFFMAN.encode(text) if huffman else text
    return integer(len(coded), 7, 0x80 if huffman else 0) + coded


def indexed(index: int) -> bytes:
    """An indexed field."""
    return integer(index, 7, 0x80)


def table_size(size: int) -> bytes:
    """A dynamic table size update."""
    return integer(size, 5, 0x20)


def literal(
    name: bytes | int, value: bytes, kind: tuple[int, int] = (6, 0x40), huffman: bool = False
) -> bytes:
    """A literal field; `kind` is the prefix's length and bits."""
    if isinstance(name, int):
        return integer(name, *kind) + string(value, huffman)
    return integer(0, *kind) + string(name, huffman) + string(value, huffman)


INCREMENTAL, WITHOUT, NEVER = (6, 0x40), (4, 0x00), (4, 0x10)
PROBE = literal(b"x-probe", b"value-42")


def send(c: Client, stream: int, block: bytes, before: bytes = b"") -> Client:
    """A request for what was received, the hand-made part after or `before` the rest.

    The rest is without indexing, so that the entries of the dynamic table are the case's own."""
    fields = c.fields(path=c.target.post_path if c.target.echoes else c.target.path)
    return c.headers(stream, before + b"".join(literal(*f, WITHOUT) for f in fields) + block)


def arrives(c: Client, stream: int, value: str, name: str = "x-probe") -> Client:
    """The request must be answered, and the field have arrived."""
    body = c.ok(stream).body
    if c.target.echoes and json.loads(body)["fields"].get(name) != value:
        raise Wrong(f"{name}: {value} at the upstream", body.decode())
    return c


# ---- Blocks that must be read ----


def literals(section: str, what: str, kind: tuple[int, int], huffman: bool) -> None:
    coded = "Huffman" if huffman else "plain"
    case(section, f"a literal {what}, indexed name, {coded}: accepted")(
        lambda c: arrives(
            send(c, 1, literal(USER_AGENT, b"value-42", kind, huffman)), 1, "value-42", "user-agent"
        )
    )
    case(section, f"a literal {what}, new name, {coded}: accepted")(
        lambda c: arrives(
            send(c, 1, literal(b"x-probe", b"value-42", kind, huffman)), 1, "value-42"
        )
    )


for _huffman in (False, True):
    literals("7541-6.2.1", "with incremental indexing", INCREMENTAL, _huffman)
    literals("7541-6.2.2", "without indexing", WITHOUT, _huffman)
    literals("7541-6.2.3", "never indexed", NEVER, _huffman)

case("7541-6.1", "an indexed field of the static table: accepted")(
    lambda c: arrives(send(c, 1, indexed(16)), 1, "gzip, deflate", "accept-encoding")
)


@case("7541-6.1", "an indexed field of the dynamic table, in the same block and the next: accepted")
def dynamic(c: Client) -> None:
    arrives(send(c, 1, PROBE + indexed(FIRST)), 1, "value-42|value-42")
    arrives(send(c, 3, indexed(FIRST)), 3, "value-42")


@case("7541-2.3.2", "the same entry twice in the table is no error")
def duplicates(c: Client) -> None:
    send(c, 1, PROBE + PROBE).ok(1)
    arrives(send(c, 3, indexed(FIRST + 1)), 3, "value-42")


@case("7541-2.3.3", "a literal whose name is an index of the dynamic table: accepted")
def dynamic_name(c: Client) -> None:
    send(c, 1, PROBE).ok(1)
    arrives(send(c, 3, literal(FIRST, b"another")), 3, "another")


@case("7541-4.2", "table size updates at the start of a block, one or two: accepted")
def updates(c: Client) -> None:
    arrives(send(c, 1, PROBE, before=table_size(128)), 1, "value-42")
    send(c, 3, PROBE, before=table_size(0) + table_size(4096)).ok(3)
    arrives(send(c, 5, indexed(FIRST)), 5, "value-42")


@case("7541-4.3", "a table size update to 0 evicts: an index of before is COMPRESSION_ERROR")
def evicted(c: Client) -> None:
    send(c, 1, PROBE).ok(1)
    send(c, 3, indexed(FIRST), before=table_size(0) + table_size(4096))
    c.connection_error(COMPRESSION_ERROR)


@case("7541-4.4", "an entry larger than the table empties it and is no error")
def larger_than_table(c: Client) -> None:
    send(c, 1, PROBE).ok(1)
    large = literal(b"x-large", b"v" * 200)
    arrives(send(c, 3, large, before=table_size(100)), 3, "v" * 200, "x-large")
    send(c, 5, indexed(FIRST)).connection_error(COMPRESSION_ERROR)


@case("7541-4.4", "the oldest entries go when the table is full, and only they")
def eviction(c: Client) -> None:
    send(c, 1, b"".join(literal(b"x-%d" % number, b"v" * 100) for number in range(10, 70))).ok(1)
    room = 4096 // (100 + 4 + 32)
    arrives(send(c, 3, indexed(FIRST + room - 1)), 3, "v" * 100, f"x-{70 - room}")
    send(c, 5, indexed(FIRST + room)).connection_error(COMPRESSION_ERROR)


@case("7541-5.2", "every octet in a Huffman-coded value is decoded")
def all_octets(c: Client) -> None:
    octets = bytes(range(0x21, 0x7F)) + bytes(range(0x80, 0x100)) + b" ."
    send(c, 1, literal(b"x-probe", octets, INCREMENTAL, True))
    arrives(c, 1, octets.decode("latin-1"))


# ---- Blocks that must not ----

BAD: dict[tuple[str, str], bytes] = {
    ("7541-2.3.3", "an index beyond both tables"): indexed(70),
    ("7541-2.3.3", "an index of the dynamic table, which is empty"): indexed(FIRST),
    ("7541-2.3.3", "a literal whose name is an index beyond both tables"): literal(70, b"a"),
    ("7541-4.2", "a table size update at the end of a block"): table_size(0),
    ("7541-4.2", "a table size update between two fields"): table_size(4096) + PROBE,
    ("7541-5.1", "an integer too large for any use"): b"\xff" + b"\xff" * 20 + b"\x7f",
    ("7541-5.1", "an integer that is cut off"): b"\xff\x80",
    ("7541-5.2", "a string longer than what is left"): b"\x40\x07x-probe\x10abc",
    ("7541-5.2", "a name longer than what is left"): b"\x40\x7f\x80\x01x",
    ("7541-5.2", "a literal without its value"): b"\x40\x07x-probe",
    ("7541-5.2", "Huffman padding longer than 7 bits"): b"\x40\x07x-probe\x83\x1f\xff\xff",
    ("7541-5.2", "Huffman padding of zeros"): b"\x40\x07x-probe\x81\x18",
    ("7541-5.2", "EOS in a Huffman-coded string"): b"\x40\x07x-probe\x85\x1f\xff\xff\xff\xfc",
    ("7541-6.1", "index 0"): indexed(0),
}


def bad(section: str, what: str, block: bytes) -> None:
    case(section, f"{what}: connection error COMPRESSION_ERROR")(
        lambda c: send(c, 1, block).connection_error(COMPRESSION_ERROR)
    )


for (_section, _what), _block in BAD.items():
    bad(_section, _what, _block)


@case("7541-6.3", "a table size update above SETTINGS_HEADER_TABLE_SIZE: COMPRESSION_ERROR")
def update_too_large(c: Client) -> None:
    send(c, 1, b"", before=table_size(c.theirs.get(HEADER_TABLE_SIZE, 4096) + 1))
    c.connection_error(COMPRESSION_ERROR)
