"""What the campaign prints: a line for each round as it ends, and a table of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

Reported = Mapping[str, Any]  # a Report's as_dict()


def round_line(report: Reported) -> str:
    line = (
        f"round {report['round']} of seed {report['seed']}"
        f" {'passed' if report['passed'] else 'FAILED'}: {report['scene']};"
        f" {sum(report['faults'].values())} faults, {report['events']} events,"
        f" {report['duplicates']} duplicates of {report['allowed']} allowed,"
        f" {report['seconds']:.0f} s"
    )
    more = [f"skipped: {each}" for each in report["skipped"]] + report["story"].splitlines()
    return "".join(f"\n  {each}" for each in [line, *more])[3:]


class Table:
    def __init__(self) -> None:
        self._reports: list[Reported] = []

    def add(self, report: Reported) -> None:
        self._reports.append(report)

    def lines(self) -> Iterator[str]:
        if not self._reports:
            return
        yield from self._scenarios()
        yield from self._kinds()

    def _scenarios(self) -> Iterator[str]:
        columns = ("rounds", "failed", "faults", "events", "duplicates", "allowed")
        totals: dict[str, Counter[str]] = {}
        for report in self._reports:
            for name in (report["scenario"], "all"):
                row = totals.setdefault(name, Counter())
                row["rounds"] += 1
                row["failed"] += not report["passed"]
                row["faults"] += sum(report["faults"].values())
                for column in columns[3:]:
                    row[column] += report[column]
        yield f"{'campaign':<26}" + "".join(f"{column:>11}" for column in columns)
        for name, row in sorted(totals.items(), key=lambda each: (each[0] == "all", each[0])):
            yield f"{name:<26}" + "".join(f"{row[column]:>11}" for column in columns)

    def _kinds(self) -> Iterator[str]:
        kinds: Counter[str] = Counter()
        for report in self._reports:
            kinds.update(report["faults"])
        yield "faults by kind:"
        for kind, count in kinds.most_common():
            yield f"  {count:>5}  {kind}"


class Printer:
    """A plugin of pytest's; wherever a round was played, its report comes by here."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._table = Table()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        for name, value in report.user_properties:
            if name == "campaign":
                self._table.add(value)
                self._terminal().write_line("\n" + round_line(value))

    def pytest_terminal_summary(self) -> None:
        for line in self._table.lines():
            self._terminal().write_line(line)

    def _terminal(self) -> pytest.TerminalReporter:
        return self._config.pluginmanager.get_plugin("terminalreporter")
