"""outbox-relay doctor: its findings, and the remedies that it prints, carried out."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from support.kafka import Kafka
from support.kafka_tools import carry_out
from support.postgres import Postgres
from support.relay import command
from support.wait import wait_for

HEALTHY, UNREACHABLE, HOLDS, FORBIDDEN = 0, 69, 75, 77
SECRET, PASSWORD = "a-s3cret-payload", "p4ssw0rd"


@dataclass(frozen=True)
class Finding:
    severity: str
    what: str
    where: str
    remedy: str


@dataclass
class Doctor:
    """Of one outbox. run: starts a relay, which is what "outbox-relay run" asks for."""

    server: Postgres
    db: str
    kafka: Kafka
    run: Callable[[], Any] | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def every(self) -> dict[str, Any]:
        address = f"127.0.0.1:{self.server.port}"
        return {
            "postgres.uri": f"postgresql://postgres:{PASSWORD}@{address}/{self.db}",
            "kafka.bootstrap.servers": self.kafka.bootstrap,
            "http.listen": "127.0.0.1:1",
            **self.settings,
        }

    def look(self, settings: Mapping[str, Any] | None = None) -> tuple[int, list[Finding]]:
        """Its exit code and findings, none of which shows a payload or a password."""
        done = command("doctor", "--json", settings={**self.every, **(settings or {})})
        assert done.stderr == "", done.stderr
        assert SECRET not in done.stdout and PASSWORD not in done.stdout
        return done.returncode, [Finding(**each) for each in json.loads(done.stdout)]

    def text(self) -> str:
        return command("doctor", settings=self.every).stdout

    def named(self, what: str) -> Finding | None:
        """The finding that says so, a regular expression."""
        found = [each for each in self.look()[1] if re.search(what, each.what)]
        assert len(found) <= 1, found
        return found[0] if found else None

    def wait_named(self, what: str) -> Finding:
        """As soon as it is old enough to be one."""
        return wait_for(lambda: self.named(what), f"the finding {what!r}", 15)

    def wait_gone(self, what: str) -> None:
        wait_for(lambda: self.named(what) is None, f"the finding {what!r} to be gone", 15)

    def cure(self, what: str, severity: str = "holds") -> Finding:
        """It is found, its remedy is carried out word for word, and it is gone."""
        finding = self.wait_named(what)
        assert finding.severity == severity, finding
        self.carry_out(finding.remedy)
        self.wait_gone(what)
        return finding

    def carry_out(self, remedy: str) -> None:
        if remedy == "outbox-relay run":
            assert self.run is not None
            self.run()
        elif remedy.startswith("outbox-relay "):
            done = command(*shlex.split(remedy)[1:], settings=self.every)
            assert done.returncode == 0, done.stderr
        elif remedy.startswith("kafka-"):
            carry_out(self.kafka, remedy)
        else:
            for statement in filter(str.strip, re.split(r";\s*", remedy)):
                self.server.psql(self.db, statement)
