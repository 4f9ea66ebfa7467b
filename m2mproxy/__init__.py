"""m2mproxy: an OpenAI-compatible reverse proxy that makes LLM API traffic small on the wire.

A request is an Exchange between two Streams, the client's and the upstream's, and two Pumps that
move the bodies between them, one each way:

    socket > Connection (HTTP/1.1 or 2) > Stream > Exchange > pool > Stream > Connection > socket

The packages, of which each imports only from those below it (tests/test_layers.py):

    cli      the commands: m2mproxy, the daemon, and m2m, the tool
    service  one process that serves: listeners, signals, drain, log, figures
    proxy    the life of a request: routes, codings, links, scanning, the tokens of its reply
    net      bytes to streams and back: HTTP/1.1, HTTP/2, TLS, dials, the pool of connections
    link     m2m-link: what two instances remember of a connection, so that each byte crosses once
    codec    the forms of a body on the wire: standard codings, M2M v1, those between two instances
    tokens   how many tokens a request has and a reply reports, by vocabulary or by estimate
    guard    the scanner of requests: rules, a small model, a verdict
    http     the vocabulary of all: messages, header fields, bodies, faults, waiting
    config   flags, environment and m2m.toml, as dataclasses

Some words, which mean the same everywhere:

    downstream, upstream  the client's side, and the side of the LLM's server
    client, server        the two roles of a Connection
    edge, core            the two instances of a link: beside the application, beside the model
    coding, form          what a body is written in: the name in Content-Encoding is its coding
    entry                 a request's body and the text of its reply, as a link remembers them
    tenant, scope         whose a request is, by its head; and by its head and its body
    turn                  a request that continues a conversation
    fault                 what ends an exchange before its time, by who is to blame

Nothing that a transport calls ever waits: what waits, waits for a chunk of a Body or for room at a
Gate, in a coroutine that the same callback steps on (http/flow.py). A sender gets its credit back
when its bytes are taken, so that whoever does not read holds back whoever sends.
"""

__version__ = "0.1.0"
