"""Every wire form over real LLM traffic: byte-exact or refused, how large, how fast.

Token ids of Llama 3 need its vocabulary (`pip install m2mproxy[llama]`); without it they are left
out, which the table says.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corpora
from corpora import raw

ROOT = Path(__file__).resolve().parents[1]
SHORT_ROWS = 40

sys.path.insert(0, str(ROOT))

from m2mproxy.codec.base import CannotEncode, Codec, sniff  # noqa: E402
from m2mproxy.codec.forms import codecs, decode_any  # noqa: E402
from m2mproxy.codec.frame import HmacSeal  # noqa: E402
from m2mproxy.codec.sealed import AeadSeal  # noqa: E402
from m2mproxy.codec.token_native import NAMES, Vocabulary  # noqa: E402
from m2mproxy.tokens.vocabulary import is_installed, load  # noqa: E402

KEY = bytes(range(32))
BY_THEMSELVES = ("m2m-text", "t1", "tk-c", "tk-o")  # read by what they begin with, too
WHAT = {
    "C1": "single requests",
    "C2": "chat turns",
    "C3": "agent turns",
    "C4": "streams, whole",
    "C5": "replies",
    "C6": "embeddings",
}
LONGEST = {"C2": "turns", "C3": "turns"}


def rows(name: str, short: bool) -> list[dict[str, Any]]:
    """The rows of a corpus, or the first of them."""
    return corpora.rows(name)[: SHORT_ROWS if short else None]


def bodies(name: str, short: bool) -> Iterator[bytes]:
    """Every body of a corpus; a short run takes the first and the last turn of a session."""
    for row in rows(name, short):
        if name in LONGEST:
            turns = row[LONGEST[name]]
            yield from map(raw, turns[:: max(1, len(turns) - 1)] if short else turns)
        elif name == "C4":
            yield b"".join(map(raw, row["events"]))
        else:
            yield raw(row["body"])


def vocabularies() -> dict[str, Vocabulary]:
    """The real ones, as far as they are installed."""
    return {letter: load(name) for letter, name in NAMES.items() if is_installed(name)}


@dataclass
class Tally:
    """What a form made of a corpus; times in seconds."""

    carried: int = 0
    refused: int = 0
    before: int = 0
    after: int = 0
    encoding: float = 0.0
    decoding: float = 0.0

    def row(self) -> str:
        if not self.carried:
            return f"{self.carried:7,} {self.refused:7,}"
        kib = self.before / 1024
        return (
            f"{self.carried:7,} {self.refused:7,} {self.before:12,} {self.after:12,}"
            f" {1 - self.after / self.before:7.1%}"
            f" {self.encoding * 1e6 / kib:8.1f} {self.decoding * 1e6 / kib:8.1f}"
        )


def roundtrip(codec: Codec, body: bytes, tally: Tally) -> bytes | None:
    """One body there and back; the message, or None where the form refused.

    Raises:
        AssertionError: it came back changed.
    """
    start = time.perf_counter()
    try:
        message = codec.encode(body)
    except CannotEncode:
        tally.refused += 1
        return None
    written = time.perf_counter()
    assert codec.decode(message) == body, f"changed: {body[:80]!r}"
    tally.decoding += time.perf_counter() - written
    tally.encoding += written - start
    tally.carried += 1
    tally.before += len(body)
    tally.after += len(message)
    return message


def check(table: dict[str, Codec], words: dict[str, Vocabulary], short: bool) -> None:
    """All corpora through all forms; prints as it goes."""
    head = f"{'':14} carried refused  bytes before        after   saved  enc us/K  dec us/K"
    for corpus, what in WHAT.items():
        tallies = {name: Tally() for name in table}
        for body in bodies(corpus, short):
            assert sniff(body) is None, "a body that looks like a form"
            for name, codec in table.items():
                message = roundtrip(codec, body, tallies[name])
                if message is not None and sniff(message) and name in BY_THEMSELVES:
                    assert decode_any(message, vocabularies=words)[1] == body
        print(f"\n{corpus}, {what}\n{head}")
        for name, tally in tallies.items():
            print(f"{name:14} {tally.row()}", flush=True)


def main() -> int:
    if not corpora.are_there():
        print("roundtrip: no ../shared/data here, nothing compared")
        return 0
    words = vocabularies()
    table = codecs(vocabularies=words)
    table["m2m hmac"] = codecs(seals=[HmacSeal(KEY)])["m2m"]
    table["m2m aead"] = codecs(seals=[AeadSeal(KEY)])["m2m"]
    missing = [letter for letter in "COL" if letter not in words]
    table = {name: codec for name, codec in table.items() if name[3:4].upper() not in missing}
    if missing:
        print(f"roundtrip: vocabularies that are not here: {', '.join(missing)}")
    check(table, words, "--short" in sys.argv[1:])
    print("\nroundtrip: every body came back byte for byte, or was refused before it left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
