"""What shows that the sender of a body got a reply: a text of it, or what nobody else can know.

Of a reply that calls functions these are the random ids of its calls (reply.py). Whatever else it
has, what the model has sealed in it does as well, to be sent back: its thoughts, and what proves
them; and the random ids of what it did itself. By the last of these a body's conversation is found
again, too, however the rest of the body has changed.

The one rule: what is shorter, or can be made up, shows nothing: it could be guessed.
"""

from __future__ import annotations

import re
from itertools import islice

# What a reply says: its text, or the arguments of a call; and what it thought before.
_said = re.compile(
    rb'"(?:content|text|arguments)": ?"((?:[^"\\]|\\.)[^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL
).search
_thought = re.compile(
    rb'"(?:reasoning|reasoning_content|thinking)": ?"((?:[^"\\]|\\.)[^"\\]*+(?:\\.[^"\\]*+)*+)"',
    re.DOTALL,
).search
_SPACE = b" \\nrt"  # as it is, or escaped
# What is shorter could be guessed, and then what the reply says after it, piece by piece.
_LEAST_SAID = 64
# What the text of a reply begins with, which the first message of a body has not before it.
_BEFORE_REPLY = b", "

_sealed = re.compile(
    rb'"(?:signature|thoughtSignature|thought_signature|encrypted_content)": ?"([\w+/=-]{128,})"'
    rb'|"type": ?"(?:redacted_thinking|reasoning\.encrypted)"[^{}]{0,256}?'
    rb'"data": ?"([\w+/=-]{128,})"'
).finditer
# Bytes at its end, which nobody can guess, and how many of them are looked for.
_OF_SEALED, _MOST_SEALED = 48, 4
# Ends of the names of what is sealed, by which the last one is found, and the text of that.
_NAMES = (b'ignature"', b'"encrypted_content"')
_seal = re.compile(rb'\s*:\s*"([\w+/=-]{128,})"').match
_id = re.compile(rb'\s*:\s*"([^"\\]{8,256})"').match
# Ids at the end of a body that are looked at: a schema that comes after them may have some, too.
_MOST_IDS = 8
# And how many bytes at its end are searched.
MOST_SEARCHED = 256 * 1024
# Some libraries write what they read as Base64 in the alphabet for URLs.
_OF_URLS = bytes.maketrans(b"-_", b"+/")


def texts(reply: bytes) -> list[bytes]:
    """What a body has of a reply without random ids of calls, if its sender got that."""
    whole = reply.lstrip(_BEFORE_REPLY)
    found = (match[1].strip(_SPACE) for match in (_said(reply), _thought(reply)) if match)
    return [*(text for text in found if len(text) >= _LEAST_SAID), whole]


def seals(reply: bytes) -> list[bytes]:
    """What it has of one of whatever kind: ends of what is sealed."""
    return [(each[1] or each[2])[-_OF_SEALED:] for each in islice(_sealed(reply), _MOST_SEALED)]


def last_seals(text: bytes) -> list[bytes]:
    """The ends of what is sealed last in a body or a reply, in one alphabet."""
    found, first = [], max(len(text) - MOST_SEARCHED, 0)
    for name in _NAMES:
        at = text.rfind(name, first)
        if at >= 0 and (match := _seal(text, at + len(name))):
            found.append(match[1][-_OF_SEALED:].translate(_OF_URLS))
    return found


def last_ids(body: bytes) -> list[bytes]:
    """What may be an id of what a reply had, from the last one on."""
    found, end, first = [], len(body), max(len(body) - MOST_SEARCHED, 0)
    for _ in range(_MOST_IDS):
        at = body.rfind(b'"id"', first, end)
        if at < 0:
            break
        if match := _id(body, at + len(b'"id"')):
            found.append(match[1])
        end = at
    return found
