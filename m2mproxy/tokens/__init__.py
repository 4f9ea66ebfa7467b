"""Tokenizer vocabularies, from packed data of our own or from packages beside us, never from a net.

Importing vocabulary.py brings tiktoken; a process that wants no vocabulary imports it nowhere.
"""
