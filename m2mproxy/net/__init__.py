"""Bytes to streams and back: connections in both roles, and who may use them.

connection.py says what every HTTP version and both roles promise. h1.py and h2.py are the two
versions, each with a server's and a client's half beside it (h1_server.py, h2_client.py, ...);
what the frames of HTTP/2 mean is in h2_engine.py, which does no I/O and keeps no bodies;
tcp.py joins them to asyncio, preface.py and TLS (tls.py) tell which one a client speaks. Upstream
connections are opened by dial.py and owned by pool.py.

How much goes at a time: h2_window.py what a peer may send, h2_growth.py more over long distances,
h2_writer.py whose turn it is, h2_pace.py how much of that a slow line gets, by what the kernel
knows of it (path.py). When it ends: deadline.py by the clock, watchdog.py where a peer is gone,
h2_budget.py where it does nothing but harm, linger.py in good order.
"""
