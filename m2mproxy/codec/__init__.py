"""The forms that a body can take on the wire: bytes in, bytes out, no I/O.

There are three families. The standard content codings, for any server (coding.py, over zstd.py,
brotli.py and deflate.py). M2M v1, specified in m2m-wire(7): frames (frame.py, header.py,
routing.py, sealed.py) and text forms (token_native.py, abbreviated.py, legacy.py); they are those
of the Rust crate m2m-protocol 0.4, "the crate", and of its ancestors 0.2 and 0.3. And what only two
m2mproxy instances speak, specified in m2m-link(7): whole bodies with a static dictionary
(static.py), event streams (events.py, template.py, huffman.py), replies coded after their request
(after.py). base.py has what all share.
"""
