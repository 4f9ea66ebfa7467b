"""The program around the proxy: start, signals, drain, log, figures.

server.py puts the parts together and serves. upstream.py and tls.py judge the configuration before
that; log.py, stats.py and accounts.py tell what happened, and local.py and metrics.py those who ask
and may; counting.py is the second process, which counts tokens.
"""
