"""Tokenizer vocabularies, from packed data of our own or from packages beside us, never from a net;
and how many tokens requests and texts have, by them or by an estimate.

Importing vocabulary.py brings tiktoken; a process that wants no vocabulary imports it nowhere.
count.py brings none: it counts with those that it is given.
"""
