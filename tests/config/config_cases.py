"""What the tests of the configuration share."""

from pathlib import Path

import pytest

from m2mproxy.config import Config, ConfigError, Key, Upstream, load

BASE = 'upstream = "http://model/v1"'
UPSTREAM = Upstream("http", "model", 80, "/v1")


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def refusal(path=None, environ=None, flags=None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {}, flags or {})
    message = str(caught.value)
    assert "\n" not in message and message.isprintable()
    return caught.value


def value_of(loaded: Config, key: Key) -> object:
    holder = loaded if key.section == "proxy" else getattr(loaded, key.section.split(".")[-1])
    return getattr(holder, key.name)
