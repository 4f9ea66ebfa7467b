"""A verdict on the body of a request: what was found in it, where, and whether that is too much.

It takes two steps, so that whoever calls can do the long one elsewhere: `read` parses the body,
checks its bytes, and looks up what is known of its parts; `verdict` scores the texts that are new.

The one rule: the same body gets the same verdict, whatever was scanned before and by whom.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import orjson

from m2mproxy.guard import characters, document, shape, walk
from m2mproxy.guard.cache import Cache
from m2mproxy.guard.characters import malformed
from m2mproxy.guard.document import MAX_DEPTH, Malformed, Tally, parse
from m2mproxy.guard.finding import Category, Finding
from m2mproxy.guard.outbound import carriers
from m2mproxy.guard.shape import check_message
from m2mproxy.guard.walk import ROLES, Contents, Part, Said, parts

CHECKS: Mapping[str, str] = {**document.CHECKS, **shape.CHECKS, **characters.CHECKS}
"""The ids of what is found without a scorer, and why."""
DEFAULT_ROLES = ("user", "assistant", "tool")
DEFAULT_THRESHOLD = 0.8
# What a text costs whatever its length, in characters of ASCII; what one beyond it costs.
PER_TEXT = 32
_BEYOND = 8
# Of so much a first look is taken as soon as it is read; that of more is taken for the work.
_SOON = 4096
_MOST_FOUND = 32
_LONGEST_MODEL = 200
OTHER = "*"
KNOWN_KEYS = shape.KEYS | walk.KEYS
_NO_TENANT = b""


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


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, and where: the key of the request (OTHER for one that is not known, since that is
    the client's words), which message of the list under it (None for no message), and whose
    words."""

    finding: Finding
    key: str
    index: int | None
    role: str

    @property
    def place(self) -> str:
        """For people: `messages[3] (tool) at 120`."""
        index = "" if self.index is None else f"[{self.index}]"
        role = f" ({self.role})" if self.role else ""
        return f"{self.key or 'body'}{index}{role} at {self.finding.offset}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a scan comes to."""

    found: tuple[Found, ...]
    """Highest score first, the first ones of many."""
    over: tuple[Found, ...]
    """Those that reach the threshold of their category."""
    refuses: bool
    """Whether one of them has a threshold above 0, which is what refuses a request."""

    @property
    def score(self) -> float:
        """The highest, 0 for nothing."""
        return self.found[0].finding.score if self.found else 0.0


CLEAN = Verdict((), (), False)


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
        """`thresholds` that are not given are DEFAULT_THRESHOLD; `off` are ids of CHECKS that do
        not count; `roles` are whose words are scored; `cache` is how many parts are remembered.

        Raises:
            ValueError: no such id or role.
        """
        for name, known in ((off, CHECKS), (roles, ROLES)):
            unknown = next((each for each in name if each not in known), None)
            if unknown is not None:
                raise ValueError(f'there is no "{unknown}"')
        self._scorer = scorer
        given = thresholds or {}
        self._thresholds = {each: given.get(each, DEFAULT_THRESHOLD) for each in Category}
        self._off = frozenset(off)
        self._roles = frozenset(roles)
        self._cache: Cache[_Known] = Cache(cache)

    def read(self, body: bytes, tenant: bytes = _NO_TENANT) -> Scan:
        """Parse a body and look up what is known. `tenant` is whose it is, in at most 16 bytes."""
        try:
            request, text = parse(body)
        except Malformed as error:
            return Scan(self, [Found(error.finding, "", None, "")])
        scan = Scan(self, [])
        model = request.get("model")
        if type(model) is str and len(model) <= _LONGEST_MODEL:
            scan.model = model
        tally, labels, deepest = Tally(), list(request), 1
        for part in parts(request, len(text), labels):
            key, within = part.key, part.within
            kind = key[:14].encode()[:14]
            if part.is_conversation:
                within += 1
                looked = self._messages(part, kind, tenant, scan)
            else:
                looked = [self._look_at(part.value, part, None, b"k:" + kind, tenant, scan)]
            for known in looked:
                tally.add(known.members, known.colons)
                if known.depth + within > deepest:
                    deepest = known.depth + within
        names = "\n".join(labels)
        tally.add(len(request), names.count(":"))
        whole = [*shape.check_members(request), *characters.check(names)]
        if deepest > MAX_DEPTH:
            whole.append(malformed("nesting", CHECKS["nesting"], 0))
        elif not tally.has_all_of(text):
            whole.append(malformed("duplicate_key", CHECKS["duplicate_key"], 0))
        scan.found += [Found(each, "", None, "") for each in whole]
        scan.look()
        return scan

    def _messages(self, part: Part, kind: bytes, tenant: bytes, scan: Scan) -> list[_Known]:
        """What is known of the messages of a conversation. All but the last few are looked up in
        blocks: a conversation grows at its end."""
        looked: list[_Known] = []
        items, one, several = part.value, b"m:" + kind, b"b:" + kind
        for start in range(0, len(items), _BLOCK):
            block, name = items[start : start + _BLOCK], None
            if len(block) == _BLOCK and (name := self._name(block, several, tenant)):
                known = self._cache.get(name)
                if known is not None:
                    scan.cached += _BLOCK
                    scan.add(part.key, start, known)
                    looked.append(known)
                    continue
                scan.blocks.append(_Block(scan.size, name))
            for index, item in enumerate(block, start):
                looked.append(self._look_at(item, part, index, one, tenant, scan))
        return looked

    def _name(self, value: object, kind: bytes, tenant: bytes) -> bytes | None:
        """What the cache calls it; None for what is nested too deeply to be written: orjson reads
        1024 levels and writes 254."""
        try:
            return self._cache.name(orjson.dumps(value), kind, tenant)
        except orjson.JSONEncodeError:
            return None

    def _look_at(
        self, value: Any, part: Part, index: int | None, kind: bytes, tenant: bytes, scan: Scan
    ) -> _Known:
        """What is known of one message or key, which becomes a part of the scan."""
        name = self._name(value, kind, tenant)
        if name is None:
            return _TOO_DEEP
        known = self._cache.get(name)
        if known is not None:
            scan.cached += 1
            scan.add(part.key, index, known)
            return known
        contents = Contents(value, part.role, part.key)
        found = [] if index is None else [(each, 0, "") for each in check_message(part.key, value)]
        found += [(each, 0, "") for each in characters.check("\n".join(contents.labels))]
        for role, text in contents.said:
            found += [(each, 0, role) for each in characters.check(text)]
        known = _Known(contents.members, contents.colons, contents.depth, tuple(found))
        texts = [each for each in contents.said if each.role in self._roles and each.text]
        if texts:
            scan.new.append(_New(scan.size, name, known, texts))
            scan.work += sum([_size(each.text) for each in texts])
        else:
            self._cache.put(name, known)
        scan.add(part.key, index, known)
        return known

    def carriers(self, reply: list[dict[str, Any]]) -> int:
        """How many links in the messages of a reply look as if they carried data away."""
        return sum(carriers(text) for _, text in Contents(reply, "assistant").said)

    def look(self, several: Sequence[_New]) -> Looked:
        """A first look at new parts."""
        return self._scorer.look(_asked(several))

    def score(self, several: Sequence[_New], looked: Looked | None) -> list[_Known]:
        """Parts with their texts scored, all at once, which are remembered from now on."""
        scored = iter(looked.score() if looked else self._scorer.score(_asked(several)))
        parts: list[_Known] = []
        for new in several:
            found = list(new.known.found)
            for role, _ in new.texts:
                found.extend((each, 0, role) for each in next(scored))
            known = new.known._replace(found=tuple(found))
            self._cache.put(new.name, known)
            parts.append(known)
        return parts

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

    def judge(self, found: Collection[Found]) -> Verdict:
        """The verdict on what was found."""
        if not found:
            return CLEAN
        off, thresholds = self._off, self._thresholds
        counts = sorted(
            (each for each in found if each.finding.source not in off),
            key=lambda each: -each.finding.score,
        )
        over = tuple(
            each for each in counts if each.finding.score >= thresholds[each.finding.category]
        )
        refuses = any(thresholds[each.finding.category] > 0 for each in over)
        return Verdict(tuple(counts[:_MOST_FOUND]), over[:_MOST_FOUND], refuses)


def _asked(several: Sequence[_New]) -> list[tuple[str, str]]:
    """What a scorer is given. Left to itself it passes over the system's words; here they were
    asked for."""
    return [
        ("user" if role == "system" else role, text) for new in several for role, text in new.texts
    ]


def _size(text: str) -> int:
    """What a first look at a text costs, in characters of ASCII."""
    return PER_TEXT + len(text) * (1 if text.isascii() else _BEYOND)


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
        work: microseconds that `verdict` takes for scoring, at most, more or less.
        model: that the body names, "" for none.
    """

    __slots__ = (
        *("_looked", "_parts", "_scanner"),
        *("blocks", "cached", "found", "model", "new", "work"),
    )

    def __init__(self, scanner: Scanner, found: list[Found]) -> None:
        self._scanner = scanner
        self._parts: list[tuple[str, int | None, _Known]] = []
        self._looked: Looked | None = None
        self.found = found
        self.new: list[_New] = []
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
            self._looked = self._scanner.look(self.new)
            self.work = self._looked.work

    def verdict(self) -> Verdict:
        """Score what is new, and judge."""
        scanner, parts = self._scanner, self._parts
        scores = scanner.score(self.new, self._looked) if self.new else []
        for new, scored in zip(self.new, scores, strict=True):
            key, index, _ = parts[new.at]
            parts[new.at] = (key, index, scored)
        for first, name in self.blocks:
            block = [known for _, _, known in parts[first : first + _BLOCK]]
            if len(block) == _BLOCK:
                scanner.remember(name, block)
        for key, index, known in parts:
            for finding, number, role in known.found:
                at = None if index is None else index + number
                self.found.append(Found(finding, key if key in KNOWN_KEYS else OTHER, at, role))
        return scanner.judge(self.found)
