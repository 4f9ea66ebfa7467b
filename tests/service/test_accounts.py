"""Tokens by model, and when an exchange's line of the log is written."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from clock import DrivenLoop
from tallies import Jobs
from world import World

from m2mproxy.config import Price, Prices
from m2mproxy.proxy.exchange import Exchange
from m2mproxy.service.accounts import MOST_MODELS, OTHER, PATIENCE, Accounts

JSON = (b"content-type", b"application/json")
EMPTY = {"models": {}, "unknown": 0, "currency": None}
NO_COST = {"reported": None, "priced": None}


def usage(given: int, made: int, cached: int = 0, reasoning: int = 0) -> bytes:
    said: dict[str, Any] = {"prompt_tokens": given, "completion_tokens": made}
    said["prompt_tokens_details"] = {"cached_tokens": cached}
    said["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return orjson.dumps({"choices": [{"message": {"content": "a b"}}], "usage": said})


SILENT = b'{"choices":[{"message":{"content":"a b"}}]}'


class Setup:
    """Accounts, and a world whose exchanges are put on them as they end."""

    def __init__(self, prices: Prices | None = None, **settings: Any) -> None:
        self.jobs = Jobs(at_once=False)
        self.loop = DrivenLoop()
        self.lines: list[Exchange] = []
        self.accounts = Accounts(self.loop, prices or Prices(), self.lines.append)
        self.world = World(loop=self.loop, submit=self.jobs, **settings)
        self.booked = 0

    def exchange(self, reply: bytes, model: str = "m", status: int = 200) -> None:
        body = orjson.dumps({"model": model, "messages": [{"content": "one two"}]})
        self.world.ask(body)
        self.world.call().reply(reply, JSON, status=status)
        self.world.run()
        for x in self.world.ended[self.booked :]:
            self.accounts.ended(x)
        self.booked = len(self.world.ended)

    def model(self, name: str = "m") -> Any:
        models: Any = self.accounts.snapshot()["models"]
        return models[name]


def test_the_accounts_are_empty_at_first() -> None:
    assert Setup().accounts.snapshot() == EMPTY


def test_reported_tokens() -> None:
    setup = Setup()
    setup.exchange(usage(10, 5, cached=4, reasoning=3))
    setup.exchange(usage(20, 1, cached=8))
    setup.exchange(usage(1, 1), "n")
    assert setup.accounts.snapshot() == {
        "models": {
            "m": {
                "requests": 2,
                "input": {"reported": 30, "counted": 0, "estimated": 0},
                "output": {"reported": 6, "counted": 0, "estimated": 0},
                "cached_input": 12,
                "cache_write_input": 0,
                "reasoning_output": 3,
                "cost": NO_COST,
            },
            "n": {
                "requests": 1,
                "input": {"reported": 1, "counted": 0, "estimated": 0},
                "output": {"reported": 1, "counted": 0, "estimated": 0},
                "cached_input": 0,
                "cache_write_input": 0,
                "reasoning_output": 0,
                "cost": NO_COST,
            },
        },
        "unknown": 0,
        "currency": None,
    }


def test_counted_and_estimated_tokens_stand_apart() -> None:
    setup = Setup(tokens_count="all")
    for model in ("m", "exact"):
        setup.exchange(usage(10, 5), model)
        setup.exchange(SILENT, model)
    assert setup.model("m")["requests"] == 1  # what is being counted is not here yet
    setup.jobs.count()
    assert setup.model("m")["input"] == {"reported": 10, "counted": 0, "estimated": 102}
    assert setup.model("m")["output"] == {"reported": 5, "counted": 0, "estimated": 2}
    assert setup.model("exact")["input"] == {"reported": 10, "counted": 102, "estimated": 0}
    assert setup.model("exact")["output"] == {"reported": 5, "counted": 2, "estimated": 0}


def test_what_nothing_is_known_of_is_unknown() -> None:
    setup = Setup()
    setup.exchange(SILENT)
    setup.exchange(b"{}", status=500)  # cost nothing
    assert setup.accounts.snapshot() == {**EMPTY, "unknown": 1}


def test_what_is_known_by_half_is_counted_and_unknown() -> None:
    setup = Setup()
    setup.exchange(b'{"usage":{"prompt_tokens":7}}')
    assert setup.accounts.snapshot()["unknown"] == 1
    assert setup.model()["input"]["reported"] == 7


def test_without_a_tally_there_is_a_line_and_nothing_else() -> None:
    setup = Setup(tokens_count="off")
    setup.exchange(usage(1, 1))
    assert setup.accounts.snapshot() == EMPTY
    assert len(setup.lines) == 1


# ---- cost ----------------------------------------------------------------------------------------

PRICES = Prices("EUR", (Price("m*", 2.0, 0.5, 8.0, 2.5, 4.0),))


def test_tokens_cost_what_the_price_of_their_model_says() -> None:
    setup = Setup(PRICES)
    setup.exchange(usage(1_000_000, 250_000, cached=600_000), "Mini")
    setup.exchange(usage(500_000, 0), "Mini")
    setup.exchange(usage(5, 5), "other-model")
    assert setup.model("Mini")["cost"] == {"reported": None, "priced": 0.8 + 0.3 + 2.0 + 1.0}
    assert setup.model("other-model")["cost"] == NO_COST
    assert [x.tally.cost for x in setup.lines if x.tally] == [0.8 + 0.3 + 2.0, 1.0, None]
    assert setup.accounts.snapshot()["currency"] == "EUR"


def test_what_was_written_to_a_cache_has_its_price() -> None:
    setup = Setup(PRICES)
    setup.exchange(
        b'{"usage":{"input_tokens":1000000,"output_tokens":0,"cache_read_input_tokens":2000000,'
        b'"cache_creation_input_tokens":3000000,'
        b'"cache_creation":{"ephemeral_1h_input_tokens":1000000}}}'
    )
    assert setup.model()["cost"]["priced"] == 2.0 + 2 * 0.5 + 2 * 2.5 + 4.0
    assert setup.model()["cache_write_input"] == 3_000_000
    assert setup.model()["input"]["reported"] == 6_000_000


def test_what_is_counted_costs_too() -> None:
    setup = Setup(PRICES, tokens_count="all")
    setup.exchange(SILENT)
    setup.jobs.count()
    assert setup.model()["cost"]["priced"] == pytest.approx((102 * 2.0 + 2 * 8.0) / 1e6)


def test_what_a_reply_says_that_it_cost_counts_before_prices() -> None:
    setup = Setup(PRICES)
    for cost in (b"0.25", b"0.5"):
        setup.exchange(usage(1_000_000, 0).replace(b'"usage":{', b'"usage":{"cost":%b,' % cost))
    setup.exchange(usage(1_000_000, 0))
    assert setup.model()["cost"] == {"reported": 0.75, "priced": 2.0}
    tallies = [x.tally for x in setup.lines if x.tally is not None]
    assert [tally.cost for tally in tallies] == [0.25, 0.5, 2.0]
    assert [tally.is_cost_reported for tally in tallies] == [True, True, False]


def test_a_cost_is_known_where_there_are_no_prices() -> None:
    setup = Setup()
    setup.exchange(usage(1, 1).replace(b'"usage":{', b'"usage":{"cost":0,'))
    assert setup.model()["cost"] == {"reported": 0.0, "priced": None}


# ---- bounds --------------------------------------------------------------------------------------


def test_clients_can_name_as_many_models_as_they_like() -> None:
    prices = (
        Price(f"m{MOST_MODELS}", 1e6, 0.0, 0.0, 0.0, 0.0),
        Price(f"m{MOST_MODELS + 1}", 0.0, 0.0, 2e6, 0.0, 0.0),
    )
    setup = Setup(Prices("USD", prices))
    for number in range(MOST_MODELS + 3):
        setup.exchange(usage(1, 1), f"m{number}")
    setup.exchange(usage(1, 1), "m0")
    models: Any = setup.accounts.snapshot()["models"]
    assert len(models) == MOST_MODELS + 1
    assert (models["m0"]["requests"], models[OTHER]["requests"]) == (2, 3)
    # They have many prices, each its own, and one of the three has none.
    assert models[OTHER]["cost"] == {"reported": None, "priced": 1.0 + 2.0}


def test_reset_begins_again() -> None:
    setup = Setup(PRICES)
    setup.exchange(usage(1, 1))
    setup.exchange(SILENT)
    setup.accounts.reset()
    assert setup.accounts.snapshot() == {**EMPTY, "currency": "EUR"}


# ---- the line of the log -------------------------------------------------------------------------


def test_a_line_is_written_at_once_if_all_is_known() -> None:
    setup = Setup(tokens_count="all")
    setup.exchange(usage(1, 1))
    assert setup.lines == setup.world.ended


def test_a_line_waits_for_its_count() -> None:
    setup = Setup(tokens_count="all")
    setup.exchange(SILENT)
    assert setup.lines == []
    setup.loop.advance(PATIENCE / 2)
    timers = setup.loop.timers
    setup.jobs.count()
    assert setup.loop.timers == timers - 1
    (line,) = setup.lines
    assert line.tally is not None
    assert line.tally.output is not None
    assert line.tally.output.number == 2
    setup.world.advance(200)
    assert (len(setup.lines), setup.loop.timers) == (1, 0)


def test_a_line_does_not_wait_long() -> None:
    setup = Setup(tokens_count="all")
    setup.exchange(SILENT)
    setup.loop.advance(PATIENCE + 0.01)
    (line,) = setup.lines
    assert line.tally is not None
    assert line.tally.output is None
    setup.jobs.count()  # too late for the line, not for the figures
    assert len(setup.lines) == 1
    assert setup.model()["output"]["estimated"] == 2


def test_a_line_of_what_is_dropped_is_written_at_once() -> None:
    setup = Setup(tokens_count="all")
    setup.exchange(SILENT)
    setup.jobs.drop()
    assert len(setup.lines) == 1
    assert setup.accounts.snapshot() == {**EMPTY, "unknown": 1}


def test_at_the_end_no_line_waits() -> None:
    setup = Setup(tokens_count="all")
    setup.exchange(SILENT)
    setup.exchange(SILENT)
    setup.accounts.close()
    assert setup.lines == setup.world.ended
    setup.jobs.count()
    assert len(setup.lines) == 2
