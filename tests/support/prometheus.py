"""A real Prometheus (Debian's), its promtool, and what an expression names."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from typing import Any

import yaml
from support.ports import free_port
from support.process import Process
from support.relay import REPOSITORY, Relay

FOLDER = REPOSITORY / "deploy" / "prometheus"
TARGET_LABELS = {"namespace", "job", "instance"}  # Prometheus' own, of each target

_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_NAME = re.compile(r"(?<![\w.$])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\}|\()?")
_OPERATORS = {"and", "or", "unless", "bool"}


def promtool(*arguments: str | os.PathLike[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def named(expression: str) -> tuple[dict[str, set[str]], set[str]]:
    """The metrics that it selects, each with the labels it is selected by; and the labels that it
    groups or matches by."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    groups = {label.strip() for each in _GROUPING.findall(text) for label in each.split(",")}
    text = _GROUPING.sub(" ", text)
    text = re.sub(r"\[[^\]]*\]|\boffset\s+\w+", " ", text)
    metrics: dict[str, set[str]] = {}
    for name, more in _NAME.findall(text):
        if more != "(" and name not in _OPERATORS:
            metrics.setdefault(name, set()).update(re.findall(r"(\w+)\s*[=!]", more))
    return metrics, groups - {""}


def labels_of(relays: Iterable[Relay]) -> dict[str, set[str]]:
    """Each metric that they export now, and that Prometheus adds, with its labels."""
    found: dict[str, set[str]] = {"up": set(TARGET_LABELS)}
    for relay in relays:
        for name, samples in relay.metrics().items():
            labels = {label for sample in samples for label, _ in sample}
            found.setdefault(name, set(TARGET_LABELS)).update(labels)
    return found


def unknown(expression: str, known: Mapping[str, set[str]]) -> set[str]:
    """What it names and is not there: metrics, and labels that they do not have."""
    metrics, groups = named(expression)
    assert metrics, f"no metric in {expression!r}"
    labels = {label for name in metrics for label in known.get(name, set())}
    wrong = {name for name in metrics if name not in known} | (groups - labels)
    for name, selected in metrics.items():
        wrong |= {f"{name}{{{label}}}" for label in selected - known.get(name, selected)}
    return wrong


class Prometheus:
    """Scrapes these relays as one job, twice a second, and judges by the rules."""

    def __init__(
        self, folder: pathlib.Path, job: str, relays: Iterable[Relay], rules: str = "groups: []"
    ) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
        (scraped,) = config["scrape_configs"]
        scraped["job_name"] = job
        scraped["static_configs"] = [{"targets": [each.settings["http.listen"] for each in relays]}]
        path = folder / "prometheus.yaml"
        path.write_text(yaml.safe_dump(config))
        for file in config["rule_files"]:
            (folder / file).write_text(rules)
        checked = promtool("check", "config", path)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        command = [
            "prometheus",
            f"--config.file={path}",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={self.address}",
        ]
        self.process = Process(command, folder / "prometheus.log", os.environ)

    def ask(self, path: str, **arguments: str) -> Any:
        """The data of its answer; None while it does not answer."""
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)["data"]
        except OSError:
            return None

    def query(self, expression: str) -> list[dict[str, Any]]:
        return (self.ask("query", query=expression) or {"result": []})["result"]

    def firing(self) -> dict[str, list[dict[str, Any]]]:
        """The alerts that fire, by their names."""
        found: dict[str, list[dict[str, Any]]] = {}
        for alert in (self.ask("alerts") or {"alerts": []})["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found

    def close(self) -> None:
        self.process.kill()
