"""The types that each member of a request can have, one by one."""

from __future__ import annotations

from typing import Any

import pytest

from m2mproxy.guard.shape import KEYS, check_members, check_message

# By their kinds: text, list, object, number, switch.
VALUES: dict[str, Any] = {"t": "x", "l": [], "o": {}, "n": 1, "f": 0.5, "s": True}
ALLOWED = {
    "t": "model suffix user",
    "l": "messages functions stop_sequences",
    "lo": "tools",
    "tl": "instructions system stop",
    "tlo": "prompt input",
    "to": "tool_choice response_format",
    "o": "logit_bias metadata stream_options",
    "s": "stream parallel_tool_calls store echo",
    "nf": "temperature top_p top_k frequency_penalty presence_penalty max_tokens n best_of seed "
    "max_completion_tokens max_output_tokens top_logprobs",
}
KINDS_OF = {key: kinds for kinds, keys in ALLOWED.items() for key in keys.split()}


def test_all_keys_are_here() -> None:
    assert KINDS_OF.keys() == KEYS


@pytest.mark.parametrize("key", sorted(KINDS_OF))
def test_a_value_of_each_type(key: str) -> None:
    for kind, value in VALUES.items():
        found = [each.source for each in check_members({key: value})]
        assert found == ([] if kind in KINDS_OF[key] else ["type"])
    assert not [*check_members({key: None})]


def test_an_item_of_the_input_that_is_no_object_is_no_message() -> None:
    assert not [*check_message("input", "a role to play")]
    assert not [*check_message("input", ["role"])]
