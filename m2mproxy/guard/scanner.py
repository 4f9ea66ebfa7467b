"""The scan of a request's body: what it consists of, what is known of that, and what is found in
the rest.

It takes two steps, so that whoever calls can do the long one elsewhere: `read` parses the body,
checks its bytes, and looks up what is known of its parts; `verdict` scores the texts that are new.

The one rule: the same body gets the same verdict, whatever was scanned before and by whom.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from json import detect_encoding
from typing import Any, NamedTuple, Protocol

import orjson

from m2mproxy.guard import characters, document, shape, walk
from m2mproxy.guard.cache import Cache
from m2mproxy.guard.characters import malformed
from m2mproxy.guard.document import MAX_DEPTH, Malformed, Tally, parse
from m2mproxy.guard.finding import Category, Finding
from m2mproxy.guard.outbound import carriers
from m2mproxy.guard.shape import check_message
from m2mproxy.guard.slices import Highest, Piece, sliced, uncut
from m2mproxy.guard.verdict import OTHER, Found, Judge, Verdict
from m2mproxy.guard.walk import ROLES, Contents, Part, Said, parts

CHECKS: Mapping[str, str] = {**document.CHECKS, **shape.CHECKS, **characters.CHECKS}
"""The ids of what is found without a scorer, and why."""
DEFAULT_ROLES = ("user", "assistant", "tool")
# What a text costs whatever its length, in characters of ASCII; what one beyond it costs.
PER_TEXT = 32
_BEYOND = 8
# Of so much a first look is taken as soon as it is read; that of more is taken for the work.
_SOON = 4096
_LONGEST_MODEL = 200
KNOWN_KEYS = shape.KEYS | walk.KEYS
_NO_TENANT = b""
_Names = Callable[[bytes], bytes]


class Looked(Protocol):
    """Texts after a first look: scorer.Looked."""

    @property
    def work(self) -> int:
        """Microseconds that `score` takes, at most, more or less."""

    def score(self) -> list[tuple[Finding, ...]]:
        """As Scores.score."""


class Scores(Protocol):
    """What scores texts: scorer.Scorer."""

    def score(self, texts: Sequence[tuple[str, str]]) -> list[tuple[Finding, ...]]:
        """What is found in each of some texts, which are given after whose they are: highest first,
        and the same every time."""

    def look(self, texts: Sequence[tuple[str, str]]) -> Looked:
        """The same in two steps, of which the first is short."""


class _Known(NamedTuple):
    """What is remembered of a part: a message, several of them, or all that is under a key."""

    members: int
    colons: int
    depth: int
    found: tuple[tuple[Finding, int, str], ...]
    """With the number of the message in the part, and whose words it is in."""


class _New(NamedTuple):
    """A part whose texts are not scored yet."""

    at: int
    name: bytes
    known: _Known
    texts: list[Said]


class _Block(NamedTuple):
    """Several messages whose sum is not remembered yet: the scan's parts from one number on."""

    first: int
    name: bytes


class Scanner:
    """Scans bodies by one configuration."""

    def __init__(
        self,
        scorer: Scores,
        thresholds: Mapping[Category, float] | None = None,
        off: Collection[str] = (),
        roles: Collection[str] = DEFAULT_ROLES,
        cache: int = 16384,
    ) -> None:
        """`thresholds` that are not given are verdict.DEFAULT; `off` are ids of CHECKS that do
        not count; `roles` are whose words are scored; `cache` is how many parts are remembered.

        Raises:
            ValueError: no such id or role.
        """
        for name, known in ((off, CHECKS), (roles, ROLES)):
            unknown = next((each for each in name if each not in known), None)
            if unknown is not None:
                raise ValueError(f'there is no "{unknown}"')
        self._scorer = scorer
        self.judge = Judge(thresholds or {}, off)
        self._roles = frozenset(roles)
        self._cache: Cache[_Known] = Cache(cache)

    def read(self, body: bytes, tenant: bytes = _NO_TENANT) -> Scan:
        """Parse a body and look up what is known. `tenant` is whose it is, in at most 16 bytes."""
        try:
            request, text = parse(body)
        except Malformed as error:
            scan = Scan(self, [Found(error.finding, "", None, "")])
            self._as_text(body, error.finding, tenant, scan)
            return scan
        scan = Scan(self, [])
        model = request.get("model")
        if type(model) is str and len(model) <= _LONGEST_MODEL:
            scan.model = model
        tally, labels, deepest = Tally(), list(request), 1
        for part in parts(request, len(text), labels):
            key, within = part.key, part.within
            kind = _kind(key)
            if part.is_conversation:
                within += 1
                looked = self._messages(part, kind, tenant, scan)
            else:
                names = self._cache.names(b"k:" + kind, tenant)
                looked = [self._look_at(part.value, part, None, names, scan)]
            for known in looked:
                tally.add(known.members, known.colons)
                if known.depth + within > deepest:
                    deepest = known.depth + within
        own = "\n".join(labels)
        tally.add(len(request), own.count(":"))
        whole = list(shape.check_members(request))
        if not characters.is_plain(own):
            whole += characters.check(own)
        if deepest > MAX_DEPTH or not tally.has_all_of(text):
            source = "nesting" if deepest > MAX_DEPTH else "duplicate_key"
            whole.append(malformed(source, CHECKS[source], 0))
            self._as_text(text, whole[-1], tenant, scan)
        scan.found += [Found(each, "", None, "") for each in whole]
        scan.look()
        return scan

    def _as_text(self, body: bytes, finding: Finding, tenant: bytes, scan: Scan) -> None:
        """Look at a body as it stands, not all of which could be read, if that does not refuse it:
        a server may be able to."""
        if not self.judge.refuses(finding):
            text = _escape("  ", body.decode(detect_encoding(body), "replace"))
            names = self._cache.names(b"raw", tenant)
            self._look_at(text, Part("", "user", text), None, names, scan)

    def _messages(self, part: Part, kind: bytes, tenant: bytes, scan: Scan) -> list[_Known]:
        """What is known of the messages of a conversation. All but the last few are looked up in
        blocks: a conversation grows at its end."""
        looked: list[_Known] = []
        items = part.value
        one: _Names | None = None
        several = self._cache.names(b"b:" + kind, tenant) if len(items) >= _BLOCK else None
        for start in range(0, len(items), _BLOCK):
            block, name = items[start : start + _BLOCK], None
            if several and len(block) == _BLOCK and (name := _name(block, several)):
                known = self._cache.get(name)
                if known is not None:
                    scan.cached += _BLOCK
                    scan.add(part.key, start, known)
                    looked.append(known)
                    continue
                scan.blocks.append(_Block(scan.size, name))
            one = one or self._cache.names(b"m:" + kind, tenant)
            for index, item in enumerate(block, start):
                looked.append(self._look_at(item, part, index, one, scan))
        return looked

    def _look_at(
        self, value: Any, part: Part, index: int | None, names: _Names, scan: Scan
    ) -> _Known:
        """What is known of one message or key, which becomes a part of the scan."""
        name = _name(value, names)
        if name is None:
            return _TOO_DEEP
        known = self._cache.get(name)
        if known is not None:
            scan.cached += 1
            scan.add(part.key, index, known)
            return known
        contents = Contents(value, part.role, part.key)
        found = [] if index is None else [(each, 0, "") for each in check_message(part.key, value)]
        labels = "\n".join(contents.labels)
        if not characters.is_plain(labels):
            found += [(each, 0, "") for each in characters.check(labels)]
        texts: list[Said] = []
        for said in contents.said:
            role, text = said
            if not characters.is_plain(text):
                found += [(each, 0, role) for each in characters.check(text)]
            if text and role in self._roles:
                texts.append(said)
                scan.work += _size(text)
        known = _Known(contents.members, contents.colons, contents.depth, tuple(found))
        if texts:
            scan.new.append(_New(scan.size, name, known, texts))
        else:
            self._cache.put(name, known)
        scan.add(part.key, index, known)
        return known

    def carriers(self, reply: list[dict[str, Any]]) -> int:
        """How many links in the messages of a reply look as if they carried data away."""
        return sum(carriers(text) for _, text in Contents(reply, "assistant").said)

    def look(self, pieces: list[Piece]) -> Looked:
        """A first look at some pieces of texts."""
        return self._scorer.look(_asked(pieces))

    def score(self, pieces: list[Piece], looked: Looked | None, highest: Highest) -> None:
        """Add what is found in some pieces of texts."""
        scored = looked.score() if looked else self._scorer.score(_asked(pieces))
        for piece, findings in zip(pieces, scored, strict=True):
            highest.add(piece, findings)

    def scored(self, new: _New, found: list[tuple[Finding, int, str]]) -> _Known:
        """A part in whose texts that was found, which is remembered from now on."""
        known = new.known
        if found:
            known = known._replace(found=(*known.found, *found))
        self._cache.put(new.name, known)
        return known

    def remember(self, name: bytes, block: list[_Known]) -> None:
        """What several messages come to."""
        found = [
            (finding, number, role)
            for number, known in enumerate(block)
            for finding, _, role in known.found
        ]
        sums = [sum(each) for each in zip(*((k.members, k.colons) for k in block), strict=True)]
        known = _Known(sums[0], sums[1], max(k.depth for k in block), tuple(found))
        self._cache.put(name, known)


def _asked(pieces: list[Piece]) -> list[tuple[str, str]]:
    """What a scorer is given. Left to itself it passes over the system's words; here they were
    asked for."""
    return [("user" if each.role == "system" else each.role, each.text) for each in pieces]


def _name(value: object, names: _Names) -> bytes | None:
    """What the cache calls it; None for what is nested too deeply to be written: orjson reads 1024
    levels and writes 254."""
    try:
        return names(orjson.dumps(value))
    except orjson.JSONEncodeError:
        return None


def _size(text: str) -> int:
    """What a first look at a text costs, in characters of ASCII."""
    return PER_TEXT + len(text) * (1 if text.isascii() else _BEYOND)


def _kind(key: str) -> bytes:
    """What a key adds to the names of what stands under it, in 14 bytes at most."""
    name = key.encode()
    return name if len(name) <= _KIND else hashlib.blake2b(name, digest_size=_KIND).digest()


_KIND = 14
# Escapes of JSON that part words, which it is no text without.
_escape = re.compile(r'\\[bfnrt"\\/]').sub
# So many messages are looked up as one.
_BLOCK = 8
_TOO_DEEP = _Known(0, 0, MAX_DEPTH + 1, ())


class Scan:
    """A body that was read.

    Attributes:
        found: what concerns the body as a whole.
        new: parts that are to be scored.
        blocks: sums that are not remembered yet.
        cached: messages and other parts that were known.
        work: microseconds that `advance` takes for scoring, in all, at most, more or less.
        model: that the body names, "" for none.
    """

    __slots__ = (
        *("_highest", "_looked", "_parts", "_scanner", "_slices"),
        *("blocks", "cached", "found", "model", "new", "work"),
    )

    def __init__(self, scanner: Scanner, found: list[Found]) -> None:
        self._scanner = scanner
        self._parts: list[tuple[str, int | None, _Known]] = []
        self._looked: tuple[list[Piece], Looked] | None = None
        self.found = found
        self.new: list[_New] = []
        self._slices: Iterator[list[Piece]] | None = None
        self._highest = Highest()
        self.blocks: list[_Block] = []
        self.cached = 0
        self.work = 0
        self.model = ""

    @property
    def size(self) -> int:
        """How many parts there are."""
        return len(self._parts)

    def add(self, key: str, index: int | None, known: _Known) -> None:
        """One more part; `index` is that of its first message."""
        self._parts.append((key, index, known))

    def look(self) -> None:
        """Take a first look at what is new, if it is not much: most of it is passed over, and then
        is no more work. (What is more is work of about a microsecond a character, at most.)"""
        if self.new and self.work <= _SOON:
            pieces = uncut(self._texts())
            self._slices = iter(())
            self._looked = pieces, self._scanner.look(pieces)
            self.work = self._looked[1].work

    def _texts(self) -> list[Said]:
        """All that are to be scored."""
        return [text for new in self.new for text in new.texts]

    def advance(self, most: int) -> Verdict | None:
        """Score some more of what is new, about `most` characters of it. Returns the verdict when
        that was all."""
        if self._looked is not None:
            self._scanner.score(*self._looked, self._highest)
            self._looked = None
        if not self.new:
            return self._judged()
        if self._slices is None:
            self._slices = sliced(self._texts())
        spent = 0
        for pieces in self._slices:
            self._scanner.score(pieces, None, self._highest)
            spent += sum([_size(each.text) for each in pieces])
            if spent >= most:
                return None
        self._keep()
        return self._judged()

    def verdict(self) -> Verdict:
        """Score all of it, and judge."""
        while (verdict := self.advance(self.work + 1)) is None:
            pass
        return verdict

    def _keep(self) -> None:
        """Add what was found to the parts, which are those of `new`, text by text."""
        highest = self._highest.findings()
        if not highest:  # as in most
            for new in self.new:
                self._scanner.scored(new, [])
            return
        of = [at for at, new in enumerate(self.new) for _ in new.texts]
        found: list[list[tuple[Finding, int, str]]] = [[] for _ in self.new]
        for number, finding, role in highest:
            found[of[number]].append((finding, 0, role))
        for new, each in zip(self.new, found, strict=True):
            key, index, _ = self._parts[new.at]
            self._parts[new.at] = (key, index, self._scanner.scored(new, each))

    def _judged(self) -> Verdict:
        scanner, parts = self._scanner, self._parts
        for first, name in self.blocks:
            block = [known for _, _, known in parts[first : first + _BLOCK]]
            if len(block) == _BLOCK:
                scanner.remember(name, block)
        for key, index, known in parts:
            for finding, number, role in known.found:
                at = None if index is None else index + number
                self.found.append(Found(finding, key if key in KNOWN_KEYS else OTHER, at, role))
        return scanner.judge.verdict(self.found)
