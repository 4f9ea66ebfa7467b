"""Vocabularies for the commands: those that a configuration names, or each when it is first used.

The one rule: tiktoken is imported with the first vocabulary that is wanted, and not before.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from m2mproxy.cli.data import Failure
from m2mproxy.codec.token_native import NAMES, Vocabulary
from m2mproxy.config import Config

KEY = "proxy.compression.vocabularies"
TO_COUNT = "tokens.vocabularies"


def configured(config: Config) -> Mapping[str, Vocabulary]:
    """The vocabularies that `config` names, loaded, by their letters on the wire.

    Raises:
        ConfigError: one of them cannot be had.
    """
    names = config.compression.vocabularies
    if not names:
        return {}
    from m2mproxy.tokens.vocabulary import VocabularyError, load

    try:
        return {letter: load(name) for letter, name in NAMES.items() if name in names}
    except VocabularyError as error:
        raise config.refusal(KEY, names, str(error)) from None


def counter(config: Config) -> Any:
    """What counts tokens as `config` wants it, with its vocabularies loaded; None for nothing.

    Raises:
        ConfigError: one of them cannot be had.
    """
    names = config.tokens.vocabularies
    if TO_COUNT in config.places:
        _check_known(config, names)
    if config.tokens.count != "all":
        return None
    from m2mproxy.tokens.count import Counter

    if not names:
        return Counter({})
    from m2mproxy.tokens.vocabulary import VocabularyError, preload

    try:
        return Counter(preload(names))
    except VocabularyError as error:
        raise config.refusal(TO_COUNT, names, str(error)) from None


def _check_known(config: Config, names: Sequence[str]) -> None:
    """What is misspelt is an error, whether it is put to use or not."""
    from m2mproxy.tokens.known import KNOWN

    for name in names:
        if name not in KNOWN:
            reason = f"{name} is not known; there are {', '.join(KNOWN)}"
            raise config.refusal(TO_COUNT, names, reason)


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
