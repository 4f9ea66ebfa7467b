"""The vocabulary of every layer: messages, fields, bodies, faults, waiting. No I/O."""
