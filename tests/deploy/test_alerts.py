"""The alerts of deploy/prometheus: each fires when it should and not before, is about metrics that
there are, and leads to a section of the runbook. Some in a real Prometheus, by a real fault."""

from __future__ import annotations

import copy
import pathlib
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import yaml
from support.document import places
from support.kafka import Kafka
from support.postgres import Postgres
from support.prometheus import FOLDER, TARGET_LABELS, Prometheus, labels_of, promtool, unknown
from support.relay import REPOSITORY, Relay
from support.scene import Scene
from support.wait import wait_for

RULES = yaml.safe_load((FOLDER / "alerts.yaml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
TESTS = yaml.safe_load((FOLDER / "alerts_test.yaml").read_text())["tests"]
NAMES = [f"{rule['alert']}-{rule['labels']['severity']}" for rule in ALERTS]


def test_promtool_takes_the_rules_and_their_tests_pass() -> None:
    checked = promtool("check", "rules", FOLDER / "alerts.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", FOLDER / "alerts_test.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def failed_checks(folder: pathlib.Path, rules: dict[str, Any]) -> set[tuple[str, str]]:
    """The alerts and times of the checks in alerts_test.yaml that these rules fail."""
    (folder / "alerts_test.yaml").write_text((FOLDER / "alerts_test.yaml").read_text())
    (folder / "alerts.yaml").write_text(yaml.safe_dump(rules))
    said = promtool("test", "rules", folder / "alerts_test.yaml")
    return set(re.findall(r"alertname: ?(\w+), time: (\w+),", said.stdout + said.stderr))


def test_each_is_missed_when_it_is_gone_and_noticed_when_it_comes_at_once(
    tmp_path: pathlib.Path,
) -> None:
    checks = [check for test in TESTS for check in test.get("alert_rule_test", [])]
    fires = {(each["alertname"], each["eval_time"]) for each in checks if each["exp_alerts"]}
    assert {name for name, _ in fires} == {rule["alert"] for rule in ALERTS}
    # Of two severities the later one comes where the first fires already.
    waits = {
        (check["alertname"], check["eval_time"])
        for check, later in zip(checks, checks[1:])
        if check["alertname"] == later["alertname"]
        and len(check["exp_alerts"]) < len(later["exp_alerts"])
    }
    assert len(waits) >= len(ALERTS)
    gone, hasty = copy.deepcopy(RULES), copy.deepcopy(RULES)
    gone["groups"][0]["rules"] = []
    for rule in hasty["groups"][0]["rules"]:
        rule["for"] = "0s"
    assert not failed_checks(tmp_path, RULES)
    assert failed_checks(tmp_path, gone) == fires
    assert failed_checks(tmp_path, hasty) == waits


@pytest.mark.parametrize("rule", ALERTS, ids=NAMES)
def test_it_says_what_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning") and rule["for"]
    said = rule["annotations"]
    assert "$labels.job" in said["summary"]
    assert re.search(r"outbox-relay (doctor|status|check|dead list)", said["description"])
    page, anchor = said["runbook_url"].split("#")
    assert anchor in places((REPOSITORY / page).read_text())


class Watched(NamedTuple):
    kafka: Kafka
    scene: Scene
    owner: Relay
    standby: Relay


@pytest.fixture(scope="module")
def watched(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Two relays on one outbox, and a Kafka of their own, which is stopped."""
    with Kafka() as kafka:
        scene = Scene(postgres, kafka, tmp_path_factory.mktemp("relays"))
        settings = {"failure.policy": "park", "postgres.direct_uri": postgres.uri(scene.db)}
        owner = scene.relay(settings).wait_ready()
        yield Watched(kafka, scene, owner, scene.relay(settings).wait_ready())
        scene.close()


@pytest.fixture
def prometheus(watched: Watched, tmp_path: pathlib.Path) -> Iterator[Prometheus]:
    """With the alerts as they are, but that each has to last for a second only."""
    hasty = re.sub(r"^( +for: )\w+$", r"\g<1>1s", (FOLDER / "alerts.yaml").read_text(), flags=re.M)
    server = Prometheus(tmp_path, "shop", [watched.owner, watched.standby], hasty)
    yield server
    server.close()


def test_kafka_stops_and_an_alert_fires_until_it_is_back(
    watched: Watched, prometheus: Prometheus
) -> None:
    both = 'sum(outbox_relay_owner{job="shop"}) == 1 and count(outbox_relay_ready == 1) == 2'
    wait_for(lambda: prometheus.query(both) and not prometheus.firing(), "a healthy pair")
    watched.kafka.stop()
    watched.scene.write(20)
    wait_for(lambda: "OutboxRelayKafkaDown" in prometheus.firing(), "the alert to fire")
    wait_for(lambda: "OutboxRelayStalled" in prometheus.firing(), "the stall to alert")
    (owner,) = [
        alert
        for alert in prometheus.firing()["OutboxRelayKafkaDown"]
        if alert["labels"]["instance"] == watched.owner.settings["http.listen"]
    ]
    assert owner["labels"]["job"] == "shop" and owner["labels"]["severity"] == "warning"
    assert owner["annotations"]["summary"].startswith("shop: 127.0.0.1:")
    assert "OutboxRelayPostgresDown" not in prometheus.firing()
    watched.kafka.start()
    watched.scene.judge()
    wait_for(lambda: not prometheus.firing(), "the alerts to end", 30)


def test_they_are_about_metrics_that_there_are(watched: Watched) -> None:
    watched.scene.postgres.unguard(watched.scene.db)
    watched.scene.sql(
        "INSERT INTO outbox (aggregatetype, aggregateid, type, payload, headers)"
        " VALUES (%s, 'bad', 'Made', '{}', '[1]')",
        watched.scene.aggregatetype,
    )
    watched.owner.wait_metric("delivery_errors_total", 1, **{"class": "row"})
    known = labels_of([watched.owner, watched.standby])
    for rule in ALERTS:
        assert not unknown(rule["expr"], known), rule["alert"]
        said = " ".join(rule["annotations"].values())
        labels = TARGET_LABELS.union(*known.values())
        assert set(re.findall(r"\$labels\.(\w+)", said)) <= labels, rule["alert"]


def test_nothing_is_said_of_a_database_that_was_not_asked(
    watched: Watched, tmp_path: pathlib.Path
) -> None:
    unasked = ("backlog_events", "oldest_unpublished_age_seconds", "dead_events", "lease_epoch")
    away = watched.scene.relay({"postgres.uri": "postgresql://127.0.0.1:1/nobody"})
    wait_for(lambda: away.get("/metrics")[0] == 200, "its metrics")
    said = away.metrics()
    assert said["outbox_relay_ready"] == {frozenset(): 0.0}
    assert not {f"outbox_relay_{name}" for name in unasked} & said.keys()
    for name in unasked:
        assert watched.owner.metric(name) >= 0
    assert watched.owner.metric("ready") == watched.standby.metric("ready") == 1
