"""The part `tokens`: counts against other programs', recorded costs and truths, and what they cost.

Every vocabulary that is installed is compared with a second program's counts, over texts of ten
kinds and over random ones; requests with what their providers said; estimates with exact counts. A
difference where we claim to be exact is a failure of the run. Speed and memory are in tokenscost.

What counting adds to a request that passes the proxy is not measured here: that takes the proxy.
"""

import random
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence

import corpora
import kinds
import recorded_usage
import second_opinion
from kinds import Text
from recorded_usage import Recorded

from m2mproxy.tokens import body as bodies
from m2mproxy.tokens import pieces
from m2mproxy.tokens.count import Counter
from m2mproxy.tokens.estimate import targets as estimated
from m2mproxy.tokens.known import KNOWN
from m2mproxy.tokens.vocabulary import is_installed, load_to_count, preload

from . import tokenscost
from .results import Results, Row, Target
from .servers import Bench

PART = "tokens"
REQUESTS = "counted"
COLUMNS = (*KNOWN, *tokenscost.COLUMNS, REQUESTS)

COMPARED = Row(PART, "texts compared with a second program", "texts")
DIFFERENT = Row(PART, "of them with another count", "texts")
RECORDED = Row(PART, "recorded requests", "")
EXACT = Row(PART, "of them said to be exact", "")
WRONG = Row(PART, "of those with another count", "")
TOOLS_ERROR = Row(PART, "error of requests with tools, mean", "%", 1)
SCHEMA_ERROR = Row(PART, "error of requests with a schema, mean", "%", 1)
COVERED = Row(PART, "of all within the stated error", "%", 1)
ANSWER_ERROR = Row(PART, "error of answers' texts, median", "tokens", 1)
STATED = Row(PART, "error as stated, by o200k", "%", 1)
MEAN = Row(PART, "error by o200k: mean over kinds", "%", 1)

# A model for each vocabulary, as estimates are asked for.
_MODELS = {
    "cl100k": "gpt-4",
    "o200k": "gpt-4o",
    "llama3": "llama3",
    "llama4": "llama4:scout",
    "tekken": "mistral-small-latest",
    "spm": "mixtral",
    "deepseek": "deepseek-v3",
    "qwen": "qwen3",
    "qwen35": "qwen3.5",
}
# What tokenizers treat in a way of its own, to be put together at random.
_ODD = (
    "a", "B", " ", "  ", "\n", "\r\n", "\t", "1", "23", "4567", "é", "e\u0301", "日", "か", "カ",
    "・", "\u30a0", "한", "ह", "\u093f", "😀", "\u200d", "'s", "'LL", "/", "//", "-", "_", "!",
    "<|endoftext|>", "[INST]", "\x00", "\x01", "\u00a0", "\u3000", "₂", "①", "Ⅷ", "ع", "\u064b",
    "ᾳ", "ǅ", "ʰ", "ª", "\ufffd", "\u2028", "\x85", "…", "—",
)  # fmt: skip


def by_characters(kind: str) -> Row:
    return Row(PART, f"error by characters alone: {kind}", "%", 1)


def by_o200k(kind: str) -> Row:
    return Row(PART, f"error by o200k: {kind}", "%", 1)


def measure(bench: Bench) -> None:
    bench.results.notes[PART] = (
        "by vocabulary; errors are means over chunks of 1,500 characters; the weights were made of "
        "such texts, but the stated error is that of texts left out"
    )
    texts = kinds.texts()
    if bench.short:
        texts = texts[::8]
    _compare(bench, texts)
    _estimate(bench.results, texts)
    if corpora.are_there():
        _requests(bench)
    else:
        print(f"tokens: {corpora.CORPORA} is not there; requests skipped", file=sys.stderr)
    ordinary = ("English", "code", "JSON")
    tokenscost.measure(bench, [each.text for each in texts if each.kind in ordinary])


# ---- against a second program -------------------------------------------------------------------


def _compare(bench: Bench, texts: Sequence[Text]) -> None:
    some = [*(each.text for each in texts), *_random(200 if bench.short else 5000)]
    for name in KNOWN:
        opinion = second_opinion.of(name) if is_installed(name) else None
        if opinion is None:
            print(f"tokens: nothing to compare {name} with; skipped", file=sys.stderr)
            continue
        program, count = opinion
        encoding, prefix = load_to_count(name), KNOWN[name].prefix
        different = [
            text for text in some if pieces.count(encoding, prefix + text)[0] != count(text)
        ]
        bench.results.add(COMPARED, name, len(some))
        bench.results.add(DIFFERENT, name, len(different))
        if different:
            what = f"{len(different)} texts, such as {different[0][:80]!r}"
            bench.results.fail(f"tokens: {name} differs from {program} on {what}")


def _random(count: int) -> Iterator[str]:
    chance = random.Random(7)
    for _ in range(count):
        yield "".join(chance.choices(_ODD, k=chance.randrange(1, 80)))


# ---- estimates against exact counts -------------------------------------------------------------


def _estimate(results: Results, texts: Sequence[Text]) -> None:
    ways = {by_o200k: Counter(preload(["o200k"])), by_characters: Counter({})}
    for name in filter(is_installed, KNOWN):
        truth = Counter(preload([name]))
        for row, counter in ways.items():
            if (row, name) == (by_o200k, "o200k"):
                continue
            errors: dict[str, list[float]] = defaultdict(list)
            for each in texts:
                exact = truth.text(each.text, _MODELS[name]).tokens
                guess = counter.text(each.text, _MODELS[name]).tokens
                errors[each.kind].append(abs(guess / exact - 1))
            means = {kind: 100 * statistics.fmean(some) for kind, some in errors.items()}
            for kind, mean in means.items():
                results.add(row(kind), name, mean)
            if row is by_o200k:
                results.add(MEAN, name, statistics.fmean(means.values()))
                results.add(STATED, name, 100 * estimated()[name].classes.error)


# ---- requests against what they cost ------------------------------------------------------------


def _requests(bench: Bench) -> None:
    counter = Counter(preload(filter(is_installed, KNOWN)))
    exact = wrong = covered = 0
    errors: dict[Row, list[float]] = defaultdict(list)
    counted = [each for each in recorded_usage.recorded() if _is_whole(each)]
    for each in counted:
        count = counter.request(each.body, each.model)
        off = abs(count.tokens - each.tokens)
        covered += off <= count.error * count.tokens + 0.5
        exact += count.is_exact
        wrong += count.is_exact and off > 0
        if {"tools", "functions"} & set(each.body):
            errors[TOOLS_ERROR].append(100 * off / each.tokens)
        elif "response_format" in each.body:
            errors[SCHEMA_ERROR].append(100 * off / each.tokens)
        if each.answer:
            tokens = counter.text(each.answer, each.model).tokens
            errors[ANSWER_ERROR].append(abs(each.answer_tokens - tokens))
    results = bench.results
    results.add(RECORDED, REQUESTS, len(counted))
    results.add(EXACT, REQUESTS, exact)
    results.add(WRONG, REQUESTS, wrong)
    results.add(COVERED, REQUESTS, 100 * covered / len(counted))
    for row, some in errors.items():
        # Of models that reason the answer costs more than its text.
        mean = statistics.median if row is ANSWER_ERROR else statistics.fmean
        results.add(row, REQUESTS, mean(some))
    if wrong:
        results.fail(f"tokens: {wrong} recorded requests cost other than the exact count")


def _is_whole(recorded: Recorded) -> bool:
    """Whether all that it cost is in the body: no image, and nothing that the server had kept."""
    return not bodies.read(recorded.body).is_partial


# ---- targets ------------------------------------------------------------------------------------


def targets(results: Results) -> list[Target]:
    counts = [results.value(DIFFERENT, name) for name in KNOWN]
    found = [count for count in counts if count is not None]
    means = [results.value(MEAN, name) for name in KNOWN]
    worst = max((mean for mean in means if mean is not None), default=None)
    return [
        Target("texts with another count than a second program", sum(found) if found else None, 0,
               "texts"),
        Target("exact requests with another cost", results.value(WRONG, REQUESTS), 0, ""),
        Target("requests within the stated error", results.value(COVERED, REQUESTS), 95, "%",
               at_most=False),
        Target("estimates by o200k, worst vocabulary", worst, 10, "%"),
        *tokenscost.targets(results),
    ]  # fmt: skip
