"""The forms that a body can take on the wire: bytes in, bytes out, no I/O.

M2M v1, its text forms and their tables are specified in m2m-wire(7). They are those of the Rust
crate m2m-protocol 0.4, "the crate", and of its ancestors 0.2 and 0.3. What two m2mproxy instances
speak is in m2m-link(7).
"""
