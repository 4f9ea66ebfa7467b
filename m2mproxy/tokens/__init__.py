"""Tokenizer vocabularies, from our own packed data or from installed packages, never from the
network; and how many tokens requests and texts have, by a vocabulary or by an estimate.

Importing vocabulary.py brings tiktoken; a process that wants no vocabulary imports it nowhere.
count.py brings none: it counts with those that it is given.
"""
