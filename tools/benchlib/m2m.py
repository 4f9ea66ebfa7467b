"""The proxy under test: its configuration for the bench, and the command that starts it.

All is as shipped but for two things. The access log is off where nginx's is off, and a stop does
not wait for streams that would never end.
"""

import shlex
import sys
from pathlib import Path

CONFIG = """\
[proxy]
listen = "127.0.0.1:{port}"
upstream = "{upstream}"
upstream_http = "{http}"
drain = 0

[link]
enabled = {link}
{more}
[logging]
access = {access}
"""

DEFAULT_COMMAND = f"{shlex.quote(sys.executable)} -m m2mproxy --config {{config}}"


def command(
    template: str,
    directory: Path,
    port: int,
    upstream: int,
    access_log: bool,
    http: str = "auto",
    link: bool = True,
    more: str = "",
) -> list[str]:
    """`template` filled in; another build than this one may use {port} and {upstream} instead.
    `http` is the version towards the upstream, `link` whether there may be links, `more` more
    of the configuration."""
    url = f"http://127.0.0.1:{upstream}/v1"
    config = directory / "m2m.toml"
    access, linked = ("true" if switch else "false" for switch in (access_log, link))
    config.write_text(
        CONFIG.format(port=port, upstream=url, access=access, http=http, link=linked, more=more)
    )
    return shlex.split(template.format(port=port, upstream=url, config=config))
