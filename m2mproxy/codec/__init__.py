"""The forms that a body can take on the wire: bytes in, bytes out, no I/O (WIRE.md)."""
