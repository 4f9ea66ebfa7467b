"""How many tokens requests and texts have, by a vocabulary or an estimate; and what replies report.

usage.py reads what a reply says it took. What replies do not say is counted (job.py): the texts of
a request (body.py) or a reply (written.py), and what the model's template adds to them (frames.py),
with the vocabulary that its name stands for (names.py, models.py), or by an estimate (estimate.py).

Vocabularies come from our own packed data or from installed packages, never from the network.
Importing vocabulary.py brings tiktoken; a process that wants no vocabulary imports it nowhere.
count.py brings none: it counts with those that it is given.
"""
