"""Numbers as people compare them: medians, tails and ratios, as text and as JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Series:
    """One thing measured many times; `values` in the unit of the table."""

    name: str
    values: Sequence[float]
    unit: str = "ms"

    @property
    def p50(self) -> float:
        return statistics.median(self.values)

    @property
    def p99(self) -> float:
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]

    @property
    def least(self) -> float:
        return min(self.values)

    @property
    def most(self) -> float:
        return max(self.values)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "n": len(self.values),
            "p50": round(self.p50, 3),
            "p99": round(self.p99, 3),
            "min": round(self.least, 3),
            "max": round(self.most, 3),
        }


@dataclass(slots=True)
class Report:
    """Everything that one run found, in the order of its telling."""

    setting: dict[str, Any]
    series: list[Series] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, values: Iterable[float], unit: str = "ms") -> None:
        """Take a series in; an empty one says nothing."""
        if found := tuple(values):
            self.series.append(Series(name, found, unit))

    def fact(self, name: str, value: float) -> None:
        """Take a single number in, its unit last in its name."""
        self.facts[name] = round(value, 2)

    def ratio(self, name: str, above: str, below: str) -> None:
        """Compare the medians of two series, where both were measured."""
        found = {one.name: one for one in self.series}
        if above in found and below in found:
            self.fact(name, found[above].p50 / found[below].p50)

    def as_json(self) -> dict[str, Any]:
        return {
            "setting": self.setting,
            "series": [one.as_json() for one in self.series],
            "facts": self.facts,
            "notes": self.notes,
        }

    def text(self) -> str:
        """Return the report for a terminal."""
        wide = max((len(one) for one in (*self.facts, *(s.name for s in self.series))), default=0)
        lines = [", ".join(f"{name} {value}" for name, value in self.setting.items()), ""]
        lines.append(f"{'':{wide}}  {'p50':>8} {'p99':>8} {'min':>8} {'max':>8} {'n':>5}")
        for one in self.series:
            numbers = f"{one.p50:8.2f} {one.p99:8.2f} {one.least:8.2f} {one.most:8.2f}"
            lines.append(f"{one.name:{wide}}  {numbers} {len(one.values):5d} {one.unit}")
        lines.append("")
        lines += [f"{name:{wide}}  {value:8.2f}" for name, value in self.facts.items()]
        lines += ["", *self.notes] if self.notes else []
        return "\n".join(lines)
