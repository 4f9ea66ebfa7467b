"""What we rely on in the hpack library beyond its documentation: a change shows here, by name."""

from __future__ import annotations

import importlib

import pytest
from hpack import Decoder, Encoder, HPACKError

from m2mproxy.net.h2_tables import CODES, STATIC, TABLE_SIZE, DynamicTable, decode_huffman

BYTES = bytes(range(256))


@pytest.mark.parametrize(
    "module,name",
    [
        ("hpack.huffman_constants", "REQUEST_CODES"),
        ("hpack.huffman_constants", "REQUEST_CODES_LENGTH"),
        ("hpack.huffman_table", "decode_huffman"),
    ],
)
def test_what_is_not_documented_is_there(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(module), name), f"hpack has no {module}.{name} any more"


def test_the_static_table_is_that_of_the_rfc() -> None:
    """RFC 7541, appendix A: its ends and what is easily mistaken."""
    assert len(STATIC) == 61
    known = {1: (b":authority", b""), 16: (b"accept-encoding", b"gzip, deflate")}
    known |= {8: (b":status", b"200"), 19: (b"accept", b""), 61: (b"www-authenticate", b"")}
    assert {index: STATIC[index - 1] for index in known} == known


def test_the_codes_are_those_of_the_rfc() -> None:
    """RFC 7541, appendix B: some of them, and that no two can be mistaken for one another."""
    known = {b"0": "00000", b" ": "010100", b"X": "11111100", b"\0": "1111111111000"}
    known |= {b"{": "111111111111110", b"\xff": "11111111111111111111101110"}
    assert {letter: CODES[letter[0]] for letter in known} == known
    assert len(CODES) >= 256
    assert sum(2 ** -len(code) for code in CODES[:256]) == 1 - 2**-30  # the rest is EOS


def test_what_is_written_in_the_codes_is_read_as_it_was() -> None:
    for text in (b"", b"www.example.com", BYTES, *[bytes([byte]) for byte in BYTES]):
        bits = "".join(CODES[byte] for byte in text)
        bits += "1" * (-len(bits) % 8)
        coded = int(bits or "0", 2).to_bytes(len(bits) // 8, "big")
        assert decode_huffman(coded) == text
        ((_, value),) = Decoder().decode(Encoder().encode([(b"x", text)], huffman=True), raw=True)
        assert value == text
    assert decode_huffman(bytes.fromhex("f1e3c2e5f23a6ba0ab90f4ff")) == b"www.example.com"  # C.4.1


@pytest.mark.parametrize("coded", [b"\xff\xff\xff\xff", b"\x00", b"\xff\xff"])
def test_what_is_no_code_is_refused(coded: bytes) -> None:
    """RFC 7541 5.2: EOS, padding that is no part of it, and too much of that."""
    with pytest.raises(HPACKError):
        decode_huffman(coded)


def test_a_table_holds_so_many_bytes_and_the_newest() -> None:
    table = DynamicTable()
    for number in range(200):
        table.add(b"x-%03d" % number, b"v" * 27)  # 64 bytes each
    assert len(table.dynamic_entries) == TABLE_SIZE // 64
    assert table.get_by_index(62) == (b"x-199", b"v" * 27)
    assert table.get_by_index(61) == STATIC[-1]
    table.resize(100)
    assert list(table.dynamic_entries) == [(b"x-199", b"v" * 27)]
    table.add(b"x" * 69, b"")
    assert not table.dynamic_entries
    for index in (0, 62):
        with pytest.raises(HPACKError):
            table.get_by_index(index)
