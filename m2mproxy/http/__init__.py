"""The vocabulary of every layer: messages, fields, bodies, faults, waiting. No I/O.

message.py has Request and Response, the one form for all HTTP versions; body.py a payload that is
fed and taken without waiting; flow.py the coroutines that wait for one; faults.py what can go
wrong, by who is to blame; validate.py the checks against request smuggling.
"""
