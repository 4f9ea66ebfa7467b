"""One request's life: where it goes, what is added to it, how both directions are moved.

proxy.py begins an Exchange for each request; exchange.py is its whole life, top to bottom. It asks
routes.py where the request goes, scanning.py whether it may go at all, request_coding.py and
response_coding.py how bodies are coded, links.py and turn.py whether it can go by a link; pump.py
moves the bodies, and taps (tap.py) see them pass. record.py is what the log says of it afterwards.
"""
