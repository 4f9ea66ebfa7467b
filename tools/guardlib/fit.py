"""The training: windows as rows of a sparse matrix, a logistic regression, an operating point.

The one rule: whoever is measured was not trained on, nor were its near-duplicates.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sparse
from scipy.optimize import minimize

from m2mproxy.guard import rules
from m2mproxy.guard.model import DAMPING, Model
from m2mproxy.guard.reader import Reader
from m2mproxy.guard.reading import Reading, pairs_of
from m2mproxy.guard.views import READINGS
from m2mproxy.guard.windows import windows
from m2mproxy.guard.words import FORMS, pairs_of_words

from .data import OBFUSCATED, SEEDS, Sample, family
from .obfuscate import AUGMENTED

FOLDS = 5
ALARMS = 0.0085
"""Share of harmless texts, over all and of each kind, that may score above the operating point."""
KINDS = {
    "chat": ("chat",),
    "code": ("code", "code_file"),
    "documents": ("docs",),
    "agent requests": ("agent_request",),
}
STRENGTH = 10.0
"""The inverse of regularisation."""
WORDS, LISTS, RULES, SEED_WEIGHT = 3.0, 1.5, 0.4, 1.0
"""Scales of the features (the larger, the less they are held back), and what a seed counts."""
MADE_WEIGHT = 0.8
"""What a harmless variant counts: such writing is rare where it means no harm."""
LEAST_SEEN = 2
ROUNDS = 70
SLOPE = 1.0
LED = ("hidden", *READINGS)
Array = Any


class Trainer:
    """Samples as a matrix, with the ways to fit and to measure."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self.names = [rule.id for rule in rules.load().rules] + list(LED)
        self._numbers = {name: at for at, name in enumerate(self.names)}
        self._reader = Reader(rules.load())
        readings: list[Reading] = []
        owners: list[int] = []
        meant: list[bool] = []
        for owner, sample in enumerate(samples):
            for _, window in windows(sample.text):
                read = list(self._reader.read(window))
                readings += read
                owners += [owner] * len(read)
                meant += _meant(sample, len(read))
        self.owner = np.array(owners)
        self.meant = np.array(meant)
        self.label = np.array([each.label for each in samples])
        self.real = np.array([each.source != SEEDS and not made(each) for each in samples])
        self.category = np.array([each.category for each in samples])
        self.family = np.array([family(each.source) for each in samples])
        self.fold = np.array([fold_of(each) for each in samples])
        self._build(readings)
        harmless_made = [made(each) and not each.label for each in samples]
        count = np.bincount(self.owner, minlength=len(samples))
        weight = 1 / np.sqrt(np.maximum(count, 1)) * np.where(self.real, 1.0, SEED_WEIGHT)
        weight = weight * np.array([MADE_WEIGHT if each else 1.0 for each in harmless_made])
        self.weight = weight[self.owner]

    def _build(self, readings: Sequence[Reading]) -> None:
        featured = [_features(reading) for reading in readings]
        seen: Counter[Any] = Counter()
        last: dict[Any, int] = {}
        for owner, features in zip(self.owner, featured, strict=True):
            for each in features:
                if last.get(each) != owner:
                    last[each] = owner
                    seen[each] += 1
        self.vocabulary = sorted(
            (each for each, count in seen.items() if count >= LEAST_SEEN),
            key=lambda each: (isinstance(each, tuple), each),
        )
        number = {each: at for at, each in enumerate(self.vocabulary)}
        words = _matrix(
            [[number[each] for each in features if each in number] for features in featured],
            [WORDS / math.sqrt(len(features) + DAMPING) for features in featured],
            len(number),
        )
        even = [RULES] * len(readings)
        fired = _matrix(
            [[self._numbers[name] for name in each.rules] for each in readings],
            even,
            len(self.names),
        )
        forms = _matrix([each.forms for each in readings], even, len(FORMS))
        pairs = [pairs_of(each.lists) for each in readings]
        self.pairs = sorted({pair for some in pairs for pair in some})
        at_pair = {pair: at for at, pair in enumerate(self.pairs)}
        near = _matrix(
            [[at_pair[pair] for pair in some] for some in pairs],
            [LISTS / math.sqrt(len(some) + DAMPING) for some in pairs],
            len(self.pairs),
        )
        self.matrix = sparse.hstack([words, near, fired, forms]).tocsr()

    def fit(self, chosen: Array) -> Array:
        """Weights, the bias last, of the samples chosen."""
        rows = chosen[self.owner] & self.meant
        return _fit(self.matrix[rows], self.label[self.owner][rows], self.weight[rows])

    def logits(self, weights: Array) -> Array:
        """The highest of each sample's readings."""
        rows = self.matrix @ weights[:-1] + weights[-1]
        best = np.full(len(self.samples), -np.inf)
        np.maximum.at(best, self.owner, rows)
        return best

    def crossed(self, taught: Array | None = None) -> Array:
        """Each sample's logit by a model that has seen nothing of its cluster, and of the others
        those that are `taught`; all of them for None."""
        may = np.ones(len(self.samples), bool) if taught is None else taught
        logits = np.full(len(self.samples), -np.inf)
        for fold in range(FOLDS):
            held = self.fold == fold
            logits[held] = self.logits(self.fit(~held & may))[held]
        return logits

    def threshold(self, logits: Array, alarms: float = ALARMS) -> float:
        """The lowest above which no kind of harmless text has more than its share of alarms."""
        harmless = (self.label == 0) & self.real
        kinds = [harmless, *(harmless & np.isin(self.category, each) for each in KINDS.values())]
        return max(_quantile(logits[kind], alarms) for kind in kinds)

    def without(self, name: str) -> Array:
        """The logits of a model that has not seen this family."""
        return self.logits(self.fit(self.family != name))

    def final(self) -> Model:
        point = self.threshold(self.crossed())
        weights = self.fit(np.ones(len(self.samples), bool))
        ends = np.cumsum([len(self.vocabulary), len(self.pairs), len(self.names), len(FORMS)])
        words, lists, fired, forms, _ = np.split(weights, ends)
        counts = dict(zip(self.vocabulary, map(float, words * WORDS), strict=True))
        return Model(
            bias=float(weights[-1]) - point + math.log(4) / SLOPE,
            slope=SLOPE,
            rules=dict(zip(self.names, map(float, fired * RULES), strict=True)),
            forms=[float(each) for each in forms * RULES],
            lists=dict(zip(self.pairs, map(float, lists * LISTS), strict=True)),
            words={word: n for word, n in counts.items() if isinstance(word, bytes)},
            pairs={pair: n for pair, n in counts.items() if isinstance(pair, tuple)},
        )


def made(sample: Sample) -> bool:
    """It is a variant of another one."""
    return sample.category == AUGMENTED


def _meant(sample: Sample, readings: int) -> list[bool]:
    """Which readings have the label of the sample: of an attack the plain one, and of one that was
    written otherwise the others, where there are any."""
    if not sample.label or readings == 1:
        return [True] * readings
    return [(at == 0) != (made(sample) or sample.category == OBFUSCATED) for at in range(readings)]


def fold_of(sample: Sample) -> int:
    """Seeds are in none: they are always trained on."""
    return sample.cluster * 2654435761 % 1000003 % FOLDS if sample.cluster >= 0 else FOLDS


def _features(reading: Reading) -> set[Any]:
    return {*reading.words, *pairs_of_words(reading.words)}


def _quantile(logits: Array, share: float) -> float:
    if not len(logits):
        return -math.inf
    return float(np.sort(logits)[::-1][int(share * len(logits))])


def _matrix(rows: Sequence[Sequence[int]], values: Sequence[float], width: int) -> Array:
    lengths = [len(row) for row in rows]
    indices = np.fromiter((at for row in rows for at in sorted(row)), np.int32, sum(lengths))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return sparse.csr_matrix(
        (np.repeat(np.array(values), lengths), indices, starts), shape=(len(rows), width)
    )


def _fit(matrix: Array, label: Array, weight: Array) -> Array:
    transposed = matrix.T.tocsr()
    sign = 2 * label - 1

    def loss(point: Array) -> tuple[float, Array]:
        weights, bias = point[:-1], point[-1]
        margin = sign * (matrix @ weights + bias)
        slope = -sign * weight / (1 + np.exp(np.minimum(margin, 500)))
        value = (weight * np.logaddexp(0, -margin)).sum() + (weights @ weights) / (2 * STRENGTH)
        return value, np.append(transposed @ slope + weights / STRENGTH, slope.sum())

    start = np.zeros(matrix.shape[1] + 1)
    options = {"maxiter": ROUNDS, "maxcor": 20}
    return minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
