"""Paired measurement: two rivals in alternating blocks, compared block by block.

A machine's speed drifts by more than the differences that matter. Blocks that lie beside each other see the same
machine, so the ratio within a pair is steady where absolute times are not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter


@dataclass(frozen=True, slots=True)
class Pairing:
    """Medians of both rivals over all blocks, and the median and quartiles of the ratios of paired blocks."""

    ours: float
    theirs: float
    ratio: float
    quartiles: tuple[float, float]


def pair(ours: Callable[[], float], theirs: Callable[[], float], blocks: int) -> Pairing:
    """Run both `blocks` times, the first to go alternating, after one discarded round; each call returns its figure."""
    ours(), theirs()
    figures: list[tuple[float, float]] = []
    for number in range(blocks):
        if number % 2:
            theirs_figure = theirs()
            figures.append((ours(), theirs_figure))
        else:
            figures.append((ours(), theirs()))
    ratios = [ours_figure / theirs_figure for ours_figure, theirs_figure in figures]
    low, _, high = quantiles(ratios, n=4)
    return Pairing(
        ours=median(figure for figure, _ in figures),
        theirs=median(figure for _, figure in figures),
        ratio=median(ratios),
        quartiles=(low, high),
    )


def seconds_per_call(operation: Callable[[], object], calls: int) -> float:
    """Run `operation` `calls` times and return the mean duration of one call, in seconds."""
    begin = perf_counter()
    for _ in range(calls):
        operation()
    return (perf_counter() - begin) / calls
