"""The scanner of requests: what a body says that its sender may not have meant to let through.

Pure: bytes in, findings out. Nothing here waits, logs, or knows of HTTP.
"""
