"""m2m-link: what two instances remember of a connection, so that each byte crosses once.

Applications send the whole conversation again with every turn. On a link the edge (edge.py) sends
only a reference to an earlier body and its reply, and what is new (use.py, message.py); the core
(core.py) puts the body together again. Both keep the same entries (window.py), each within the
scope of those who may refer to them (scope.py), and both make the same text of a reply, as the
application will most likely send it back (reply.py), and keep what the next reply is coded after
(ends.py). m2m-link(7) is the specification.

edge.py has the steps of a request in their order. What it refers to is found by what is known of
its body (look.py): the entry of its own conversation (kin.py, shown.py), of which it is told what
has changed (edits.py), or what others have of it (borrow.py), by tables (index.py), and byte by
byte (match.py).
"""
