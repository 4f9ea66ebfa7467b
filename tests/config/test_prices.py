"""The file of prices: what is read of it, what is refused, and what tokens cost by it."""

from pathlib import Path

import pytest
from config_cases import refusal

from m2mproxy.config import Price, Prices, load

GOOD = """
currency = "EUR"

["gpt-4o-mini*"]
input = 0.15
cached_input = 0.075
output = 0.6

["gpt-4o*"]
input = 2.5
output = 10
"""


@pytest.fixture
def prices(tmp_path, file):
    """Write the file of prices, and the one that names it."""

    def make(text: str) -> tuple[str, str]:
        path = tmp_path / "prices.toml"
        path.write_text(text)
        return str(path), file(f"[tokens]\nprices = '{path}'")

    return make


def table_of(text: str, prices) -> Prices:
    return load(prices(text)[1], {}, {}).tokens.table


def test_the_prices_of_a_file(prices):
    table = table_of(GOOD, prices)
    assert table.currency == "EUR"
    assert table.rows == (
        Price("gpt-4o-mini*", 0.15, 0.075, 0.6, 0.15, 0.15),
        Price("gpt-4o*", 2.5, 2.5, 10.0, 2.5, 2.5),
    )


def test_the_first_pattern_that_matches_is_the_price(prices):
    table = table_of(GOOD, prices)
    assert table.of("gpt-4o-mini-2024-07-18") is table.rows[0]
    assert table.of("GPT-4o-2024-08-06") is table.rows[1]
    assert table.of("o3") is None
    assert Prices().of("gpt-4o") is None


def test_cached_tokens_have_a_price_of_their_own():
    price = Price("*", 2.0, 0.5, 8.0, 2.5, 4.0)
    assert price.cost(1_000_000, 0, 0) == 2.0
    assert price.cost(1_000_000, 1_000_000, 0) == 0.5
    assert price.cost(3_000_000, 1_000_000, 500_000) == 4.0 + 0.5 + 4.0
    assert price.cost(1, 1_000_000, 0) == 0.5  # more cached than there were: nothing is negative


def test_tokens_that_are_written_to_a_cache_have_prices_of_their_own():
    price = Price("*", 2.0, 0.5, 8.0, 2.5, 4.0)
    million = 1_000_000
    assert price.cost(million, 0, 0, million) == 2.5
    assert price.cost(4 * million, million, 0, 2 * million, million) == 2.0 + 0.5 + 2.5 + 4.0
    assert price.cost(0, 0, 0, 0, million) == 4.0  # nothing is negative


@pytest.mark.parametrize(
    ("more", "written", "written_1h"),
    [("", 3.0, 3.0), ("cache_write_input = 4", 4.0, 4.0), ("cache_write_1h_input = 5", 3.0, 5.0)],
)
def test_what_has_no_price_of_its_own_costs_what_is_nearest(more, written, written_1h, prices):
    row = table_of(f'["a"]\ninput = 3\noutput = 9\n{more}\n', prices).rows[0]
    assert (row.cache_write_input, row.cache_write_1h_input) == (written, written_1h)


def test_an_empty_file_has_no_prices(prices):
    assert table_of("", prices) == Prices("USD", ())


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("currency = 5", "currency", ""),
        ('currency = "dollars"', "currency", ""),
        ('["a"]\ninput = 1', '"a".output', "not given"),
        ('["a"]\noutput = 1', '"a".input', "not given"),
        ('["a"]\ninput = 1\noutput = 1\nouput = 2', '"a".ouput', "unknown key"),
        ('["a"]\ninput = "1"\noutput = 1', '"a".input', ""),
        ('["a"]\ninput = true\noutput = 1', '"a".input', ""),
        ('["a"]\ninput = -1\noutput = 1', '"a".input', ""),
        ('["a"]\ninput = nan\noutput = 1', '"a".input', ""),
        ('["a"]\ninput = 1\noutput = inf', '"a".output', ""),
        (f'["a"]\ninput = 1\noutput = 0x{"f" * 300}', '"a".output', ""),
        (f"currency = 0x{'f' * 5000}", "currency", ""),
        ("a = 1", "a", ""),
        ("a = ", "", "not TOML"),
        ('["\udcff"]', "", "not UTF-8"),
    ],
)
def test_what_is_no_file_of_prices(tmp_path, prices, text, key, reason):
    named, config = prices("")
    Path(named).write_bytes(text.encode("utf-8", "surrogateescape"))
    error = refusal(config)
    assert (error.source, error.key) == (named, key)
    assert reason in error.reason
    assert error.reason or error.allowed
    assert str(error).startswith(named)


def test_a_file_that_cannot_be_read(tmp_path, file):
    path = file(f"[tokens]\nprices = '{tmp_path / 'none'}'")
    error = refusal(path)
    assert (error.source, error.key) == (path, "tokens.prices")
    assert error.reason == "cannot be read: No such file or directory"
