"""The chart by itself: its values, what it says to users, and what `helm test` finds out."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from support.deployments import orders_chart, values
from support.kafka import Kafka
from support.manifests import CHART, Object, containers, helm, illegal, pods, refusals
from support.pod_security import violations
from support.postgres import REPOSITORY, Postgres
from support.relay import binary, environment
from support.tools import ToolError, run_tool

EVERYTHING = values(("tls", "client-certificate", "sasl", "prometheus"))
SECRETS = "/run/secrets/outbox-relay/"
# What a cluster of its own may ask for, in one.
PARTICULAR: dict[str, Any] = {
    "replicas": 3,
    "image": {
        "repository": "registry.example/outbox-relay",
        "digest": f"sha256:{'0' * 64}",
        "pullPolicy": "Always",
    },
    "imagePullSecrets": [{"name": "registry"}],
    "fullnameOverride": "relay-of-shop",
    "secret": {"name": "shop-database"},
    "tls": {"enabled": True, "secretName": "shop-authorities"},
    "settings": {"OUTBOX_SHUTDOWN_TIMEOUT_MS": "20500", "OUTBOX_SOURCE_TABLE": "shop.outbox"},
    "metrics": {
        "podMonitor": {"enabled": True, "interval": "15s", "labels": {"prometheus": "main"}},
        "prometheusRule": {
            "enabled": True,
            "labels": {"prometheus": "main"},
            "runbook": "https://wiki.example/relay",
        },
    },
    "networkPolicy": {"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [6432, 9094]},
    "serviceAccount": {"create": False},
    "podAnnotations": {"linkerd.io/inject": "enabled"},
    "podLabels": {"team": "shop"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "relays", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
}


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return orders_chart(tmp_path_factory.mktemp("charts"))


@pytest.mark.parametrize(
    "given",
    [{}, EVERYTHING, PARTICULAR, {"mode": "sidecar"}],
    ids=["none", "everything", "particular", "sidecar"],
)
def test_lint_finds_nothing(given: Mapping[str, Any]) -> None:
    run_tool("helm", "lint", "--strict", "--quiet", CHART, "-f", "-", stdin=json.dumps(given))


def test_lint_finds_nothing_in_the_chart_of_the_example_service(orders: pathlib.Path) -> None:
    run_tool("helm", "lint", "--strict", "--quiet", "--with-subcharts", orders)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"replica": 3}, "additional properties 'replica' not allowed"),
        ({"image": {"tags": "1"}}, "at '/image': additional properties 'tags' not allowed"),
        ({"replicas": "two"}, "at '/replicas': got string, want integer"),
        ({"mode": "daemon"}, "at '/mode': value must be one of 'standby', 'sidecar'"),
        ({"sasl": {"mechanism": "MD5"}}, "at '/sasl/mechanism': value must be one of"),
        ({"networkPolicy": {"ports": [99999]}}, "at '/networkPolicy/ports/0': maximum"),
        ({"image": {"digest": "sha256:12"}}, "at '/image/digest': 'sha256:12' does not match"),
        ({"settings": {"KAFKA": "a"}}, "invalid propertyName 'KAFKA'"),
        # As a number it would be written as 6.7108864e+07.
        ({"settings": {"OUTBOX_WINDOW_BYTES": 67108864}}, "got number, want string"),
        ({"tls": {"clientCertificate": True}}, "tls.clientCertificate: needs tls.enabled"),
        *(
            ({"settings": {name: "hush"}}, f"settings.{name}: a secret has no place")
            for name in (
                "OUTBOX_POSTGRES_URI",
                "OUTBOX_POSTGRES_DIRECT_URI",
                "OUTBOX_KAFKA_SASL_PASSWORD",
                "OUTBOX_KAFKA_SSL_KEY_PEM",
                "PGPASSWORD",
            )
        ),
    ],
)
def test_wrong_values_are_refused_by_name(given: Mapping[str, Any], told: str) -> None:
    with pytest.raises(ToolError) as refused:
        helm(CHART, given)
    assert told in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_cluster_of_its_own_gets_what_it_asks_for() -> None:
    objects = helm(CHART, PARTICULAR, release="shop")
    assert refusals(objects) == []
    kinds = {each["kind"]: each for each in objects}
    assert "ServiceAccount" not in kinds
    assert {each["metadata"]["name"] for each in objects} == {
        "relay-of-shop",
        "relay-of-shop-check",
    }
    workload = kinds["Deployment"]
    assert workload["spec"]["replicas"] == 3
    pod = workload["spec"]["template"]
    assert violations(pod) == []
    assert pod["metadata"]["labels"]["team"] == "shop"
    assert pod["metadata"]["annotations"]["linkerd.io/inject"] == "enabled"
    spec = pod["spec"]
    assert spec["terminationGracePeriodSeconds"] == 26, "20.5 s, rounded up, and 5 s"
    assert spec["serviceAccountName"] == "default"
    for key in ("nodeSelector", "tolerations", "affinity", "priorityClassName", "imagePullSecrets"):
        assert spec[key] == PARTICULAR[key]
    assert spec["containers"][0]["image"] == f"registry.example/outbox-relay@sha256:{'0' * 64}"
    assert [each["secret"]["secretName"] for each in spec["volumes"]] == [
        "shop-database",
        "shop-authorities",
    ]
    ports = kinds["NetworkPolicy"]["spec"]["egress"][1]["ports"]
    assert [each["port"] for each in ports] == [6432, 9094]
    alerts = [
        rule for group in kinds["PrometheusRule"]["spec"]["groups"] for rule in group["rules"]
    ]
    books = [each["annotations"]["runbook_url"] for each in alerts if "alert" in each]
    assert books and all(each.startswith("https://wiki.example/relay#") for each in books)


@pytest.mark.parametrize("release", ["7", "a-release-with-the-longest-name-that-helm-lets-it-hav"])
def test_any_name_of_a_release_gives_legal_names(release: str) -> None:
    """A number is one too, and has to stay a text."""
    objects = helm(CHART, {**EVERYTHING, "secret": {"name": "1e3"}}, release=release)
    assert refusals(objects) == [] and list(illegal(objects)) == []


def test_parts_can_be_left_out() -> None:
    without = {part: {"enabled": False} for part in ("networkPolicy", "podDisruptionBudget")}
    kinds = {each["kind"] for each in helm(CHART, without)}
    assert kinds == {"ConfigMap", "Deployment", "Pod", "ServiceAccount"}
    sidecar = {each["kind"] for each in helm(CHART, {"mode": "sidecar"})}
    assert sidecar == {"ConfigMap", "NetworkPolicy", "Pod"}


def test_pods_are_made_anew_when_a_setting_changes() -> None:
    def checksum(settings: Mapping[str, str]) -> str:
        pod = next(pods(helm(CHART, {"settings": settings})))
        return str(pod["metadata"]["annotations"]["checksum/settings"])

    assert checksum({}) == checksum({"OUTBOX_HTTP_LISTEN": "0.0.0.0:9478"})
    assert checksum({}) != checksum({"OUTBOX_LOG_LEVEL": "debug"})


# -- what it says --------------------------------------------------------------------------------


def test_the_notes_name_the_secrets_that_are_needed() -> None:
    def notes(given: Mapping[str, Any]) -> str:
        words = ("install", "shop", CHART, "--dry-run=client", "-n", "here", "-f", "-")
        return run_tool("helm", *words, stdin=json.dumps(given)).partition("NOTES:")[2]

    plain = notes({})
    assert "create secret generic shop-outbox-relay --from-file=postgres-uri\n" in plain
    assert "helm -n here test shop" in plain and "tls" not in plain
    every = notes(EVERYTHING)
    assert "--from-file=sasl-username --from-file=sasl-password\n" in every
    assert (
        "shop-outbox-relay-tls --from-file=ca.crt --from-file=tls.crt --from-file=tls.key" in every
    )
    assert "WARNING" in notes({"sasl": {"enabled": True}}) and "WARNING" not in every


def test_the_readme_shows_what_the_example_services_chart_does() -> None:
    """Each line of its YAML stands there."""
    blocks = re.findall(r"```yaml\n(.*?)```", (CHART / "README.md").read_text(), re.S)
    chart = CHART.parent / "orders"
    files = [path for path in chart.rglob("*") if path.is_file()]
    lines = {line.split(" #")[0].strip() for path in files for line in path.open()}
    shown = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    assert len(shown) > 15
    assert [line for line in shown if not line.startswith("#") and line not in lines] == []


def keys(schema: Mapping[str, Any], at: str = "") -> set[str]:
    """Of values.schema.json: each value that has no named ones below it."""
    if not schema.get("properties"):
        return {at}
    inner = schema["properties"].items()
    return set().union(*(keys(each, f"{at}.{name}".lstrip(".")) for name, each in inner))


def test_each_value_is_in_the_schema_and_in_the_readme() -> None:
    """And its default is the one that the README tells, which is written from values.yaml."""
    subprocess.run([REPOSITORY / "deploy" / "helm" / "generate", "--check"], check=True)
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    told = {line.split("`")[1] for line in readme.splitlines() if line.startswith("| `")}
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    # Helm's own; what is in these is Kubernetes' own.
    allowed = {key for key in keys(schema) if key != "global"}
    whole = {"resources", "affinity"}
    assert {key if key.split(".")[0] not in whole else key.split(".")[0] for key in allowed} == told


def test_versions_are_those_of_the_program() -> None:
    done = subprocess.run([binary(), "version"], capture_output=True, text=True, check=True)
    version = done.stdout.split()[1]
    for chart in (CHART, CHART.parent / "orders"):
        told = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))
        assert told["version"] == told["appVersion"] == version
    labels = {each["metadata"]["labels"]["app.kubernetes.io/version"] for each in helm(CHART, {})}
    assert labels == {version}


# -- helm test -----------------------------------------------------------------------------------


def run_pod(objects: list[Object], name: str, uri: str, folder: pathlib.Path) -> tuple[int, str]:
    """The one container of a Pod, with its settings and the Secret, to its end."""
    pod = next(
        each for each in objects if (each["kind"], each["metadata"]["name"]) == ("Pod", name)
    )
    (container,) = containers(pod["spec"])
    (source,) = container["envFrom"]
    settings = next(
        each["data"]
        for each in objects
        if each["kind"] == "ConfigMap"
        and each["metadata"]["name"] == source["configMapRef"]["name"]
    )
    (folder / "postgres-uri").write_text(uri)
    moved = {key: value.replace(SECRETS, f"{folder}/") for key, value in settings.items()}
    done = subprocess.run(
        [binary(), *container["args"]],
        env=environment({}) | moved,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_helm_test_passes_where_the_relay_would_work_and_says_why_where_not(
    postgres: Postgres, kafka: Kafka, db: str, tmp_path: pathlib.Path
) -> None:
    settings = {"OUTBOX_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap}
    objects = helm(CHART, {"settings": settings})
    for each in objects:
        if each["kind"] == "Pod":
            assert each["metadata"]["annotations"]["helm.sh/hook"] == "test"
            assert each["spec"]["restartPolicy"] == "Never"
    code, said = run_pod(objects, "outbox-relay-check", postgres.uri(db), tmp_path)
    assert code == 0, said
    code, said = run_pod(objects, "outbox-relay-check", postgres.uri("postgres"), tmp_path)
    assert code == 78 and "outbox" in said, said
