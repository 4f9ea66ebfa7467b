"""One request's life: where it goes, what is added to it, how both directions are moved.

proxy.py begins an Exchange for each request; exchange.py is its whole life, top to bottom. It asks
routes.py where the request goes. The way there is in sending.py, which asks scanning.py whether it
may go at all, and decides as what its body goes: as it comes (upload.py), coded
(request_coding.py), or by a link (turn.py, links.py). The way back is in delivery.py, which asks
response_coding.py how the body is coded for the client. pump.py moves the bodies, and taps (tap.py)
see them pass. record.py is what the log says of it afterwards.

What these go by: providers.py and router.py for the upstream's URL, pages.py for browsers,
codings.py, forms.py and sealing.py for what a body can be written in, readable.py for what the
upstream has shown that it reads, held.py and room.py for memory, patience.py for time. errors.py
and reply.py are the proxy's own answers, injector.py its own words in an event stream. ledger.py
counts bytes, tally.py tokens.
"""
