"""What is loaded for the server before it serves.

It takes seconds, or megabytes that few need, so the command loads what the configuration asks for:
before the event loop runs, which would stand still meanwhile, and before the process that counts is
forked, which shares it.

The one rule: of what is None here no library is in memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from m2mproxy.codec.token_native import Vocabularies
from m2mproxy.proxy.scanning import Scans
from m2mproxy.proxy.sealing import BothSeal
from m2mproxy.tokens.job import TokenCounter


@dataclass(frozen=True, slots=True)
class Loaded:
    """The parts of a server that not every configuration has."""

    vocabularies: Vocabularies
    """Those that bodies in token ids are read with; none for most."""
    aead: BothSeal | None
    """The AEAD seal with the key of `peer.psk_file`."""
    counter: TokenCounter | None
    """What counts the tokens that replies do not report."""
    scanner: Scans | None
    """What scans requests."""
