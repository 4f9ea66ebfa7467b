"""What is said of certificates as time passes, on a loop that is driven."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from certificates import Authority

from m2mproxy.net.certificate import Pair
from m2mproxy.net.tls import ClientTls, ServerTls
from m2mproxy.proxy.reply import json_reply
from m2mproxy.service import renewal
from m2mproxy.service.log import Log
from m2mproxy.service.renewal import Renewal


class Loop:
    """Keeps what is to be called later."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def call_later(self, _: float, callback: Callable[[], None]) -> Loop:
        self.due.append(callback)
        return self

    def cancel(self) -> None:
        self.due.clear()

    def turn(self) -> None:
        (callback,) = self.due
        self.due.clear()
        callback()


class Lines:
    """A log in memory."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def event(self, level: str, message: str, **_: Any) -> None:
        self.lines.append(f"{level}: {message}")

    def taken(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines


@pytest.fixture
def log() -> Lines:
    return Lines()


@pytest.fixture
def loop() -> Loop:
    return Loop()


def watching(loop: Loop, log: Lines, *legs: ServerTls | ClientTls) -> Renewal:
    built = Renewal(cast(asyncio.AbstractEventLoop, loop), cast(Log, log), legs)
    built.start()
    return built


def test_the_end_is_said_again_every_day(
    loop: Loop, log: Lines, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = authority.issue("a.test", valid=timedelta(days=3, hours=1))
    path = issued.save_as_one(tmp_path / "x.pem")
    watching(loop, log, ServerTls([Pair(path)]))
    warning = f"warning: {path} expires in 3 days"
    assert log.taken()[1:] == [warning]
    loop.turn()
    assert log.taken() == []
    monkeypatch.setattr(renewal, "_REMIND", timedelta(0))
    loop.turn()
    assert log.taken() == [warning]


def test_one_leg_does_not_hold_up_the_other(
    loop: Loop, log: Lines, authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(stranger.cert)
    path = authority.issue("a.test").save_as_one(tmp_path / "x.pem")
    watching(loop, log, ClientTls(str(trusted)), ServerTls([Pair(path)]))
    log.taken()
    trusted.unlink()
    authority.issue("b.test").save_as_one(tmp_path / "x.pem")
    loop.turn()
    failed, reloaded = log.taken()
    assert failed == (
        "error: certificates are not reloaded, those in use stay: "
        f"{trusted}: cannot be read: No such file or directory"
    )
    assert reloaded.startswith(f"info: certificate reloaded: {path}, for b.test, until ")
    loop.turn()
    assert log.taken() == []
    trusted.write_bytes(authority.cert)
    loop.turn()
    assert log.taken() == [f"info: {trusted} reloaded"]


def test_the_report_can_be_sent_whatever_a_file_is_called(
    loop: Loop, log: Lines, authority: Authority, tmp_path: Path
) -> None:
    name = os.fsdecode(b"\xff.pem")
    path = authority.issue("a.test").save_as_one(tmp_path / name)
    built = watching(loop, log, ServerTls([Pair(path)]))
    _, body = json_reply(200, built.report())
    assert list(json.loads(body)) == [str(tmp_path / "\\udcff.pem")]


def test_without_files_there_is_nothing_to_do(loop: Loop, log: Lines) -> None:
    built = watching(loop, log, ClientTls(insecure=True))
    assert not built.is_needed and loop.due == [] and log.lines == []
    built.close()


def test_a_closed_one_looks_no_more(loop: Loop, log: Lines, authority: Authority) -> None:
    built = watching(loop, log, ClientTls(authority.path))
    assert built.is_needed and len(loop.due) == 1
    built.close()
    assert loop.due == []
