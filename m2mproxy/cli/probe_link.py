"""Whether an origin offers an m2m-link, as `m2m probe` reports it.

The one rule: whether the link can be used is decided as the proxy itself decides it, by the same
SETTINGS; everything else is reported as it stands in them.
"""

from __future__ import annotations

import time
from typing import Any

from m2mproxy.codec import dictionaries
from m2mproxy.config import Link
from m2mproxy.net.connection import Session
from m2mproxy.proxy.links import DICTIONARIES, SETTING, Links, memory_of

# How it was learnt: by the SETTINGS of the connection that was asked on; by those of another one,
# with prior knowledge, since a response said that there is a link; by that response alone.
SETTINGS, PRIOR_KNOWLEDGE, FIELD = "settings", "prior knowledge", "response"


def of_session(session: Session, learnt: str) -> dict[str, Any]:
    """What the SETTINGS of a connection offer."""
    offer = session.settings.get(SETTING)
    if offer is None:
        return {"usable": False, "learnt": learnt}
    return {
        "usable": Links(Link(), time.monotonic, sealed=False).offered(session) is not None,
        "learnt": learnt,
        "version": offer >> 24,
        "memory": memory_of(offer),
        "dictionaries": _dictionaries(session.settings.get(DICTIONARIES)),
    }


def unseen(why: str = "") -> dict[str, Any]:
    """What is reported where no SETTINGS were seen; `why`, if a response speaks of a link."""
    return {"usable": False, "learnt": FIELD, "error": why} if why else {"usable": False}


def _dictionaries(name: int | None) -> str:
    if name is None:
        return "none"
    return "same" if name == int(dictionaries.version(), 16) else "other"
