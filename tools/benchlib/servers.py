"""The servers of a run: the model server behind, and before it nginx, the proxy, or nothing.

A part asks for all of them at once in front of one upstream and then takes turns between them, so
that a slow minute of the machine falls on each alike. "direct" is the upstream itself.
"""

import contextlib
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import hypercorn, m2m, machine, messages, nginx
from .native import Load, Model, Sink, StreamLoad
from .process import Process, ProcessFailed, running
from .results import Results


@dataclass(frozen=True)
class Server:
    name: str
    port: int
    process: Process | None

    def check(self) -> None:
        if self.process:
            self.process.check()


@dataclass
class Bench:
    """One run: what it compares, how long it looks, where it keeps its files."""

    peers: Sequence[str]
    proxy_command: str
    short: bool
    directory: Path
    programs: Path
    sessions: Sequence[Path] = ()
    texts: Sequence[Path] = ()
    """Data of one's own, for the part `own`."""
    results: Results = field(default_factory=Results)
    cpus: machine.Cpus = field(default_factory=machine.choose_cpus)
    _files: int = 0

    def path(self, name: str) -> Path:
        """A fresh path in the run's directory."""
        self._files += 1
        return self.directory / f"{self._files:03}-{name}"

    @contextlib.contextmanager
    def model(self) -> Iterator[int]:
        """A model server that answers at once; its port."""
        directory = self.path("model")
        argv = [self.program("reply"), *map(str, messages.write_model(directory))]
        with Model.started(argv, self.cpus.load, directory / "log") as model:
            yield model.port()

    @contextlib.contextmanager
    def source(self, period: float) -> Iterator[int]:
        """A model server that streams an event every `period` seconds; its port."""
        argv = [self.program("ssesource"), str(round(period * 1e6))]
        with Model.started(argv, self.cpus.load, self.path("source.log")) as source:
            yield source.port()

    @contextlib.contextmanager
    def peer(
        self, name: str, upstream: int, access_log: bool = False, http2: bool = False
    ) -> Iterator[Server]:
        """The proxy tells HTTP/2 from HTTP/1.1 by itself; to nginx it has to be said."""
        port, directory = machine.free_port(), self.path(name)
        directory.mkdir()
        if name == "nginx":
            command = nginx.command(directory, port, upstream, access_log, http2)
        else:
            command = m2m.command(self.proxy_command, directory, port, upstream, access_log)
        with self._server(name, command, port, directory) as server:
            yield server

    @contextlib.contextmanager
    def proxy(
        self,
        upstream: int,
        http: str = "auto",
        link: bool = True,
        more: str = "",
        name: str = "proxy",
        command: str = "",
        patience: float = 15,
    ) -> Iterator[Server]:
        """Another instance of ours: `http` is the version towards its upstream, `link` whether
        there may be links, `more` more of its configuration, `command` what starts it in another
        way, `patience` for how many seconds it may do so."""
        port, directory = machine.free_port(), self.path("proxy")
        directory.mkdir()
        argv = m2m.command(
            command or self.proxy_command, directory, port, upstream, False, http, link, more
        )
        with self._server(name, argv, port, directory, patience) as server:
            yield server

    @contextlib.contextmanager
    def hypercorn(self) -> Iterator[Server]:
        """It answers by itself, with the model server's reply."""
        port, directory = machine.free_port(), self.path("hypercorn")
        directory.mkdir()
        with self._server(
            "hypercorn", hypercorn.command(directory, port), port, directory
        ) as server:
            yield server

    @contextlib.contextmanager
    def _server(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        directory: Path,
        patience: float = 15,
    ) -> Iterator[Server]:
        with running(Process(command, self.cpus.server, directory / "log")) as process:
            _wait_for(port, process, patience)
            yield Server(name, port, process)

    @contextlib.contextmanager
    def all_peers(
        self, upstream: int, access_log: bool = False, http2: bool = False
    ) -> Iterator[list[Server]]:
        """Every peer in front of `upstream`, and first of all `upstream` itself."""
        with contextlib.ExitStack() as stack:
            peers = [
                stack.enter_context(self.peer(name, upstream, access_log, http2))
                for name in self.peers
            ]
            yield [Server("direct", upstream, None), *peers]

    @contextlib.contextmanager
    def load(
        self, server: Server, connections: int, fields: str, split: bool = False
    ) -> Iterator[Load]:
        """Connections to `server`, each of which has had one reply and is idle now."""
        directory = self.path("load")
        requests = messages.write_chat_requests(directory, fields, server.port)
        expected = directory / "expected"
        expected.write_bytes(messages.reply_body())
        argv = [self.program("load"), str(server.port), str(connections)]
        argv += ["split" if split else "whole", str(expected), *map(str, requests)]
        with Load.started(argv, self.cpus.load, directory / "log") as load:
            load.wait_ready()
            yield load

    @contextlib.contextmanager
    def sink(self, server: Server, streams: int) -> Iterator[Sink]:
        """Streams from `server`, all of them running."""
        directory = self.path("sink")
        request = messages.write_stream_request(directory, server.port)
        argv = [self.program("ssesink"), str(server.port), str(streams), str(request)]
        with Sink.started(argv, self.cpus.load, directory / "log") as sink:
            sink.wait_ready()
            yield sink

    @contextlib.contextmanager
    def h2_sink(self, server: Server, streams: int) -> Iterator[Sink]:
        """Streams from `server` on one HTTP/2 connection, all of them running."""
        files = messages.write_h2_request(self.path("h2sink"), server.port, stream=True)
        argv = [self.program("h2sink"), str(server.port), str(streams), *map(str, files)]
        with Sink.started(argv, self.cpus.load, self.path("h2sink.log")) as sink:
            sink.wait_ready()
            yield sink

    @contextlib.contextmanager
    def h2_load(self, server: Server, streams: int, stalled: bool) -> Iterator[StreamLoad]:
        """One HTTP/2 connection to `server`; if `stalled`, with a download on it that stands."""
        directory = self.path("h2stall")
        files = messages.write_h2_request(directory, server.port, stream=False)
        files.append(directory / "expected")
        files[-1].write_bytes(messages.reply_body())
        if stalled:
            files.append(directory / "download")
            files[-1].write_bytes(messages.h2_download(server.port))
        argv = [self.program("h2stall"), str(server.port), str(streams), *map(str, files)]
        with StreamLoad.started(argv, self.cpus.load, directory / "log") as load:
            load.wait_ready()
            yield load

    def program(self, name: str) -> str:
        return str(self.programs / name)


def _wait_for(port: int, process: Process, timeout: float) -> None:
    """Until `port` accepts, for at most `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        process.check()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > deadline:
            raise ProcessFailed(f"{process.argv[0]} does not listen: {process.last_words()}")
        time.sleep(0.02)
