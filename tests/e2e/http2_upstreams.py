"""Real servers that speak HTTP/2 as the proxy's upstream: hypercorn, nginx, Caddy and nghttpd.

Each is a program on a port of its own that can be started again there. hypercorn serves
`asgi_app.py`; nginx and Caddy stand in front of one that does, and tell it what they were spoken to
in; nghttpd serves a file and echoes. All of them speak cleartext with prior knowledge;
`test_http2_tls.py` has TLS with ALPN.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
START_SECONDS = 20

NGINX = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr error;
events {{}}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port} http2;
        location / {{
            proxy_pass http://127.0.0.1:{app};
            proxy_http_version 1.1;
            proxy_set_header X-Front-Protocol $server_protocol;
            proxy_buffering off;
        }}
    }}
}}
"""

CADDY = """\
{{
    admin off
    auto_https off
    servers {{
        protocols h1 h2c
    }}
}}
http://:{port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{app} {{
        header_up X-Front-Protocol {{http.request.proto}}
    }}
}}
"""

HAPROXY = """\
defaults
    mode http
    option abortonclose
    timeout connect 10s
    timeout client 60s
    timeout server 60s
frontend clients
    bind 127.0.0.1:{port}
    default_backend proxy
backend proxy
    server proxy 127.0.0.1:{app} proto h2
"""

HYPERCORN = """\
bind = "127.0.0.1:{port}"
workers = 0
graceful_timeout = 1
"""


def program(name: str) -> str:
    """Where it is; the test is skipped where it is not."""
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"no {name} here; tools/test installs it")
    return found


def hypercorn(directory: Path, port: int, app: int) -> list[str]:
    if importlib.util.find_spec("hypercorn") is None:
        pytest.skip("no hypercorn here; tools/test installs it")
    config = directory / "hypercorn.toml"
    config.write_text(HYPERCORN.format(port=port))
    return [sys.executable, "-m", "hypercorn", "--config", str(config), "asgi_app:app"]


def nginx(directory: Path, port: int, app: int) -> list[str]:
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(directory=directory, port=port, app=app))
    return [program("nginx"), "-p", str(directory), "-e", "stderr", "-c", str(config)]


def caddy(directory: Path, port: int, app: int) -> list[str]:
    config = directory / "Caddyfile"
    config.write_text(CADDY.format(port=port, app=app))
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(config)]


def nghttpd(directory: Path, port: int, app: int) -> list[str]:
    (directory / "v1").mkdir()
    (directory / "v1" / "models").write_text('{"object": "list", "data": []}')
    flags = ["--no-tls", "--echo-upload", "-a", "127.0.0.1", "-d", str(directory)]
    return [program("nghttpd"), *flags, str(port)]


def haproxy(directory: Path, port: int, app: int) -> list[str]:
    config = directory / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=port, app=app))
    return [program("haproxy"), "-db", "-f", str(config)]


def caddy_h2c(directory: Path, port: int, app: int) -> list[str]:
    config = directory / "Caddyfile"
    text = CADDY.replace("reverse_proxy ", "reverse_proxy h2c://")
    config.write_text(text.format(port=port, app=app))
    return [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(config)]


SERVERS: dict[str, Callable[[Path, int, int], list[str]]] = {
    "hypercorn": hypercorn,
    "nginx": nginx,
    "caddy": caddy,
    "nghttpd": nghttpd,
}
# What stands before the proxy, `app` being the proxy: nginx forwards in HTTP/1.1, which is all that
# it can, the others in HTTP/2 with prior knowledge, the streams of all clients on few connections.
FRONTS = {"nginx": nginx, "haproxy": haproxy, "caddy": caddy_h2c}


def free_port() -> int:
    """A port that was free a moment ago, for programs that cannot report one they chose; none that
    the system gives to whoever asks for any, so that it stays free while such a program restarts.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """One of SERVERS or FRONTS, as a subprocess."""

    def __init__(
        self,
        name: str,
        directory: Path,
        app: int = 0,
        kinds: dict[str, Callable[[Path, int, int], list[str]]] | None = None,
    ) -> None:
        self.port = free_port()
        self.http2 = True  # whether it can be spoken to in HTTP/2
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._argv = (kinds or SERVERS)[name](directory, self.port, app)
        self._home = directory
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        environment = {"PYTHONPATH": str(HERE), "HOME": str(self._home), "PATH": PATH}
        log = (self._home / "log").open("ab")
        with log:
            self._process = subprocess.Popen(
                self._argv, stdout=log, stderr=log, env={**os.environ, **environment}
            )
        self._wait_until_it_listens(self._process)

    def _wait_until_it_listens(self, process: subprocess.Popen[bytes]) -> None:
        for _ in range(START_SECONDS * 50):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.02)
                break
        pytest.fail(f"{self._argv[0]} does not listen: {(self._home / 'log').read_text()}")

    def stop(self, signum: int = signal.SIGTERM) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signum)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
