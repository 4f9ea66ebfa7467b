"""The checks that concern several TLS keys at once.

The one rule: a key that has no effect without another one is an error, not a surprise: whoever set
it believes that it protects something.
"""

from m2mproxy.config.schema import Config


def check_tls(config: Config, notices: list[str]) -> None:
    """Check what no key shows by itself.

    Raises:
        ConfigError: a key needs another one, or contradicts it.
    """
    tls = config.tls
    for name, needed in (("key", "cert"), ("client_ca", "cert"), ("upstream_key", "upstream_cert")):
        if getattr(tls, name) and not getattr(tls, needed):
            value = getattr(tls, name)
            raise config.refusal(f"proxy.tls.{name}", value, f"it needs proxy.tls.{needed}")
    if tls.key and len(tls.key) != len(tls.cert):
        reason = f"as many keys as certificates are needed, and proxy.tls.cert has {len(tls.cert)}"
        raise config.refusal("proxy.tls.key", tls.key, reason)
    if tls.cert:
        _check_use(config, notices)
        return
    for key, addresses in (("proxy.listen", config.listen), ("stats.listen", config.stats.listen)):
        for listen in addresses:
            if listen.is_secure(False):
                reason = "https needs a certificate: proxy.tls.cert"
                raise config.refusal(key, str(listen), reason)


def _check_use(config: Config, notices: list[str]) -> None:
    """A certificate that no client is shown is harmless; clients who are not asked are not."""
    if any(listen.is_secure(True) for listen in config.listen):
        return
    reason = "no address of proxy.listen speaks TLS"
    if config.tls.client_ca:
        raise config.refusal("proxy.tls.client_ca", config.tls.client_ca, reason)
    notices.append(f"proxy.tls.cert has no effect: {reason}")
