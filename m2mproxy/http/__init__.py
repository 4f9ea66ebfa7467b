"""The vocabulary every layer shares: messages, fields, bodies, faults, waiting. No protocol library, no I/O."""
