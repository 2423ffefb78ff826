"""What users apply: every overlay with every component, and what the charts make of the same."""

from __future__ import annotations

import copy
import os
import pathlib
import pty
import re
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.deployments import DEPLOYMENTS, Deployment, helmed, kustomized, orders_chart
from support.manifests import Object, containers, illegal, pods, refusals
from support.pod_security import violations
from support.relay import binary, environment

RELAY = "outbox-relay"
SECRETS = "/run/secrets/"
SETTING = re.compile(r"OUTBOX_|PG[A-Z]")

each_deployment = pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=str)


class Rendered:
    """Of each deployment, by Kustomize and by Helm."""

    def __init__(self, folder: pathlib.Path) -> None:
        orders = orders_chart(folder)
        self.kustomize = {each: kustomized(each, folder / str(each)) for each in DEPLOYMENTS}
        self.helm = {each: helmed(each, orders) for each in DEPLOYMENTS}

    def both(self, deployment: Deployment) -> list[list[Object]]:
        return copy.deepcopy([self.kustomize[deployment], self.helm[deployment]])

    def all(self) -> Iterator[Object]:
        for objects in (*self.kustomize.values(), *self.helm.values()):
            yield from objects


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return Rendered(tmp_path_factory.mktemp("rendered"))


def named(objects: list[Object], kind: str, name: str) -> Object:
    found = [each for each in objects if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1, f"{kind} {name}: {len(found)} of it"
    return found[0]


def relay_of(pod: Object) -> Object:
    return next(each for each in containers(pod["spec"]) if each["name"] == RELAY)


def relay_environment(objects: list[Object], pod: Object) -> dict[str, str]:
    """As the kubelet would set it."""
    relay = relay_of(pod)
    assert "env" not in relay
    found: dict[str, str] = {}
    for each in relay["envFrom"]:
        found |= named(objects, "ConfigMap", each["configMapRef"]["name"])["data"]
    return found


# -- what Kubernetes says ------------------------------------------------------------------------


def test_kubernetes_and_the_prometheus_operator_would_take_each(rendered: Rendered) -> None:
    different: list[Object] = []
    for each in rendered.all():
        if each not in different:
            different.append(each)
    kinds = {each["kind"] for each in different}
    assert kinds >= {"Deployment", "Pod", "NetworkPolicy", "PodMonitor", "PrometheusRule"}
    assert refusals(different) == []
    assert list(illegal(different)) == []


def test_a_field_that_there_is_not_would_be_refused(rendered: Rendered) -> None:
    """So that the test above says something: one typing error in each kind of object."""
    whole = rendered.both(DEPLOYMENTS[-1])[0]
    for each in whole:
        body = each.get("spec", each)
        body["nonesuch"] = 1
    found = refusals(whole)
    assert all(any(each["kind"] in line for line in found) for each in whole), found
    assert all("nonesuch" in line for line in found)


def test_a_name_a_label_and_a_port_that_may_not_be_would_be_refused() -> None:
    wrong = {
        "metadata": {"name": "Relay", "labels": {"a/b/c": "d", "team": "-"}},
        "ports": [{"name": "a-much-too-long-name", "port": 70000}],
    }
    assert len(list(illegal(wrong))) == 5


@each_deployment
def test_the_pods_are_restricted(deployment: Deployment, rendered: Rendered) -> None:
    """And have no more than they need: no root file system to write to, no token."""
    for objects in rendered.both(deployment):
        for pod in pods(objects):
            assert violations(pod) == []
            spec = pod["spec"]
            assert spec["automountServiceAccountToken"] is False
            assert spec["securityContext"]["runAsUser"] == 65532
            assert spec["securityContext"]["runAsGroup"] == 65532
            for container in containers(spec):
                assert container["securityContext"]["readOnlyRootFilesystem"] is True
                assert "memory" in container["resources"]["limits"]
                assert container["resources"]["requests"].keys() == {"cpu", "memory"}


def _spec(key: str, value: object) -> Callable[[Object], None]:
    return lambda pod: pod["spec"].__setitem__(key, value)


def _security(key: str, value: object, *, of: str) -> Callable[[Object], None]:
    def change(pod: Object) -> None:
        at = pod["spec"] if of == "pod" else pod["spec"]["containers"][0]
        at["securityContext"] = {**at["securityContext"], key: value}

    return change


def _probe_elsewhere(pod: Object) -> None:
    pod["spec"]["containers"][0]["readinessProbe"]["httpGet"]["host"] = "10.0.0.1"


def _host_port(pod: Object) -> None:
    pod["spec"]["containers"][0]["ports"][0]["hostPort"] = 9478


FORBIDDEN = {
    "hostNetwork": _spec("hostNetwork", True),
    "hostPID": _spec("hostPID", True),
    "hostIPC": _spec("hostIPC", True),
    "volume etc is a hostPath": _spec("volumes", [{"name": "etc", "hostPath": {"path": "/etc"}}]),
    "sysctl": _security("sysctls", [{"name": "kernel.msgmax", "value": "1"}], of="pod"),
    "hostProcess": _security("windowsOptions", {"hostProcess": True}, of="pod"),
    "seLinuxOptions": _security("seLinuxOptions", {"type": "spc_t"}, of="pod"),
    "AppArmor": _security("appArmorProfile", {"type": "Unconfined"}, of="container"),
    "seccomp Unconfined": _security("seccompProfile", {"type": "Unconfined"}, of="container"),
    "seccompProfile is neither": _security("seccompProfile", {}, of="pod"),
    "runAsUser 0": _security("runAsUser", 0, of="pod"),
    "runAsNonRoot": _security("runAsNonRoot", False, of="container"),
    "privileged": _security("privileged", True, of="container"),
    "procMount": _security("procMount", "Unmasked", of="container"),
    "allowPrivilegeEscalation": _security("allowPrivilegeEscalation", True, of="container"),
    "ALL are not dropped": _security("capabilities", {"drop": ["KILL"]}, of="container"),
    "capability SYS_TIME": _security(
        "capabilities", {"drop": ["ALL"], "add": ["SYS_TIME"]}, of="container"
    ),
    "a host": _probe_elsewhere,
    "hostPort": _host_port,
}


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_each_rule_of_restricted_is_looked_at(rule: str, rendered: Rendered) -> None:
    pod = next(pods(rendered.both(DEPLOYMENTS[0])[0]))
    FORBIDDEN[rule](pod)
    assert any(rule in line for line in violations(pod)), violations(pod)


# -- whether the parts fit each other ------------------------------------------------------------


@each_deployment
def test_what_is_named_is_there(deployment: Deployment, rendered: Rendered) -> None:
    """ConfigMaps, accounts and volumes; Secrets are the user's, and the README tells of each."""
    for objects in rendered.both(deployment):
        assert not [each for each in objects if each["kind"] == "Secret"]
        for pod in pods(objects):
            spec = pod["spec"]
            if "serviceAccountName" in spec:
                named(objects, "ServiceAccount", spec["serviceAccountName"])
            volumes = {each["name"]: each["secret"]["secretName"] for each in spec["volumes"]}
            assert set(volumes.values()) <= {RELAY, f"{RELAY}-tls", "orders"}
            mounted = {mount["name"] for each in containers(spec) for mount in each["volumeMounts"]}
            assert mounted == volumes.keys()
            for container in containers(spec):
                ports = {each["name"] for each in container.get("ports", [])}
                for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                    if probe in container:
                        assert container[probe]["httpGet"]["port"] in ports


def chooses(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items()
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "Exists" for each in expressions)
    return wanted <= labels.items() and all(each["key"] in labels for each in expressions)


@each_deployment
def test_selectors_choose_the_pods(deployment: Deployment, rendered: Rendered) -> None:
    """Of each object that has one; the Pod of helm test is no replica, but has the same network."""
    for objects in rendered.both(deployment):
        for each in objects:
            spec = each.get("spec", {})
            selector = spec.get("selector", spec.get("podSelector"))
            if each["kind"] == "Service":
                selector = {"matchLabels": selector}
            if selector is None:
                continue
            for pod in pods(objects):
                checks = pod["metadata"]["labels"].get("app.kubernetes.io/component") == "check"
                wide = each["metadata"]["name"] == RELAY and "matchExpressions" in selector
                assert chooses(selector, pod["metadata"]["labels"]) == (not checks or wide)


@each_deployment
def test_probes_and_grace_are_those_of_its_mode(deployment: Deployment, rendered: Rendered) -> None:
    """A sidecar has no say in whether its Pod is ready; it may finish what is in flight."""
    for objects in rendered.both(deployment):
        workload = next(each for each in objects if each["kind"] == "Deployment")
        pod = workload["spec"]["template"]
        relay, spec = relay_of(pod), pod["spec"]
        assert relay["startupProbe"]["httpGet"]["path"] == "/livez"
        assert relay["livenessProbe"]["httpGet"]["path"] == "/livez"
        drain_s = int(relay_environment(objects, pod)["OUTBOX_SHUTDOWN_TIMEOUT_MS"]) / 1000
        spare = spec["terminationGracePeriodSeconds"] - drain_s
        assert workload["spec"]["replicas"] == 2
        if deployment.overlay == "standby":
            assert relay["readinessProbe"]["httpGet"]["path"] == "/readyz"
            assert "restartPolicy" not in relay and spec["containers"] == [relay]
            assert spare >= 5
        else:
            assert "readinessProbe" not in relay and relay["restartPolicy"] == "Always"
            assert spec["initContainers"] == [relay]
            assert spare >= 5 + spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]


# -- whether the relay takes it ------------------------------------------------------------------


@each_deployment
def test_no_secret_is_in_the_environment(deployment: Deployment, rendered: Rendered) -> None:
    for objects in rendered.both(deployment):
        pairs = [pair for each in objects for pair in each.get("data", {}).items()]
        for pod in pods(objects):
            for container in containers(pod["spec"]):
                assert not [each for each in container.get("envFrom", []) if "secretRef" in each]
                for entry in container.get("env", []):
                    assert "valueFrom" not in entry
                    pairs.append((entry["name"], entry["value"]))
        for name, value in pairs:
            if re.search(r"PASS|SECRET|KEY|_URI|_URL|USERNAME|CERTIFICATE|TOKEN", name):
                assert value.startswith(SECRETS), f"{name}={value}"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The files of the Secrets, in place of /run/secrets."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / RELAY).mkdir()
    for name in ("sasl-username", "sasl-password"):
        (folder / RELAY / name).write_text("relay\n")
    (folder / RELAY / "postgres-uri").write_text("postgresql://relay@127.0.0.1:1/shop\n")
    tls = folder / f"{RELAY}-tls"
    tls.mkdir()
    words = ["-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=relay"]
    files = ["-keyout", tls / "tls.key", "-out", tls / "tls.crt"]
    subprocess.run(["openssl", "req", "-x509", *words, *files], check=True, capture_output=True)
    (tls / "ca.crt").write_bytes((tls / "tls.crt").read_bytes())
    return folder


def first_line(arguments: list[str], env: dict[str, str]) -> str:
    """Of what it says on a terminal, where each line comes at once."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([binary(), *arguments], env=env, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        with os.fdopen(ours, encoding="utf-8") as output:
            line = output.readline()
        process.kill()
    return line


def test_the_relay_takes_every_setting(rendered: Rendered, secrets: pathlib.Path) -> None:
    """Each variable reaches the setting that it names; librdkafka takes what is handed to it."""
    seen: list[dict[str, str]] = []
    for deployment in DEPLOYMENTS:
        for objects in rendered.both(deployment):
            for pod in pods(objects):
                variables = relay_environment(objects, pod)
                assert all(SETTING.match(name) for name in variables)
                if variables not in seen:
                    seen.append(variables)
    assert len(seen) == 6, "one for each set of components, whichever way they came about"
    for variables in seen:
        moved = {name: value.replace(SECRETS, f"{secrets}/") for name, value in variables.items()}
        env = environment({}) | moved | {"OUTBOX_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
        shown = subprocess.run(
            [binary(), "config", "print"], env=env, capture_output=True, text=True, check=True
        ).stdout
        for name in variables:
            assert name.startswith("PG") or f"(environment {name})" in shown, shown
        line = first_line(["check"], env)
        assert re.match(r"\W*ok\W+settings: every value is allowed", line), line


@pytest.mark.parametrize(
    ("components", "protocol"),
    [
        ((), None),
        (("tls",), "SSL"),
        (("sasl",), "SASL_PLAINTEXT"),
        (("tls", "sasl"), "SASL_SSL"),
        (("sasl", "tls"), "SASL_SSL"),
    ],
)
def test_the_protocol_is_that_of_the_components(
    components: tuple[str, ...], protocol: str | None, rendered: Rendered
) -> None:
    """In whichever order they are named."""
    for mode in ("standby", "sidecar"):
        for objects in rendered.both(Deployment(mode, components)):
            settings = relay_environment(objects, next(pods(objects)))
            assert settings.get("OUTBOX_KAFKA_SECURITY_PROTOCOL") == protocol


# -- Kustomize and Helm --------------------------------------------------------------------------

_HASH = re.compile(r"^outbox-relay-[0-9a-z]{10}$")


def comparable(value: Any) -> Any:
    """An object without what may differ:
    - Helm's labels of its own, and its annotation that stands for the hash in the ConfigMap's name;
    - that hash, and the annotations by which Kustomize's components know of each other;
    - the order of volumes, to which a patch adds at the front."""
    if isinstance(value, str):
        return RELAY if _HASH.match(value) else value
    if isinstance(value, list):
        return [comparable(each) for each in value]
    if not isinstance(value, dict):
        return value
    allowed = {"helm.sh/chart", "app.kubernetes.io/managed-by", "checksum/settings"}
    allowed |= {"outbox-relay/tls", "outbox-relay/sasl"}
    made = {key: comparable(each) for key, each in value.items() if key not in allowed}
    for key in ("volumes", "volumeMounts"):
        if key in made:
            made[key].sort(key=lambda each: each["name"])
    if made.get("annotations") == {}:
        del made["annotations"]
    return made


@each_deployment
def test_kustomize_and_helm_make_the_same(deployment: Deployment, rendered: Rendered) -> None:
    ours, theirs = (
        {
            (each["kind"], comparable(each["metadata"]["name"])): comparable(each)
            for each in objects
            if "helm.sh/hook" not in each["metadata"].get("annotations", {})
        }
        for objects in rendered.both(deployment)
    )
    assert ours.keys() == theirs.keys()
    for key, each in ours.items():
        assert each == theirs[key]
