"""nginx as a reverse proxy: the peer that tells how fast forwarding can be on this machine.

It runs as one process (no master), logs nothing, buffers no reply, writes no request's body to a
file, and never closes a connection for its age or its count of requests, so that what is measured
is forwarding alone. Its cleartext ports speak one protocol each: HTTP/1.1, or HTTP/2 with prior
knowledge.
"""

import re
import subprocess
from pathlib import Path

CONFIG = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log stderr error;
events {{ worker_connections 8192; }}
http {{
    access_log {access_log};
    server_tokens off;
    tcp_nodelay on;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_buffer_size 1m;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream model {{
        server 127.0.0.1:{upstream};
        keepalive 2048;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096{http2};
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_request_buffering on;
            proxy_read_timeout 1h;
        }}
    }}
}}
"""


def command(
    directory: Path, port: int, upstream: int, access_log: bool, http2: bool = False
) -> list[str]:
    path = directory / "nginx.conf"
    access = directory / "access.log" if access_log else "off"
    filled = CONFIG.format(
        directory=directory,
        port=port,
        upstream=upstream,
        access_log=access,
        http2=" http2" if http2 else "",
    )
    path.write_text(filled)
    return ["nginx", "-p", str(directory), "-e", "stderr", "-c", str(path)]


def version() -> str:
    said = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"nginx/(\S+)", said)
    return found.group(1) if found else said.strip()
