"""The one fixture of the configuration's tests."""

import pytest
from config_cases import BASE, write


@pytest.fixture
def file(tmp_path):
    """Write a configuration file; its [proxy] has an upstream unless the text has that section."""

    def make(text: str = "") -> str:
        proxy = "" if "[proxy]" in text else f"[proxy]\n{BASE}\n"
        return write(tmp_path / "m2m.toml", proxy + text)

    return make
