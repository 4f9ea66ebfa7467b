"""Vocabularies for the commands, each when it is first used.

Rule: tiktoken comes into the process with the first vocabulary that is wanted, and not before.
"""

from collections.abc import Iterator, Mapping

from m2mproxy.cli.data import Failure
from m2mproxy.codec.token_native import NAMES, Vocabulary


class OnDemand(Mapping[str, Vocabulary]):
    """All that are installed, by their letters on the wire; each is loaded when it is looked up."""

    def __getitem__(self, letter: str) -> Vocabulary:
        """Raises KeyError where it is not installed, Failure where it cannot be used."""
        from m2mproxy.tokens.vocabulary import VocabularyError, is_installed, load

        name = NAMES[letter]
        if not is_installed(name):
            raise KeyError(letter)
        try:
            return load(name)
        except VocabularyError as error:
            raise Failure(str(error)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)
