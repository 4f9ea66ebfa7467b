"""The scanner of requests: what in a body looks like an attack, where, and how sure that is.

scanner.py gives the verdict on a body: it checks the bytes (document.py, characters.py, shape.py),
walks through every string (walk.py), and has the texts scored (scorer.py) that it has not seen
before (cache.py). A text is scored in windows: a cheap first model (gate.py) passes most of them
over; the others are read plain and as whatever they may decode to (reader.py, decoding.py), matched
against rules (data/rules.toml, by hyperscan: engine.py), and weighed (model.py).

Pure: bytes in, findings out. Nothing here waits, logs, or knows of HTTP.
"""
