"""Estimates: what texts are made of, and how far off they are where the truth is at hand."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2mproxy.tokens.count import Counter
from m2mproxy.tokens.estimate import (
    CLASSES,
    FEATURES,
    Classifier,
    class_of,
    features_of,
    targets,
)
from m2mproxy.tokens.vocabulary import is_installed, load, preload

PROSE = "A proxy forwards what a client asks, and gives back what the server says. " * 30
CODE = "def add(first: int, second: int) -> int:\n    return first + second\n\n\n" * 30
TEXTS = {"prose": PROSE, "code": CODE}


@pytest.mark.parametrize(
    ("token", "name"),
    [
        (b" the", "word"),
        (b" international", "long word"),
        (b"ing", "part"),
        (b" Hello", "capitalised"),
        (b"HTTP", "capitals"),
        (b"getValue", "mixed"),
        (b"7", "digit"),
        (b"42", "digits"),
        (b"200", "number"),
        (b".", "mark"),
        (b'":"', "marks"),
        (b"    ", "spaces"),
        (b"\n\n", "line end"),
        ("é".encode(), "latin"),
        (" привет".encode(), "cyrillic"),
        ("λ".encode(), "greek"),
        ("ש".encode(), "hebrew"),
        ("ع".encode(), "arabic"),
        ("हि".encode(), "devanagari"),
        ("ไทย".encode(), "thai"),
        ("你好".encode(), "han"),
        ("の".encode(), "kana"),
        ("한".encode(), "hangul"),
        ("😀".encode(), "else"),
        (b" \xf0\x9f", "broken sign"),
        (b"\xe0\xaa", "broken"),
    ],
)
def test_classes_of_tokens(token: bytes, name: str) -> None:
    assert CLASSES[class_of(token)] == name


def test_every_token_of_o200k_has_a_class() -> None:
    encoding = load("o200k")
    tokens = map(encoding.decode_single_token_bytes, range(199_998))
    classes = {class_of(token) for token in tokens}
    assert classes == set(range(len(CLASSES)))


@given(text=st.text(max_size=500))
def test_each_token_is_in_one_class(text: str) -> None:
    encoding = load("o200k")
    assert sum(Classifier(encoding).count(text)) == len(encoding.encode_ordinary(text))


@given(text=st.text(max_size=500))
def test_each_character_is_in_one_script(text: str) -> None:
    found = dict(zip(FEATURES, features_of(text), strict=True))
    beyond = sum(not each.isascii() for each in text)
    scripts = FEATURES[FEATURES.index("capitals") + 1 :]
    assert sum(found[name] for name in scripts) == beyond


def test_features_of_a_text() -> None:
    found = dict(zip(FEATURES, features_of("Hi  there,\n\n42!? é 日本"), strict=True))
    assert {name: value for name, value in found.items() if value} == {
        "words": 2, "letters": 7, "capitals": 1, "numbers": 1, "digits": 2, "runs of marks": 2,
        "marks": 3, "runs of spaces": 1, "spaces": 2, "runs of line ends": 1, "line ends": 2,
        "latin": 1, "han": 2,
    }  # fmt: skip


@pytest.mark.parametrize("name", list(targets()))
def test_weights_are_there_for_all_classes(name: str) -> None:
    target = targets()[name]
    assert len(target.classes.weights) == len(CLASSES)
    assert len(target.features.weights) == len(FEATURES)
    assert all(weight >= 0 for way in target for weight in way.weights)
    assert all(0 <= way.error < 0.25 for way in target)
    assert all(0 <= error < 0.6 for way in target for error in way.errors)


# A mean over kinds of text is stated; these two are easier than most.
@pytest.mark.parametrize(("model", "vocabulary"), [("gpt-4o", "o200k"), ("gpt-4", "cl100k")])
@pytest.mark.parametrize("kind", TEXTS)
def test_an_estimate_without_a_vocabulary(model: str, vocabulary: str, kind: str) -> None:
    truth = len(load(vocabulary).encode_ordinary(TEXTS[kind]))
    count = Counter({}).text(TEXTS[kind], model)
    assert not count.is_exact
    assert abs(count.tokens - truth) <= max(0.15, 1.5 * count.error) * truth


@cache
def counter_with(vocabulary: str) -> Counter:
    return Counter(preload([vocabulary]))


@pytest.mark.parametrize(
    ("model", "vocabulary"),
    [
        ("llama3", "llama3"),
        ("llama4:scout", "llama4"),
        ("mistral-small-latest", "tekken"),
        ("mixtral", "spm"),
        ("deepseek-v3", "deepseek"),
        ("qwen3", "qwen"),
        ("qwen3.5", "qwen35"),
    ],
)
@pytest.mark.parametrize("kind", TEXTS)
def test_an_estimate_by_o200k(model: str, vocabulary: str, kind: str) -> None:
    if not is_installed(vocabulary):
        pytest.skip(f"{vocabulary} is not installed")
    truth = counter_with(vocabulary).text(TEXTS[kind], model)
    estimate = counter_with("o200k").text(TEXTS[kind], model)
    assert abs(estimate.tokens - truth.tokens) <= 0.1 * truth.tokens


def test_the_tokens_of_claude_are_more_than_those_of_gpt() -> None:
    counter = counter_with("o200k")
    gpt, old, new = (
        counter.text(PROSE, model).tokens
        for model in ("gpt-4o", "claude-sonnet-4-5", "claude-opus-4-8")
    )
    assert gpt < old < new < 2 * gpt
