"""Makes the static dictionaries of ../shared/data/corpora, and shows what they are worth.

A dictionary is public and goes to every installation, so it must hold nothing that is anybody's:

- what looks like an e-mail address, a key, a token, an id, a hash, base64, the rest of a URL or a
  long number is cut out before anything else (`cleaned`), and nothing joins what was around it;
- so is every word that stands in fewer than three recorded files, and every name, which is a word
  that always has a capital, that stands in one project alone;
- what is chosen counts more the more projects it stands in, since dictionaries are for the
  applications that are not in the corpora.

The streams of the Messages API, of which the corpora have none, are seen in a few events that are
nobody's (stream_seeds.sse), in the midst of the stream dictionary: at its end they would push away
what is more common, and its beginning is soon out of deflate's reach.

Every body is also read in the other usual spelling of JSON (with or without spaces after colons and
commas). The choice is COVER's (Liao et al., 2016): of each of many equal shares of the text the
segment with the most weight not yet covered. The same corpora give the same files.
"""

import argparse
import hashlib
import heapq
import json
import math
import re
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import corpora
from corpora import Sample, Stream, project

from m2mproxy.codec import events, huffman, static, zstd
from m2mproxy.codec.template import TemplateEncoder

if sys.version_info >= (3, 14):
    from compression.zstd import finalize_dict
else:
    from backports.zstd import finalize_dict

OUTPUT = Path(__file__).parents[1] / "m2mproxy" / "codec" / "dictionaries"
GRAM = 6  # bytes
MIN_FILES_OF_WORD, MIN_PROJECTS_OF_NAME = 3, 2
SIZE, STREAM_SIZE = 64 * 1024, 32 * 1024
SEEDS = (Path(__file__).parent / "stream_seeds.sse").read_bytes()
# What zstd puts before the text: entropy tables, and a few bytes to spare.
TABLES = 1536
SEGMENT, STREAM_SEGMENT = 96, 300
MOST_COUNTED = 5  # times that one text of events is
SHARES = 4  # times that the text is gone through to fill a dictionary
MAX_SAMPLE = 20_000  # bytes of one body that are read

# ---- What must not be in a dictionary ----

CUT = b"\0"
PATTERNS = [
    re.compile(pattern)
    for pattern in (
        rb"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+",  # e-mail addresses
        rb"(?<=://)[^\s\"'<>\\)\]]+",  # hosts, paths, queries
        rb"\b(?:sk|pk|rk|org|proj|req|ghp|gho|AKIA|AIza|eyJ)[-_A-Za-z0-9]{8,}",  # keys, tokens
        rb"(?<=Bearer )\S+",
        rb"\b(?:Mr|Mrs|Ms|Dr|Prof)\.? [A-Z]\w+",
        rb"\d{5,}",
        rb"\b\d{1,3}(?:\.\d{1,3}){3}\b",  # IP addresses
        rb"-?\d+\.\d{5,}(?:e-?\d+)?",  # embeddings, probabilities
    )
]
WORD = re.compile(rb"[A-Za-z0-9+/=_-]{8,}")
LETTERS = re.compile(rb"[A-Za-z\x80-\xff]{2,}")
PART = re.compile(rb"[-_/.+=]+")
DATE = re.compile(rb"(?:19|20)\d\d-?[01]\d-?[0-3]\d")  # model names have them


def cleaned(text: bytes) -> list[bytes]:
    """What of `text` may be in a dictionary, in pieces."""
    text = WORD.sub(lambda word: CUT if is_random(word[0]) else word[0], text)
    for pattern in PATTERNS:
        text = pattern.sub(CUT, text)
    return [piece for piece in text.split(CUT) if len(piece) >= 2 * GRAM]


def is_random(word: bytes) -> bool:
    """Whether a word looks like an id, a hash or base64: a part of it mixes letters and digits, or
    capitals and small letters, too often, or is too long for a word."""
    return any(map(_is_random_part, PART.split(DATE.sub(b"", word))))


def _is_random_part(part: bytes) -> bool:
    size = len(part)
    digits = sum(48 <= byte < 58 for byte in part)
    changes = sum((a < 91) != (b < 91) for a, b in pairwise(part))
    if size >= 8 and digits >= 2 and size - digits >= 2:
        return True
    return size >= 28 or (changes * 5 >= size * 2 and size >= 10)


# ---- What is worth being in one ----


def common_words(pieces: Iterable[tuple[str, bytes]]) -> set[bytes]:
    """The words, in small letters, that stand in enough files and, if names, in enough projects."""
    files: defaultdict[bytes, set[str]] = defaultdict(set)
    no_names: set[bytes] = set()
    for source, piece in pieces:
        for word in set(LETTERS.findall(piece)):
            files[word.lower()].add(source)
            if word[:1].islower():
                no_names.add(word.lower())
    return {
        word
        for word, where in files.items()
        if len(where) >= MIN_FILES_OF_WORD
        and (word in no_names or len(set(map(project, where))) >= MIN_PROJECTS_OF_NAME)
    }


def publishable(samples: Iterable[Sample]) -> list[tuple[str, bytes]]:
    """The pieces of text that may be in a dictionary, each with its source."""
    pieces = list(
        dict.fromkeys(
            (source, piece) for source, body in samples for piece in cleaned(body[:MAX_SAMPLE])
        )
    )
    common = common_words(pieces)

    def cut(word: re.Match[bytes]) -> bytes:
        return word[0] if word[0].lower() in common else CUT

    return [
        (source, part)
        for source, piece in pieces
        for part in LETTERS.sub(cut, piece).split(CUT)
        if len(part) >= 2 * GRAM
    ]


@dataclass
class Text:
    """Pieces of text, and in which files each of their six-byte grams stands."""

    pieces: list[tuple[bytes, list[int]]]
    """The piece, and the number of the gram at each of its bytes."""
    files: list[set[str]]
    """Of each gram."""


def read(samples: Iterable[Sample]) -> Text:
    numbers: dict[bytes, int] = {}
    text = Text([], [])
    for source, piece in publishable(samples):
        grams = []
        for at in range(len(piece) - GRAM + 1):
            gram = numbers.setdefault(piece[at : at + GRAM], len(numbers))
            if gram == len(text.files):
                text.files.append(set())
            text.files[gram].add(source)
            grams.append(gram)
        text.pieces.append((piece, grams))
    return text


def weigh(files: set[str]) -> float:
    """A gram's weight: by its files, but more by their projects."""
    projects = Counter(map(project, files))
    return sum(math.sqrt(min(count, 25)) for count in projects.values()) * len(projects)


def choose(text: Text, size: int, segment: int) -> bytes:
    """The most useful `size` bytes of `text`, the best last.

    Args:
        segment: bytes that are chosen at a time, at most.
    """
    weights = list(map(weigh, text.files))
    share = sum(len(grams) for _, grams in text.pieces) * segment * SHARES // size
    chosen: list[tuple[float, bytes]] = []
    left = size
    while left > 0:
        found = _one_round(text.pieces, weights, segment, max(share, segment))
        if not found:
            break
        chosen += found
        left -= sum(len(part) for _, part in found)
    return _in_order(chosen, size)


def _one_round(
    pieces: Sequence[tuple[bytes, list[int]]], weights: list[float], segment: int, share: int
) -> list[tuple[float, bytes]]:
    """The best segment of each share, which takes its grams' weight away."""
    chosen: list[tuple[float, bytes]] = []
    read_bytes, best = 0, (0.0, b"", [0])
    for piece, grams in pieces:
        score, at = _best_window(grams, weights, segment - GRAM + 1)
        if score > best[0]:
            window = grams[at : at + segment - GRAM + 1]
            best = (score, piece[at : at + segment], window)
        read_bytes += len(grams)
        if read_bytes >= share:
            if best[0] > 0:
                chosen += _take(best[1], best[2], weights)
            read_bytes, best = 0, (0.0, b"", [0])
    return chosen + (_take(best[1], best[2], weights) if best[0] > 0 else [])


def _best_window(grams: list[int], weights: list[float], width: int) -> tuple[float, int]:
    values = [weights[gram] for gram in grams]
    total = best = sum(values[:width])
    at = 0
    for end in range(width, len(values)):
        total += values[end] - values[end - width]
        if total > best:
            best, at = total, end - width + 1
    return best, at


def _take(part: bytes, grams: list[int], weights: list[float]) -> list[tuple[float, bytes]]:
    """A segment without the ends that have no weight, with its weight a byte; nothing where that
    is too short to be found again."""
    worth = [at for at, gram in enumerate(grams) if weights[gram] > 0]
    run = part[worth[0] : worth[-1] + GRAM]
    score = sum(weights[gram] for gram in set(grams))
    for gram in grams:
        weights[gram] = 0.0
    return [(score / len(run), run)] if len(run) >= 2 * GRAM else []


def _in_order(chosen: list[tuple[float, bytes]], size: int) -> bytes:
    parts: list[bytes] = []
    for _, part in sorted(chosen, reverse=True):
        if len(part) <= size:
            parts.append(part)
            size -= len(part)
    return b"".join(reversed(parts))


def with_tables(content: bytes, samples: Iterable[Sample]) -> zstd.Dictionary:
    """A zstd dictionary (RFC 8878 5): `content` behind the statistics of `samples`."""
    bodies = [body[:MAX_SAMPLE] for _, body in samples]
    return finalize_dict(zstd.Dictionary(content, is_raw=True), bodies, SIZE, 9)


# ---- All of them ----


def respelt(samples: Iterable[Sample]) -> list[Sample]:
    """Each different body once, and in the other spelling."""
    found: list[Sample] = []
    for sample in dict.fromkeys(samples):
        found.append(sample)
        try:
            value = json.loads(sample.body)
        except ValueError:
            continue
        spaces = (",", ":") if b'": ' in sample.body[:200] else (", ", ": ")
        text = json.dumps(value, ensure_ascii=False, separators=spaces)
        found.append(Sample(sample.source, text.encode("utf-8", "replace")))
    return found


def _last_turns() -> list[Sample]:
    """Of each conversation its longest turns, which hold the others."""
    longest: dict[tuple[str, bytes], Sample] = {}
    for sample in corpora.turns():
        key = (sample.source, sample.body[:300])
        if key not in longest or len(sample.body) > len(longest[key].body):
            longest[key] = sample
    return list(longest.values())


def code_lengths(counts: Counter[int]) -> bytes:
    """Of a Huffman code of all 256 bytes, and of an end that is the longest: where a code is too
    long, what is rare is taken to be less so."""
    least = sum(counts.values()) / (1 << huffman.LONGEST)
    while True:
        weights = [max(counts[byte], least) for byte in range(256)]
        lengths = _huffman([*weights, 0.0])
        if max(lengths) <= huffman.LONGEST:
            return bytes(lengths[:256])
        least *= 1.1


def _huffman(weights: list[float]) -> list[int]:
    lengths = [0] * len(weights)
    heap = [(weight, at, [at]) for at, weight in enumerate(weights)]
    heapq.heapify(heap)
    while len(heap) > 1:
        (light, at, some), (heavy, _, others) = heapq.heappop(heap), heapq.heappop(heap)
        for each in some + others:
            lengths[each] += 1
        heapq.heappush(heap, (light + heavy, at, some + others))
    return lengths


class Trainer:
    """Dictionaries of all corpora, but for one project."""

    def __init__(self, without: str = "") -> None:
        self._without = without

    def _kept(self, samples: Iterable[Sample]) -> list[Sample]:
        return [sample for sample in samples if sample.project != self._without]

    def request(self) -> zstd.Dictionary:
        requests = self._kept(corpora.singles() + corpora.turns())
        written = self._kept(corpora.contents(corpora.replies()))
        bodies = respelt(self._kept(corpora.singles() + _last_turns()))
        return with_tables(choose(read(bodies + written), SIZE - TABLES, SEGMENT), requests)

    def response(self) -> zstd.Dictionary:
        replies = corpora.replies() + corpora.agent_replies() + corpora.embeddings()
        replies = self._kept(replies)
        return with_tables(choose(read(respelt(replies)), SIZE - TABLES, SEGMENT), replies)

    def stream(self) -> bytes:
        streams = [Sample(source, b"".join(parts)) for source, parts in corpora.streams()]
        chosen = choose(read(self._kept(streams)), STREAM_SIZE - len(SEEDS), STREAM_SEGMENT)
        middle = len(chosen) // 2
        return chosen[:middle] + SEEDS + chosen[middle:]

    def spelling(self) -> bytes:
        """The lengths of the codes of first letters and of all others. A text counts a few times
        at most, so that no stream says more than others."""
        texts: Counter[bytes] = Counter()
        for source, parts in corpora.streams() + corpora.chat_streams():
            if project(source) != self._without:
                templates = TemplateEncoder()
                records = map(templates.encode, parts)
                texts.update(record[1:-1] for record in records if events.is_spelt(record))
        first: Counter[int] = Counter()
        other: Counter[int] = Counter()
        for text, count in texts.items():
            weight = min(count, MOST_COUNTED)
            first[text[0]] += weight
            for letter in text[1:]:
                other[letter] += weight
        return code_lengths(first) + code_lengths(other)


# ---- What they are worth ----


def saved(before: int, after: int) -> str:
    return f"{100 * (1 - after / before):5.1f} %" if before else "    -  "


def _by_project(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    found: defaultdict[str, list[Sample]] = defaultdict(list)
    for sample in dict.fromkeys(samples):
        found[sample.project].append(sample)
    return dict(found)


def show_bodies(
    title: str, samples: list[Sample], way: static.Way, make: Callable[[Trainer], zstd.Dictionary]
) -> None:
    print(f"{title}: saved by the static form; by gzip -6")
    for name, held in sorted(_by_project(samples).items()):
        dictionary = make(Trainer(without=name))
        before = sum(len(body) for _, body in held)
        after = sum(len(static.encode(body, way, dictionary)) for _, body in held)
        gzip = sum(len(zlib.compress(body, 6, 31)) for _, body in held)
        print(f"  {name:48}{len(held):6}  {saved(before, after)} {saved(before, gzip)}")


def show_streams(streams: list[Stream], make: Callable[[Trainer], bytes]) -> None:
    print("event streams, a flush an event: saved with templates; without; bytes an event")
    for name in sorted({project(stream.source) for stream in streams}):
        held = [stream for stream in streams if project(stream.source) == name]
        dictionary = make(Trainer(without=name))
        before = sum(len(event) for _, parts in held for event in parts)
        count = sum(len(parts) for _, parts in held)
        sizes = [
            sum(coded_stream(parts, dictionary, templates) for _, parts in held)
            for templates in (True, False)
        ]
        figures = " ".join(saved(before, size) for size in sizes)
        print(f"  {name:48}{len(held):6}  {figures}  {sizes[0] / count:5.1f}")


def coded_stream(parts: list[bytes], dictionary: bytes, templates: bool) -> int:
    """Bytes of a stream that is flushed at each event."""
    encoder = events.EventsEncoder(dictionary, templates)
    size = 0
    for event in parts:
        size += sum(map(len, encoder.feed(event) + encoder.flush()))
    return size + sum(map(len, encoder.finish()))


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/train_dictionaries")
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    check = parser.parse_args().check
    if not corpora.are_there():
        print(f"{corpora.CORPORA} is not there; nothing to train on", file=sys.stderr)
        return 0
    if not check:
        print("held out: each project, with dictionaries of the others")
        requests = corpora.singles() + corpora.turns()
        show_bodies("requests", requests, static.Way.REQUEST, Trainer.request)
        show_bodies("replies", corpora.replies(), static.Way.RESPONSE, Trainer.response)
        show_streams(corpora.streams(), Trainer.stream)
    trainer = Trainer()
    contents = {
        "request": trainer.request().dict_content,
        "response": trainer.response().dict_content,
        "stream": trainer.stream(),
        "spelling": trainer.spelling(),
    }
    different = False
    for name, content in contents.items():
        path = OUTPUT / f"{name}.zdict"
        different |= not path.exists() or path.read_bytes() != content
        print(f"{name}: {len(content)} bytes")
        if not check:
            path.write_bytes(content)
    named = [contents[name] for name in ("request", "response", "stream")]
    print("version", hashlib.sha256(b"".join(named)).hexdigest()[:8])
    if check and different:
        print("the files are others", file=sys.stderr)
    return int(check and different)


if __name__ == "__main__":
    sys.exit(main())
