"""Pieces as Mistral writes them: a tekken.json, which has their bytes in base64, by rank.

The file has more of them than the vocabulary takes; how many those are, its configuration says.

The one rule: what is not such a file raises ValueError.
"""

from __future__ import annotations

import binascii
import json


def ranks_of(data: bytes) -> dict[bytes, int]:
    """The pieces and their ranks."""
    try:
        file = json.loads(data)
        config = file["config"]
        count = config["default_vocab_size"] - config["default_num_special_tokens"]
        return {
            binascii.a2b_base64(each["token_bytes"]): each["rank"]
            for each in file["vocab"]
            if each["rank"] < count
        }
    except (LookupError, TypeError) as error:
        raise ValueError(f"no tekken.json: {error}") from None
