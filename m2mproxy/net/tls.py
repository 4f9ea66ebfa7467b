"""TLS contexts.

The one rule: an upstream's certificate and name are verified, always.
"""

from __future__ import annotations

import ssl


def client_context(ca_file: str = "") -> ssl.SSLContext:
    """A context for upstreams: TLS 1.2 or later, verified against the system's store or `ca_file`.

    Raises:
        OSError: `ca_file` cannot be read or holds no certificate.
    """
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
