"""Trains the model of m2mproxy/guard on the dev half of ../shared/data/scanner and on our seeds.

A logistic regression over windows, learnt row by row, and its gate, by scipy's L-BFGS. Where the
operating point lies is decided by cross-validation with whole clusters of near-duplicates in a
fold: every kind of harmless text may raise an alarm in at most `ALARMS` of its cases.
"""

import argparse
import hashlib
import sys
from pathlib import Path

from guardlib.data import corpus_is_there, samples
from guardlib.embed import embedded
from guardlib.fit import Trainer
from guardlib.obfuscate import variants

from m2mproxy.guard import model

DATA = Path(model.__file__).with_name("data") / "model.br"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/train_guard")
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    args = parser.parse_args()
    if not corpus_is_there():
        raise SystemExit("train_guard: ../shared/data/scanner is not there")
    plain = samples()
    trainer = Trainer([*plain, *variants(plain), *embedded(plain)])
    packed = model.pack(trainer.final())
    digest = hashlib.sha256(packed).hexdigest()
    print(f"{DATA.name}: {len(packed)} bytes, SHA-256 {digest}")
    if args.check:
        return int(DATA.read_bytes() != packed)
    DATA.write_bytes(packed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
