"""Rendering in m2m-link(7): what some writers of JSON escape that others do not."""

from __future__ import annotations

import re

PIECES = re.compile(r"\\.|[<>&'=+`/]", re.DOTALL)


def more_escapes(end: bytes) -> dict[str, str]:
    """What else some writers escape, as the end of a request shows."""
    more: dict[str, str] = {}
    unseen = [letter for letter in "<>&'=+`" if letter.encode() not in end]
    for letters in ("<>&", *"'=+`"):
        forms = [[f"{form:04x}", f"{form:04X}"] for form in map(ord, letters)]
        used = [[form.encode() in end for form in ("\\u" + low, "\\u" + up)] for low, up in forms]
        if set(letters) <= set(unseen) and any(map(any, used)):
            upper = any(up and not low for low, up in used)
            more |= {x: "\\u" + form[upper] for x, form in zip(letters, forms, strict=True)}
    if unseen and b"\\u0022" in end and b'\\"' not in end:
        more['\\"'] = "\\u0022"
    slash = end.find(b"/")
    if slash > 0 and end[slash - 1 :][:1] == b"\\" and end.count(b"/") == end.count(b"\\/"):
        more["/"] = "\\/"
    return more
