"""The real program as a process on loopback, for the tests that look at it from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

NOWHERE = "http://127.0.0.1:1/v1"
SECONDS = 20
M2M = ("-c", "import sys; from m2mproxy.cli.tool import main; sys.exit(main())", "proxy")


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="no IPv6 here")


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "m2mproxy", *flags]


def run(*flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        command(*flags),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, **environment},
    )


FEW_FILES = " warning: the limit of open files is "


class Program:
    """A program that runs, from its start line on. `url` is where it takes connections; `before`
    what it said before, without what depends on this machine, which is in `few_files`."""

    def __init__(
        self, argv: list[str], before: Callable[[], None] | None = None, **settings: Any
    ) -> None:
        self.process = subprocess.Popen(
            argv, stderr=subprocess.PIPE, text=True, preexec_fn=before, **settings
        )
        assert self.process.stderr is not None
        self.log = self.process.stderr
        self.before: list[str] = []
        self.few_files: list[str] = []
        self.first = self.log.readline()
        while self.first and "listens on" not in self.first:
            kept = self.few_files if FEW_FILES in self.first else self.before
            kept.append(self.first)
            self.first = self.log.readline()
        found = re.search(r"base_url is (https?://[^\s/]+)/v1", self.first)
        self.url = found[1] if found else ""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def get(
        self,
        path: str,
        method: str = "GET",
        tls: ssl.SSLContext | None = None,
        data: bytes | None = None,
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer."""
        request = urllib.request.Request(self.url + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS, context=tls) as answer:
                body, status = answer.read(), answer.status
        except urllib.error.HTTPError as error:
            with error:
                body, status = error.read(), error.code
        return status, json.loads(body) if body else None

    def say(self, number: int, answer: str) -> str:
        """Send a signal, and wait for the line that it leads to."""
        self.process.send_signal(number)
        return self.until(answer)

    def until(self, answer: str) -> str:
        """Wait for a line."""
        while answer not in (line := self.log.readline()):
            assert line, f"the program ended without a word of {answer}"
        return line

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """The exit code, and the rest of what was said."""
        self.process.send_signal(number)
        rest = self.log.read()
        return self.process.wait(SECONDS), rest

    def kill(self) -> None:
        """The end of it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()


def unix_request(path: str, request: bytes = b"GET /health HTTP/1.0\r\n\r\n") -> bytes:
    """What is answered over a unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(path)
        client.sendall(request)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
        return answer
