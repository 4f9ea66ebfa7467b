"""The log: a line for each exchange and for what the program does, as text or JSON.

The one rule: a line never has what a request or a response says. Of a request it has the path,
without the query, and the model's name; of an error its code; of a bug where it happened.
"""

from __future__ import annotations

import time
import traceback

import orjson

from m2mproxy.config import Logging
from m2mproxy.http.faults import Fault
from m2mproxy.proxy.exchange import Exchange
from m2mproxy.service.stats import error_of, status_of
from m2mproxy.service.words import path, word
from m2mproxy.service.writer import Writer
