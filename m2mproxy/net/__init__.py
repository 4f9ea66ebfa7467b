"""Bytes to streams and back: connections in both roles, and who may use them."""
