"""Bytes to streams and back: connections of every HTTP version in both roles, and who may use them."""
