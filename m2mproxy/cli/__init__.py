"""The two commands: what they are asked, and with which code they end.

daemon.py is `m2mproxy`, and what `m2m proxy` runs; tool.py is `m2m`, with a module for each of its
other commands. All import what they run only when they run it, so that help and errors come at
once.
"""
