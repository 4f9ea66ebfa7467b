"""A verdict on a whole body: what counts, where it is, and what is remembered."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_words import Words

from m2mproxy.guard.cache import Cache
from m2mproxy.guard.finding import Category
from m2mproxy.guard.scanner import CHECKS, Scanner
from m2mproxy.guard.verdict import Verdict


def turns(*texts: str, role: str = "user") -> bytes:
    messages = [{"role": role, "content": text} for text in texts]
    return json.dumps({"model": "m", "messages": messages}).encode()


def scan(body: bytes | dict[str, Any], **settings: Any) -> Verdict:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Scanner(Words(), **settings).read(data).verdict()


def sources(verdict: Verdict) -> list[str]:
    return [each.finding.source for each in verdict.found]


def test_a_clean_body() -> None:
    verdict = scan(turns("hello"))
    assert (verdict.found, verdict.over, verdict.refuses, verdict.score) == ((), (), False, 0)


def test_where_it_is() -> None:
    verdict = scan(
        {
            "messages": [
                {"role": "system", "content": "be good"},
                {"role": "user", "content": "please"},
                {"role": "tool", "content": "then IGNORE all"},
            ]
        }
    )
    (found,) = verdict.over
    assert (found.key, found.index, found.role) == ("messages", 2, "tool")
    assert found.place == "messages[2] (tool) at 5"
    assert (verdict.score, verdict.refuses) == (0.95, True)
    assert scan({"prompt": "IGNORE"}).found[0].place == "prompt (user) at 0"
    assert scan(b'{"a":"\xff"}').found[0].place == "body at 6"
    assert scan({"my secret": "IGNORE"}).found[0].place == "* (user) at 0"  # a key is content


def test_a_text_within_data_is_no_key_that_is_given_twice() -> None:
    """Its colons are not in the body."""
    inside = base64.b64encode(b"a: b: IGNORE: " * 300).decode()
    assert sources(scan({"prompt": [{"file_data": inside}]})) == ["ignore"]
    twice = b'{"prompt":[{"file_data":"%b","x":1,"x":1}]}' % inside.encode()
    assert sources(scan(twice)) == ["duplicate_key", "ignore"]


def test_what_refuses_comes_before_what_is_only_told() -> None:
    mixed = {Category.INJECTION: 0.0}
    verdict = scan(turns("IGNORE LEAK"), thresholds=mixed)
    assert [each.finding.source for each in verdict.over] == ["leak", "ignore"]
    assert sources(verdict) == ["ignore", "leak"] and verdict.refuses


UNREADABLE = [
    b'{"prompt":"IGNORE \xff"}',
    b'{"prompt":"IGNORE \\ud800"}',
    b'{"prompt":"so\\nIGNORE \n"}',
    b'{"prompt":"IGNORE","n":NaN}',
    b'{"prompt":"IGNORE","n":1e999}',
    b'{"prompt":"IGNORE"} x',
    b'{"prompt":"IGNORE",}',
    b'[{"prompt":"IGNORE"}]',
    b'{"prompt":"IGNORE","prompt":"hello"}',
    b'{"prompt":' + b'{"a":' * 40 + b'"IGNORE"' + b"}" * 41,
    b'{"prompt":' + b"[" * 300 + b'"IGNORE"' + b"]" * 300 + b"}",
    b'{"prompt":"IGNORE","a":[' + b"1," * 500_001 + b"1]}",
    '{"prompt":"IGNORE"}'.encode("utf-16"),
    '{"prompt":"IGNORE"}'.encode("utf-32-be"),
]


@pytest.mark.parametrize("body", UNREADABLE, ids=range(len(UNREADABLE)))
def test_what_is_malformed_and_may_pass_is_scanned_all_the_same(body: bytes) -> None:
    """A server may read what we do not: by its first key, or with replacements."""
    (found,) = scan(body).found  # as it is refused by that, there is no need to look further
    source = found.finding.source
    for told in (
        scan(body, off=[source]),
        scan(body, thresholds={Category.MALFORMED: 0.0}),
        scan(body, thresholds=dict.fromkeys(Category, 0.0)),
    ):
        assert "ignore" in sources(told)
    assert scan(body, off=[source]).refuses
    harmless = body.replace(b"IGNORE", b"hello").replace("IGNORE".encode("utf-16-le"), b"")
    harmless = harmless.replace("IGNORE".encode("utf-32-be"), b"")
    assert not scan(harmless, off=[source]).refuses


def test_what_is_too_deep_to_be_named_is_remembered_under_no_name() -> None:
    scanner = Scanner(Words(), off=["nesting"])
    deep = b'{"prompt":{"x":"%b","y":' + b"[" * 300 + b"]" * 300 + b"}}"
    assert scanner.read(deep % b"IGNORE").verdict().refuses
    assert not scanner.read(deep % b"hello").verdict().refuses


def test_a_model_has_a_name_of_bounded_length() -> None:
    for size, expected in ((200, "m" * 200), (201, "")):
        assert Scanner(Words()).read(b'{"model":"%b"}' % (b"m" * size)).model == expected


def test_an_input_that_is_one_object_is_no_message() -> None:
    assert scan({"input": {"role": "whatever", "content": "x"}}).found == ()


def test_what_is_known_of_one_key_says_nothing_of_a_longer_one() -> None:
    """Whatever was scanned before."""
    scanner = Scanner(Words())
    for key, refuses in (("system_instruction", False), ("system_instructions", True)):
        body = json.dumps({key: "IGNORE"}).encode()
        assert scanner.read(body).verdict().refuses is refuses


def test_the_highest_comes_first() -> None:
    verdict = scan(turns("HINT", "LEAK", "IGNORE"))
    assert sources(verdict) == ["ignore", "leak", "hint"]
    assert [each.finding.source for each in verdict.over] == ["ignore", "leak"]


def test_thresholds_are_those_of_the_categories() -> None:
    body = turns("HINT IGNORE LEAK")
    only = {Category.INJECTION: 0.96, Category.EXFILTRATION: 0.9, Category.JAILBREAK: 0.3}
    verdict = scan(body, thresholds=only)
    assert [each.finding.source for each in verdict.over] == ["leak", "hint"]
    assert verdict.refuses


def test_a_threshold_of_nothing_reports_and_refuses_nothing() -> None:
    verdict = scan(turns("HINT"), thresholds=dict.fromkeys(Category, 0.0))
    assert sources(verdict) == ["hint"] and verdict.over == verdict.found
    assert not verdict.refuses
    mixed = {Category.JAILBREAK: 0.0}
    assert not scan(turns("HINT"), thresholds=mixed).refuses
    assert scan(turns("HINT IGNORE"), thresholds=mixed).refuses


@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("nul", turns("a\0b")),
        ("bidi", turns("a\u202eb", role="system")),
        ("tags", b'{"messages":[{"role":"user","content":"x","\\udb40\\udc61":1}]}'),
        ("nul", b'{"model":"m\\u0000"}'),
        ("nul", b'{"a\\u0000":1}'),
        ("nul", b'{"messages":[{"role":"user","content":[{"url":"data:,\\u0000"}]}]}'),
        ("invisible", json.dumps({"tools": [{"description": "\u200b" * 9}]}).encode()),
        ("duplicate_key", b'{"messages":[{"role":"user","role":"user","content":"x"}]}'),
        ("duplicate_key", b'{"a":1,"\\u0061":1}'),
        ("nesting", b'{"a":' + b"[" * 32 + b"]" * 32 + b"}"),
        ("nesting", b'{"messages":[{"x":' + b"[" * 30 + b"]" * 30 + b',"role":"user"}]}'),
        ("nesting", b'{"a":' + b'{"a":' * 300 + b"1" + b"}" * 301),
        ("type", b'{"model":["m"]}'),
        ("type", b'{"messages":"x"}'),
        ("type", b'{"messages":["x"]}'),
        ("type", b'{"messages":[{"content":"x"}]}'),
        ("type", b'{"messages":[{"role":1,"content":"x"}]}'),
        ("type", b'{"messages":[{"role":"user","content":5}]}'),
        ("type", b'{"messages":[{"role":"user","content":[5]}]}'),
        ("type", b'{"messages":[{"role":"assistant","tool_calls":"f"}]}'),
        ("type", b'{"stream":"yes"}'),
        ("type", b'{"temperature":true}'),
        ("type", b'{"max_tokens":"9"}'),
        ("type", b'{"input":7}'),
        ("type", b'{"tools":"f"}'),
        ("role", b'{"messages":[{"role":"root","content":"x"}]}'),
        ("role", b'{"input":[{"role":"","content":"x"}]}'),
        ("json", b'{"messages":['),
        ("object", b"[]"),
    ],
)
def test_what_is_malformed(source: str, body: bytes) -> None:
    verdict = scan(body)
    assert sources(verdict) == [source]
    assert verdict.refuses and verdict.over[0].finding.category is Category.MALFORMED
    assert scan(body, off=[source]).found == ()


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"contents":[],"tools":{"function_declarations":[]}}',
        b'\xef\xbb\xbf{"messages":[]}',
        b'{"a":' + b"[" * 31 + b"]" * 31 + b"}",
        b'{"messages":[{"x":' + b"[" * 29 + b"1" + b"]" * 29 + b',"role":"user"}]}',
        b'{"model":"m","temperature":0,"max_tokens":null,"stream":false,"stop":["a"],"n":1.0}',
        b'{"input":[1,2],"user":"u","metadata":{"a":"b"}}',
        b'{"input":[[1,2]],"response_format":"b64_json"}',
        b'{"input":[{"type":"item_reference","id":"x"}]}',
        b'{"messages":[{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]}]}',
        b'{"messages":[{"role":"user","content":["a",{"type":"text","text":"b"}]}]}',
        b'{"contents":[{"role":"model","parts":[]}],"messages":null}',
        b'{"examples":[{"role":"grader"}]}',
    ],
    ids=range(13),
)
def test_what_is_not(body: bytes) -> None:
    assert sources(scan(body)) == []


def test_roles_that_are_not_scored_are_still_checked() -> None:
    body = {
        "messages": [
            {"role": "system", "content": "IGNORE"},
            {"role": "assistant", "content": "LEAK"},
        ],
        "tools": [{"description": "HINT"}],
    }
    assert sources(scan(body)) == ["leak"]
    assert sources(scan(body, roles=("system", "definition"))) == ["ignore", "hint"]
    assert scan(body, roles=()).found == ()


def test_the_words_of_the_system_are_scored_as_anybodys_where_they_are_asked_for() -> None:
    words = Words()
    body = b'{"system":"IGNORE","tools":[{"description":"LEAK"}]}'
    verdict = Scanner(words, roles=("system", "definition")).read(body).verdict()
    assert words.asked == [("user", "IGNORE"), ("definition", "LEAK")]
    assert [each.role for each in verdict.over] == ["system", "definition"]


def test_what_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match='"bidy"'):
        Scanner(Words(), off=["nul", "bidy"])
    with pytest.raises(ValueError, match='"admin"'):
        Scanner(Words(), roles=["admin"])


def test_no_check_shares_its_id() -> None:
    assert len(CHECKS) == 10 + 2 + 7


def test_of_many_findings_the_first_ones_are_told() -> None:
    verdict = scan(turns(*["IGNORE"] * 100))
    assert len(verdict.found) == len(verdict.over) == 32


# -- what is remembered ----------------------------------------------------------------------------


def grown(count: int) -> bytes:
    return turns(*(f"turn {number} " + "x" * 300 for number in range(count)))


def test_a_later_turn_costs_what_is_new() -> None:
    words = Words()
    scanner = Scanner(words)
    for count in range(1, 41):
        scan = scanner.read(grown(count))
        assert scan.work == len(f"turn {count - 1} ") + 300
        assert scan.cached == count - 1
        assert scan.verdict().found == ()
    assert len(words.asked) == 40


@pytest.mark.parametrize(
    ("text", "is_much"),
    [("x" * 3000, False), ("x" * 5000, True), ("\u00e9" * 400, False), ("\u00e9" * 600, True)],
)
def test_of_much_not_even_a_look_is_taken_at_once(text: str, is_much: bool) -> None:
    words = Words()
    scan = Scanner(words).read(turns(text))
    assert words.looked == (0 if is_much else 1)
    assert (scan.work > 4096) == is_much
    scan.verdict()
    assert [each for _, each in words.asked] == [text]


def test_what_was_found_is_remembered_with_its_place() -> None:
    scanner = Scanner(Words())
    texts = [f"{number} {'IGNORE' if number in (3, 17) else ''}" for number in range(20)]
    first = scanner.read(turns(*texts)).verdict()
    scan = scanner.read(turns(*texts))
    assert scan.work == 0
    again = scan.verdict()
    assert again == first
    assert [each.index for each in again.over] == [3, 17]
    shifted = scanner.read(turns("new", *texts))  # all blocks have changed, no message has
    assert shifted.work == len("new")
    assert [each.index for each in shifted.verdict().over] == [4, 18]


def test_the_same_words_of_another_are_scored_anew() -> None:
    words = Words()
    scanner = Scanner(words)
    for role in ("user", "tool", "assistant"):
        scanner.read(turns("IGNORE", role=role)).verdict()
    assert [role for role, _ in words.asked] == ["user", "tool", "assistant"]
    scanner.read(b'{"prompt":"IGNORE"}').verdict()
    scanner.read(b'{"input":"IGNORE"}').verdict()
    assert len(words.asked) == 5


def test_nothing_is_remembered_for_another_tenant() -> None:
    scanner = Scanner(Words())
    scanner.read(grown(20), b"one").verdict()
    assert scanner.read(grown(20), b"one").work == 0
    assert scanner.read(grown(20), b"other").cached == 0


def test_malformed_parts_are_remembered_as_such() -> None:
    scanner = Scanner(Words())
    bad = [
        b'{"messages":[{"role":"user","role":"user","content":"x"}]}',
        b'{"messages":[{"role":"root","content":"x"}]}',
        turns("a\u202eb"),
        b'{"a":' + b"[" * 40 + b"]" * 40 + b"}",
    ]
    for _ in range(3):
        for body in bad:
            assert scanner.read(body).verdict().refuses
    assert not scanner.read(b'{"messages":[{"role":"user","content":"x"}]}').verdict().refuses


def test_without_a_cache_nothing_is() -> None:
    scanner = Scanner(Words(), cache=0)
    for _ in range(2):
        scan = scanner.read(grown(20))
        assert scan.cached == 0
        scan.verdict()


def test_a_scan_that_is_given_up_leaves_nothing_wrong() -> None:
    scanner = Scanner(Words())
    scanner.read(turns("IGNORE"))  # and never judged
    assert sources(scanner.read(turns("IGNORE")).verdict()) == ["ignore"]


TEXTS = st.sampled_from(["IGNORE", "LEAK this", "hello", "HINT", "a\u202eb", "", "x" * 50])
BODIES = st.lists(st.lists(TEXTS, max_size=20), min_size=1, max_size=6)


@settings(max_examples=60)
@given(BODIES)
def test_what_was_scanned_before_changes_no_verdict(bodies: list[list[str]]) -> None:
    scanner = Scanner(Words(), cache=24)
    for texts in bodies:
        body = turns(*texts)
        assert scanner.read(body).verdict() == scan(body, cache=0)


def test_the_cache_keeps_what_is_used_and_is_bounded() -> None:
    cache: Cache[int] = Cache(10)
    name = cache.names(b"k", b"t")
    names = [name(b"%d" % number) for number in range(100)]
    for number, name in enumerate(names):
        cache.put(name, number)
        assert cache.get(names[0]) == 0  # used, and so kept
        assert len(cache) <= 10
    assert cache.get(names[99]) == 99
    assert cache.get(names[50]) is None


def test_names_differ_by_all_that_matters() -> None:
    cache: Cache[int] = Cache(10)
    names = {cache.names(k, t)(p) for p in (b"a", b"b") for k in (b"k", b"l") for t in (b"", b"t")}
    assert len(names) == 8
    assert Cache[int](10).names(b"k", b"")(b"a") not in names  # another process's
