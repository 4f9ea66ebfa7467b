"""What a session's requests are in other forms than the link's: computed, nothing is sent.

Two of them say what there is to say at all. NEW is the oracle of a sender that keeps the history
but no reply: only the messages that the last request had not, brotli 11, without a frame. AFTER is
zstd 19 after the last request and its reply, without a frame: what goes on from them alone is not
much smaller. The link has the tables and the text of its static dictionary, too, and can be.
"""

import json
from collections import Counter
from typing import Any

from openai_replies import compact
from sessions import Turn

from m2mproxy.codec import coding, dictionaries, frame, zstd
from m2mproxy.link.reply import ReplyReader, render

GZIP, DICTIONARY, M2M, NEW, AFTER = "gzip -6", "zstd3+dict", "m2m", "new, br 11", "last, z 19"
STATELESS = (GZIP, DICTIONARY, M2M)


def stateless(body: bytes) -> Counter[str]:
    """Bytes of a request that stands alone, by form."""
    return Counter(
        {
            GZIP: len(coding.encode(coding.GZIP, body, 6)),
            DICTIONARY: len(zstd.pack(body, 3, dictionaries.request())),
            M2M: len(frame.encode(body)),
        }
    )


def bounds(before: Turn, body: bytes) -> Counter[str]:
    """Bytes of a request that follows `before`, by bound."""
    reader = ReplyReader(before.is_stream)
    for piece in before.reply:
        reader.feed(piece)
    prefix = before.request + render(reader.finish(), before.request)
    new = _new_messages(before.request, body)
    return Counter(
        {
            NEW: len(coding.encode(coding.BR, new, 11)),
            AFTER: len(zstd.pack_after(body, prefix, 19)),
        }
    )


def _new_messages(before: bytes, body: bytes) -> bytes:
    known = {compact(each) for each in _messages(before)}
    spelt = [compact(each) for each in _messages(body)]
    return b",".join(each for each in spelt if each not in known) if spelt else body


def _messages(body: bytes) -> list[Any]:
    try:
        messages = json.loads(body)["messages"]
    except (ValueError, LookupError, TypeError):
        return []
    return messages if isinstance(messages, list) else []
