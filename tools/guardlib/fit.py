"""The training: windows and parts of windows as rows of sparse matrices, two logistic regressions
(the gate and the model), operating points.

The model is learnt row by row, with steps for each weight that shrink with what it has been moved:
what is seldom seen is believed sooner than under one strength for all. Which features are rare must
not be told from texts that are held back, or figures are better than they should be: the model has
all of them, and the gate leaves out what is rare in its own rows.

The gate decides which parts are read, and so what the model learns from: of each text by a gate
that has seen nothing of its cluster, in training as in measuring.

The one rule: whoever is measured was not trained on, nor were its near-duplicates.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sparse
from scipy.optimize import minimize

from m2mproxy.guard import gate, grams, rules
from m2mproxy.guard.decoding import READINGS
from m2mproxy.guard.gate import MORE, SPAN, Gate, Judged
from m2mproxy.guard.model import DAMPING, Model, discount
from m2mproxy.guard.reader import Reader
from m2mproxy.guard.reading import Reading, pairs_of
from m2mproxy.guard.stretch import Window, windows_of
from m2mproxy.guard.words import FORMS

from .data import FOLDS, OBFUSCATED, SEEDS, Sample, family, fold_of
from .embed import EMBEDDED, attack_of
from .obfuscate import AUGMENTED

ALARMS = 0.0085
"""Share of harmless texts, over all and of each kind, that may score above the operating point."""
KINDS = {
    "chat": ("chat",),
    "code": ("code", "code_file"),
    "documents": ("docs",),
    "agent requests": ("agent_request",),
}
PACE, AT_FIRST, HELD_BACK, PASSES, ORDERS = 0.3, 1e-3, 5e-4, 8, 3
"""How far a weight moves, in units of the root of its squared slopes; what these add up from; how
much each row that has it takes it back to nothing; how often all rows are gone through, and in how
many ways, of which the mean is taken."""
GATE_STRENGTH = 20.0
"""The inverse of regularisation."""
WORDS, LISTS, RULES = 3.0, 1.5, 0.4
"""Scales of the features (the larger, the less they are held back)."""
PASSING = 9.0
"""The scale of the features of the gate."""
LOST = 0.004
"""Share of the attacks that are found which the gate may pass over."""
MADE_WEIGHT = 0.15
"""What a harmless variant counts: such writing is rare where it means no harm."""
PRIORS = {
    **dict.fromkeys(
        ("hidden", "hex", "escapes", "rot13", "reversed", "unseen", "mixed", "styled"), 0.8
    ),
    "spelling": 0.75,
    "uneven": 0.5,
    "part": -0.75,
}
"""What is added to the weights of rules and forms that were learnt, in logits: of harmless texts
next to none is written so that it cannot be read, which made samples do not show, of which half are
harmless; and of a long text the worst part is read, which is no part like any other."""
_OVERLAP = 40
"""Characters of an attack that a part has of it at least."""
SLOTS, GATE_SLOTS = 1 << 19, 1 << 18
"""Of the tables that the model and the gate keep their weights in: what they learn is more."""
LEAST_SEEN = 2
ROUNDS = 70
"""Of the gate's fit, at most."""
_SEED = 5
SLOPE = 2.0
LED = ("hidden", *READINGS)
Array = Any


class Trainer:
    """Samples as matrices, with the ways to fit and to measure."""

    def __init__(self, samples: Sequence[Sample], taught: Array | None = None) -> None:
        """`taught`: which of the samples models may be trained on; all of them for None."""
        self.samples = samples
        self.taught = np.ones(len(samples), bool) if taught is None else taught
        self.label = np.array([each.label for each in samples])
        self.real = np.array([each.source != SEEDS and not made(each) for each in samples])
        self.category = np.array([each.category for each in samples])
        self.family = np.array([family(each.source) for each in samples])
        self.fold = np.array([fold_of(each) for each in samples])
        self._windows = [
            window
            for owner, sample in enumerate(samples)
            for window in windows_of(owner, sample.text)
        ]
        typical = np.array([each.category != EMBEDDED and each.gates for each in samples])
        self._gating = _Gating(self._windows, self.label, partial(self._weight, 1.0), typical)
        self._judge()
        self._read()

    def _weight(self, weight: Any, owner: Array) -> Array:
        """What each of some rows counts, by the samples that they are of, of which each has its
        `weight`."""
        weight = weight / np.sqrt(np.maximum(np.bincount(owner, minlength=len(self.samples)), 1))
        harmless = np.array([made(each) and not each.label for each in self.samples])
        return (weight * np.where(harmless, MADE_WEIGHT, 1.0))[owner]

    def _judge(self) -> None:
        """What gates that do not know them say of the windows."""
        owner = np.array([window.number for window in self._windows])
        self._judged: list[Any] = [None] * len(owner)
        for fold in range(FOLDS + 1):
            held = self.fold == fold
            mine = np.flatnonzero(held[owner])
            judged = self._gating.fit(~held & self.taught).judged(self._windows[at] for at in mine)
            for at, each in zip(mine, judged, strict=True):
                self._judged[at] = each

    def _read(self) -> None:
        readings: list[Reading] = []
        owners: list[int] = []
        meant: list[bool] = []
        place: list[int] = []
        reader = Reader(rules.load())
        self.names = [rule.id for rule in rules.load().rules] + list(LED)
        for at, judged in enumerate(self._judged):
            window = judged.window
            sample = self.samples[window.number]
            whole = list(reader.read(window.text))
            part, teaches = [], False
            if judged.worst > -math.inf:
                cut = window.cut(*judged.part).text
                part = list(reader.read(cut, is_part=True))
                teaches = _is_meant(sample, cut)
            readings += whole + part
            meant += _meant(sample, len(whole)) + [teaches] * len(part)
            place += [2 * at] * len(whole) + [2 * at + 1] * len(part)
            owners += [window.number] * (len(whole) + len(part))
        self.owner, self.meant, self._place = np.array(owners), np.array(meant), np.array(place)
        self.passing = self._passing(self._judged)
        each = np.array([each.weight for each in self.samples])
        self.weight = self._weight(each, self.owner)
        self._build(readings)

    def _passing(self, judged: Iterable[Judged]) -> Array:
        """What the gate has to say for each reading to be made."""
        both = [logit for each in judged for logit in (each.whole, each.worst - MORE)]
        return np.array(both)[self._place]

    def _build(self, readings: Sequence[Reading]) -> None:
        each_once = [grams.word_grams([each.words]).of(0) for each in readings]
        scales = [WORDS / math.sqrt(len(row) + DAMPING) for row in each_once]
        self._keys, words = _by_key(each_once, scales)
        even = [RULES] * len(readings)
        numbers = {name: at for at, name in enumerate(self.names)}
        fired = _matrix(
            [[numbers[name] for name in each.rules] for each in readings], even, len(numbers)
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
        self._prior = (fired @ _priors(self.names) + forms @ _priors(FORMS)) / RULES

    def fit(self, chosen: Array) -> tuple[Array, grams.Table]:
        """Weights, the bias last, of the samples chosen; and the table that holds those of words,
        which are given as that has them."""
        rows = chosen[self.owner] & self.meant
        matrix, weight = self.matrix[rows], self.weight[rows]
        weights = _learnt(matrix, self.label[self.owner][rows], weight)
        words = slice(len(self._keys))
        held = _held(self._keys, weights[words] * WORDS, matrix[:, words], weight, SLOTS)
        weights[words] = held.of_each(self._keys) * (held.step / WORDS)
        return weights, held

    def crossed(self) -> Array:
        """What models say of each reading that have seen nothing of its cluster, nor samples that
        are not taught."""
        rows = np.full(len(self.owner), -np.inf)
        for fold in range(FOLDS):
            held = self.fold == fold
            mine = held[self.owner]
            rows[mine] = _applied(self.matrix[mine], self.fit(~held & self.taught)[0])
        return rows + self._prior

    def highest(
        self, rows: Array, barrier: float = -math.inf, passing: Array | None = None
    ) -> Array:
        """Of each sample, the highest of its readings that the gate lets through."""
        passes = (self.passing if passing is None else passing) >= barrier
        best = np.full(len(self.samples), -np.inf)
        np.maximum.at(best, self.owner[passes], rows[passes])
        return best

    def logits(self, rows: Array, barrier: float, passing: Array | None = None) -> Array:
        """Each sample's: the highest, less what is taken for how much of it is read."""
        passes = (self.passing if passing is None else passing) >= barrier
        _, firsts = np.unique(self._place[passes], return_index=True)
        read = np.bincount(self.owner[passes][firsts], minlength=len(self.samples))
        taken = np.array([discount(times) for times in read.tolist()])
        return self.highest(rows, barrier, passing) - taken

    def threshold(self, logits: Array, alarms: float = ALARMS) -> float:
        """The lowest above which no kind of harmless text has more than its share of alarms."""
        harmless = (self.label == 0) & self.real
        kinds = [harmless, *(harmless & np.isin(self.category, each) for each in KINDS.values())]
        return max(_quantile(logits[kind], alarms) for kind in kinds)

    def barrier(self, rows: Array) -> float:
        """What the gate must say for a window to be read, so that of the attacks that are found no
        more than LOST are passed over."""
        logits = self.highest(rows)
        found = (logits > self.threshold(logits)) & (self.label == 1)
        passing = np.sort(self.highest(self.passing)[found])
        return float(passing[int(LOST * len(passing))])

    def without(self, name: str, barrier: float) -> Array:
        """The logits by a model and a gate that have not seen this family."""
        known = (self.family != name) & self.taught
        passing = self._passing(self._gating.fit(known).judged(self._windows))
        rows = _applied(self.matrix, self.fit(known)[0]) + self._prior
        return self.logits(rows, barrier, passing)

    def read(self, barrier: float) -> tuple[float, float]:
        """Of the harmless texts, which share of the characters is read in whole windows, and which
        in parts."""
        whole = part = every = 0
        for judged in self._judged:
            owner, size = judged.window.number, len(judged.window.text)
            if self.label[owner] or not self.real[owner]:
                continue
            every += size
            whole += size * (judged.whole >= barrier)
            if judged.worst - MORE >= barrier:
                part += len(judged.window.cut(*judged.part).text)
        return whole / every, part / every

    def final(self) -> Model:
        """Of all samples, with the operating points that cross-validation gives."""
        rows = self.crossed()
        barrier = self.barrier(rows)
        point = self.threshold(self.logits(rows, barrier))
        everything = np.ones(len(self.samples), bool)
        weights, table = self.fit(everything)
        sizes = [len(self._keys), len(self.pairs), len(self.names), len(FORMS)]
        _, lists, fired, forms, _ = np.split(weights, np.cumsum(sizes))
        counts = (fired * RULES + _priors(self.names)).tolist()
        return Model(
            bias=float(weights[-1]) - point + math.log(4) / SLOPE,
            slope=SLOPE,
            rules=dict(zip(self.names, counts, strict=True)),
            forms=(forms * RULES + _priors(FORMS)).tolist(),
            lists=_nested(self.pairs, (lists * LISTS).tolist()),
            words=table,
            gate=replace(self._gating.fit(everything), whole=barrier, part=barrier + MORE),
        )


class _Gating:
    """Windows as the gate sees them, and rows of words of harmless ones, of which none is worth
    reading."""

    def __init__(
        self, windows: Sequence[Window], label: Array, weight: Any, typical: Array
    ) -> None:
        """`typical`: which samples it learns from: those of which whole windows have the label."""
        counted: list[Array] = []
        values: list[float] = []
        owners: list[int] = []
        for window in windows:
            _, _, hashes = grams.words(b" %b " % window.plain)
            places = [(0, len(hashes)), *([] if label[window.number] else _rows(len(hashes)))]
            for first, last in places:
                row = hashes[first:last]
                counted.append(grams.side_by_side(row))
                values.append(PASSING / math.sqrt(len(row) + gate.DAMPING))
                owners.append(window.number)
        self._keys, self._counts = _by_key(counted, values)
        self._counts.sum_duplicates()
        self._owner = np.array(owners)
        self._typical = typical
        self._label, self._weight = label[self._owner], weight(self._owner)

    def fit(self, chosen: Array) -> Gate:
        """The gate that the windows of the samples chosen make, with no operating point."""
        rows = (chosen & self._typical)[self._owner]
        counts = _common(self._counts[rows])
        weights = _fit(counts, self._label[rows], self._weight[rows])
        table = _held(self._keys, weights[:-1] * PASSING, counts, self._weight[rows], GATE_SLOTS)
        return Gate(float(weights[-1]), -math.inf, -math.inf, table)


def _rows(count: int) -> Iterator[tuple[int, int]]:
    """Rows of SPAN words that cover so many, if there are more."""
    if count > SPAN:
        yield from ((first, first + SPAN) for first in range(0, count - SPAN, SPAN))
        yield count - SPAN, count


def _nested(
    pairs: Sequence[tuple[str, str]], weights: Sequence[float]
) -> dict[str, dict[str, float]]:
    nested: dict[str, dict[str, float]] = {}
    for (first, second), weight in zip(pairs, weights, strict=True):
        nested.setdefault(first, {})[second] = weight
    return nested


def made(sample: Sample) -> bool:
    """It was made of another one."""
    return sample.category in (AUGMENTED, EMBEDDED)


def _is_written_otherwise(sample: Sample) -> bool:
    return sample.category in (AUGMENTED, OBFUSCATED)


def _is_meant(sample: Sample, part: str) -> bool:
    """Whether a part of a window has the label of the sample."""
    if sample.category == EMBEDDED:
        attack = attack_of(sample)
        return attack[:_OVERLAP] in part or attack[-_OVERLAP:] in part
    return not sample.label or not _is_written_otherwise(sample)


def _meant(sample: Sample, readings: int) -> list[bool]:
    """Which readings of a window have the label of the sample: of an attack the plain one, and of
    one that was written otherwise the others, where there are any."""
    if sample.category == EMBEDDED:
        return [False] * readings
    if not sample.label or readings == 1:
        return [True] * readings
    return [(at == 0) != _is_written_otherwise(sample) for at in range(readings)]


def _common(matrix: Array) -> Array:
    """Without what fewer than LEAST_SEEN rows have."""
    kept = sparse.diags((matrix.getnnz(0) >= LEAST_SEEN).astype(float))
    common = (matrix @ kept).tocsr()
    common.eliminate_zeros()
    return common


def _by_key(rows: Sequence[Array], values: Sequence[float]) -> tuple[Array, Array]:
    """All keys of some rows, and a matrix with a column for each."""
    lengths = [len(row) for row in rows]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    keys, indices = np.unique(np.concatenate(rows), return_inverse=True)
    each = np.repeat(np.array(values), lengths)
    return keys, sparse.csr_matrix((each, indices.astype(np.int32), starts), (len(rows), len(keys)))


def _held(keys: Array, weights: Array, matrix: Array, weight: Array, slots: int) -> grams.Table:
    """The weights of keys in a table, whose slots go to what moves most rows most: steps of AdaGrad
    are as large for what one row has as for what a hundred have."""
    rows = sparse.csr_matrix(
        (np.repeat(weight, np.diff(matrix.indptr)), matrix.indices, matrix.indptr), matrix.shape
    )
    seen = np.asarray(rows.sum(axis=0)).ravel()
    return grams.table(keys, weights, np.abs(weights) * np.sqrt(seen), slots)


def _priors(names: Sequence[str]) -> Array:
    return np.array([PRIORS.get(name, 0.0) for name in names])


def _applied(matrix: Array, weights: Array) -> Array:
    return matrix @ weights[:-1] + weights[-1]


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
    """The gate's, by L-BFGS."""
    transposed = matrix.T.tocsr()
    sign = 2 * label - 1

    def loss(point: Array) -> tuple[float, Array]:
        weights, bias = point[:-1], point[-1]
        margin = sign * (matrix @ weights + bias)
        slope = -sign * weight / (1 + np.exp(np.minimum(margin, 500)))
        held_back = (weights @ weights) / (2 * GATE_STRENGTH)
        value = (weight * np.logaddexp(0, -margin)).sum() + held_back
        return value, np.append(transposed @ slope + weights / GATE_STRENGTH, slope.sum())

    start = np.zeros(matrix.shape[1] + 1)
    options = {"maxiter": ROUNDS, "maxcor": 20}
    return minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x


def _learnt(matrix: Array, label: Array, weight: Array) -> Array:
    """The model's: the mean of a few, since the order of the rows alone moves recall by a point."""
    orders = [np.random.default_rng(_SEED + each) for each in range(ORDERS)]
    some: Array = np.mean([_in_order(matrix, label, weight, each) for each in orders], axis=0)
    return some


def _in_order(matrix: Array, label: Array, weight: Array, chance: Any) -> Array:
    """By AdaGrad: the rows in an order drawn for each pass, in smaller and smaller steps."""
    weights, squares = np.zeros(matrix.shape[1]), np.full(matrix.shape[1], AT_FIRST)
    bias, squared = 0.0, 1.0
    ends, counts = matrix.indptr.tolist(), weight.tolist()
    truth = label.tolist()
    for turn in range(PASSES):
        pace = PACE * (1 - 0.9 * turn / PASSES)
        for row in chance.permutation(len(truth)).tolist():
            within = slice(ends[row], ends[row + 1])
            places, values = matrix.indices[within], matrix.data[within]
            held = weights[places]
            logit = float(values @ held) + bias
            slope = (1 / (1 + math.exp(-max(logit, -500.0))) - truth[row]) * counts[row]
            squared += slope * slope
            bias -= pace * slope / math.sqrt(squared)
            slopes = slope * values + HELD_BACK * held
            sums = squares[places] + slopes * slopes
            squares[places] = sums
            weights[places] = held - pace * slopes / np.sqrt(sums)
    return np.append(weights, bias)
