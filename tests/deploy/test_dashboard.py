"""The Grafana dashboard is what its generator makes of a running relay's metrics, leaves none of
them out, and asks only for what a Prometheus that scrapes relays has."""

from __future__ import annotations

import copy
import json
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml
from support.document import places
from support.kafka import Kafka
from support.postgres import Postgres
from support.prometheus import Prometheus, labels_of, promtool, unknown
from support.relay import REPOSITORY, Relay
from support.scene import Scene
from support.tools import fetched
from support.wait import wait_for

FOLDER = REPOSITORY / "deploy" / "grafana"
TEXT = (FOLDER / "dashboard.json").read_text()
DASHBOARD = json.loads(TEXT)
PANELS = [
    panel
    for each in DASHBOARD["panels"]
    for panel in [each, *each.get("panels", [])]
    if panel["type"] != "row"
]
QUERIES = {
    f"{panel['title']} {target['refId']}": target["expr"]
    for panel in PANELS
    for target in panel["targets"]
}
QUERIES |= {each["name"]: each["expr"] for each in DASHBOARD["annotations"]["list"]}
# Grafana's variables, as an operator has them who looks at all relays of one job.
CHOSEN = {
    "$namespace": ".*",
    "$job": "shop",
    "$instance": ".*",
    "$__rate_interval": "4s",
}


PUBLISHED = "outbox_relay_published_events_total"
# An event that no relay can publish, so that there is a delivery that failed.
BAD = """INSERT INTO outbox (aggregatetype, aggregateid, type, payload, headers)
    VALUES (%s, 'bad', 'Made', '{}', '[1]')"""


# Reads a dashboard into Grafana's own types, and writes what they keep of it.
READ = """
import json, sys
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
register_default_plugins()
print(json.dumps(Dashboard.from_json(json.load(sys.stdin)), cls=JSONEncoder))
"""


def asked(expression: str) -> str:
    """As Grafana sends it."""
    for name, value in CHOSEN.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


class Seen(NamedTuple):
    relays: list[Relay]
    prometheus: Prometheus


@pytest.fixture(scope="module")
def seen(
    postgres: Postgres, kafka: Kafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Seen]:
    """Two relays on one outbox, which have published and refused events, and are scraped."""
    folder = tmp_path_factory.mktemp("seen")
    scene = Scene(postgres, kafka, folder)
    postgres.unguard(scene.db)
    settings = {"failure.policy": "park", "postgres.direct_uri": postgres.uri(scene.db)}
    relays = [scene.relay(settings).wait_ready(), scene.relay(settings).wait_ready()]
    prometheus = Prometheus(folder, "shop", relays)
    scene.sql(BAD, scene.aggregatetype)
    with scene.load(threads=1, pause_s=0.05):
        relays[0].wait_metric("parked_events", 1)
        wait_for(lambda: PUBLISHED in relays[0].metrics(), "an event to be published")
        wait_for(lambda: len(prometheus.query("up == 1")) == 2, "both to be scraped")
        yield Seen(relays, prometheus)
    prometheus.close()
    scene.close()


def generate(metrics: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FOLDER / "generate"],
        input=metrics,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_it_is_what_is_generated_from_a_relays_metrics(seen: Seen) -> None:
    made = generate(seen.relays[0].get("/metrics")[1])
    assert made.returncode == 0, made.stderr
    assert made.stdout == TEXT, "curl .../metrics | deploy/grafana/generate > its dashboard.json"


def test_a_metric_that_is_renamed_or_new_is_named(seen: Seen) -> None:
    metrics = seen.relays[0].get("/metrics")[1]
    made = generate(metrics.replace("outbox_relay_ready", "outbox_relay_fit"))
    assert made.returncode == 65 and made.stdout == ""
    assert made.stderr.splitlines() == [
        "deploy/grafana/generate: outbox_relay_fit is among the metrics, and not shown",
        "deploy/grafana/generate: outbox_relay_ready is shown, and is not among the metrics",
    ]


def test_its_queries_are_promql_about_metrics_that_there_are(
    seen: Seen, tmp_path: pathlib.Path
) -> None:
    known = labels_of(seen.relays)
    for title, expression in QUERIES.items():
        assert not unknown(expression, known), title
    rules = [{"record": f"q{n}", "expr": asked(each)} for n, each in enumerate(QUERIES.values())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    checked = promtool("check", "rules", file)
    assert f"{len(rules)} rules found" in checked.stdout, checked.stdout + checked.stderr


@pytest.mark.parametrize("title", QUERIES)
def test_prometheus_answers_each_query(seen: Seen, title: str) -> None:
    # Of what happens seldom it is enough to be told that it did not.
    query = asked(QUERIES[title]).removesuffix(" > 0")

    def answered() -> bool:
        rows = seen.prometheus.query(query)
        return bool(rows) and all(row["value"][1] != "NaN" for row in rows)

    wait_for(answered, f"an answer to {query}")


def test_its_variables_find_the_relays(seen: Seen) -> None:
    listed = [each for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    assert [each["name"] for each in listed] == ["namespace", "job", "instance"]
    for each, values in zip(listed[1:], (1, 2)):
        found = re.fullmatch(r"label_values\((.*), (\w+)\)", each["query"]["query"])
        assert found and found[2] == each["name"]
        rows = seen.prometheus.query(f"count by ({found[2]}) ({asked(found[1])})")
        assert len(rows) == values


def test_it_is_laid_out_without_gaps_or_overlaps() -> None:
    taken: dict[tuple[int, int], str] = {}
    for row in DASHBOARD["panels"]:
        place = row["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < 24 and (x, y) not in taken, (row["title"], taken.get((x, y)))
                taken[x, y] = row["title"]
    height = max(y for _, y in taken) + 1
    assert len(taken) == 24 * height
    numbers = [each["id"] for each in DASHBOARD["panels"]] + [each["id"] for each in PANELS]
    assert len({each["id"] for each in PANELS}) == len(PANELS) and min(numbers) == 1


def lost(ours: Any, kept: Any, path: str = "") -> list[str]:
    """What of ours was not kept."""
    if isinstance(ours, dict) and isinstance(kept, dict):
        return [
            each
            for name, value in ours.items()
            for each in lost(value, kept.get(name), f"{path}/{name}")
        ]
    if isinstance(ours, list) and isinstance(kept, list) and len(ours) == len(kept):
        return [each for one, other in zip(ours, kept) for each in lost(one, other, path)]
    return [] if ours == kept else [f"{path}: {ours!r} became {kept!r}"]


def keep(dashboard: dict[str, Any]) -> dict[str, Any]:
    """What Grafana's types know of it."""
    done = subprocess.run(
        [sys.executable, "-c", READ],
        input=json.dumps(dashboard),
        env={**os.environ, "PYTHONPATH": str(fetched() / "python")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_grafanas_own_types_know_all_that_it_says() -> None:
    # A Prometheus' own field of an annotation is in none of them.
    assert lost(DASHBOARD, keep(DASHBOARD)) == [
        "/annotations/list/titleFormat: 'seen by {{instance}}' became None"
    ]
    wrong = copy.deepcopy(DASHBOARD)
    panel = next(each for each in wrong["panels"] if each["type"] == "timeseries")
    panel["fieldConfig"]["defaults"]["custom"]["lineWidht"] = 1
    panel["options"]["legend"]["showLegends"] = True
    assert len(lost(wrong, keep(wrong))) == 3


@pytest.mark.parametrize("panel", PANELS, ids=[each["title"] for each in PANELS])
def test_a_panel_says_what_it_shows_and_leads_to_the_runbook(panel: dict[str, Any]) -> None:
    assert panel["type"] in ("stat", "timeseries", "heatmap", "state-timeline", "table")
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["description"]
    readme = places((REPOSITORY / "README.md").read_text())
    for link in panel["links"]:
        page, anchor = link["url"].split("#")
        assert page == "${runbook}" and anchor in readme
