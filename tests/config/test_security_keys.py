"""[proxy.security]: keys that are about others, and names that are of the scanner."""

from __future__ import annotations

import pytest
from config_cases import refusal

from m2mproxy.config import KEYS, Security, load
from m2mproxy.guard.finding import Category
from m2mproxy.guard.scanner import DEFAULT_ROLES
from m2mproxy.guard.verdict import DEFAULT
from m2mproxy.guard.walk import ROLES

URL = {"proxy.upstream": "http://m"}
THRESHOLD = "proxy.security.threshold"


def test_the_categories_and_roles_are_the_scanners():
    thresholds = KEYS["proxy.security.thresholds"].kind
    everything = {str(each): 0.5 for each in Category}
    assert thresholds.read(everything) == tuple(everything.items())
    assert thresholds.allowed.endswith(", ".join(Category))
    roles = KEYS["proxy.security.roles"].kind
    assert roles.read(list(ROLES)) == ROLES
    assert roles.allowed == '"{}", or several'.format('" or "'.join(ROLES))


def test_the_defaults_are_the_scanners():
    assert Security().threshold == DEFAULT
    assert Security().roles == DEFAULT_ROLES


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_threshold_wherever_it_is_given(file, value):
    in_file = load(file(f"security.threshold = {value}"), {}, {})
    in_variable = load(None, {"M2M_SECURITY_THRESHOLD": str(value)}, URL)
    flags = {**URL, THRESHOLD: str(value), "proxy.security.enabled": True}
    for config in (in_file, in_variable, load(None, {}, flags)):
        assert config.security.threshold == value


def test_a_flag_that_would_change_nothing_is_refused(file):
    error = refusal(flags={**URL, THRESHOLD: "0.5"})
    assert (error.key, error.reason) == ("--threshold", "nothing is scanned without --security")
    assert str(error) == "command line: --threshold = 0.5: nothing is scanned without --security"
    on = file("security.enabled = true")
    assert load(on, {}, {THRESHOLD: "0.5"}).security.threshold == 0.5


@pytest.mark.parametrize("text", ["jailbreak", "jailbreak=", "=0.5", "jailbreak=0.5,x=1", "a;b"])
def test_a_variable_that_is_no_table_is_refused(text):
    error = refusal(environ={"M2M_UPSTREAM": "http://m", "M2M_SECURITY_THRESHOLDS": text})
    assert error.key == "M2M_SECURITY_THRESHOLDS"


def test_no_threshold_of_a_category_in_a_variable():
    environ = {"M2M_UPSTREAM": "http://m", "M2M_SECURITY_THRESHOLDS": ""}
    assert load(None, environ, {}).security.thresholds == ()
