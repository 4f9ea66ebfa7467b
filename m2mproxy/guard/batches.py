"""What is looked at together: as many in a row as come to a size.

The one rule: nothing is left out, and the order stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def in_batches(
    items: Iterable[Item], size: Callable[[Item], int], most: int
) -> Iterator[list[Item]]:
    """`items` in lists whose sizes come to `most` together; one that is larger is by itself."""
    batch: list[Item] = []
    left = most
    for item in items:
        more = size(item)
        if batch and more > left:
            yield batch
            batch, left = [], most
        batch.append(item)
        left -= more
    if batch:
        yield batch
