"""A row of the table, and the numbers in it."""

import statistics
from typing import NamedTuple


class Value(NamedTuple):
    """A number that can be compared with another program's."""

    name: str
    number: float
    unit: str
    digits: int = 1
    more_is_better: bool = False

    def __str__(self):
        return f"{self.name} {self.number:.{self.digits}f} {self.unit}".strip()


class Figure(NamedTuple):
    """A row: what was measured, its numbers, and what it is to be read beside."""

    what: str
    values: list
    beside: str = ""


def speeds(up, down, unit="MiB/s", digits=1):
    return [Value("up", up, unit, digits, True), Value("down", down, unit, digits, True)]


def spread(values):
    ordered = sorted(values)
    return statistics.median(ordered), ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
