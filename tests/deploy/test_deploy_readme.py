"""deploy/README.md: every command is run, or as much of it as can be without a container engine, a
cluster and root's rights; what it names is there."""

from __future__ import annotations

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from support.document import blocks, commands, places, section, targets
from support.kafka import Kafka
from support.manifests import CHART, KUSTOMIZE, containers, kustomize, objects_of, pods
from support.oracle import Oracle
from support.postgres import Postgres
from support.relay import REPOSITORY, binary, command, environment
from support.tools import run_tool

FOLDER = REPOSITORY / "deploy"
README = (FOLDER / "README.md").read_text()
DATABASE, FIRST = section(README, "The database"), section(README, "The first event")
SIDECAR = "Kubernetes: a sidecar"
STANDBY = "Kubernetes: a Deployment with a standby"
ALONE = "The program alone"
MOST = 9


def of(title: str, beginning: str) -> list[str]:
    """The commands of that section that begin so, without it."""
    lines = commands(section(README, title))
    return [line.removeprefix(beginning) for line in lines if line.startswith(beginning)]


# -- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("title", [SIDECAR, STANDBY, "Helm", "Debian package and systemd", ALONE])
def test_a_way_is_nine_commands_at_most(title: str) -> None:
    """From nothing to the first event, with those of the database and of the event itself."""
    own = len(commands(section(README, title)))
    assert 0 < own <= MOST - len(commands(DATABASE)) - len(commands(FIRST))
    assert len(commands(section(README, "Compose"))) <= MOST, "it has all of its own"


@pytest.mark.parametrize("line", commands(README))
def test_the_commands_are_whole(line: str) -> None:
    """For the shell, and the files that they name are there, but for those that a build makes."""
    subprocess.run(["bash", "-n", "-c", line], check=True)
    for path in re.findall(r"(?:^|[\s=])((?:deploy|schema)/[^\s;]+)", line):
        if "compose/secrets" not in path:
            assert list(REPOSITORY.glob(path)), path


def test_links_lead_somewhere() -> None:
    for path, place in targets(README):
        document = FOLDER / path if path else FOLDER / "README.md"
        assert document.exists(), path
        assert not place or place in places(document.read_text()), f"{path}#{place}"


def test_the_settings_exist() -> None:
    """Any kafka.* does, for librdkafka to judge."""
    flags = set(re.findall(r"^  --([a-z-]+)$", command("--help").stdout, re.M))
    variables = {
        name.lower().removesuffix("_file").replace("_", "-")
        for name in re.findall(r"\bOUTBOX_([A-Z_]+)\b", README)
    }
    assert variables and {each for each in variables if not each.startswith("kafka-")} <= flags
    keys = re.findall(r"`((?:postgres|http|lease|shutdown)\.[a-z_]+)`", README)
    assert keys and {key.replace(".", "-").replace("_", "-") for key in keys} <= flags
    properties = set(re.findall(r"`(kafka\.[a-z.]+)(?:=[^`]*)?`", README)) - {"kafka.example"}
    assert properties
    words = [f"--{name.replace('.', '-')}=PLAINTEXT" for name in properties if "protocol" in name]
    assert command("config", "print", *words).returncode == 0


# -- by a shell, on real servers -----------------------------------------------------------------


def test_the_program_alone_brings_a_first_event(
    kafka: Kafka, oracle: Oracle, tmp_path: pathlib.Path
) -> None:
    """The database, the relay and the event, as they stand there; only the addresses are ours."""
    built = ("sudo apt-get ", "cmake ")
    own = [line for line in commands(section(README, ALONE)) if not line.startswith(built)]
    end = "trap 'kill $(jobs -p) && wait' EXIT"  # of the relay, however the rest ends
    text = "\n".join([end, *commands(DATABASE), *own, *commands(FIRST)])
    (tmp_path / "outbox-relay").symlink_to(binary().resolve())
    with Postgres() as server:
        db = server.createdb(migrated=False)
        text = text.replace("kafka.example:9092", kafka.bootstrap)
        text = text.replace("@db.example/shop", f"@127.0.0.1:{server.port}/{db}")
        env = environment({"http.listen": ""})  # its port may be somebody's here
        env |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DATABASE": server.uri(db)}
        done = subprocess.run(
            ["bash", "-e", "-c", text],
            cwd=REPOSITORY,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    (event,) = re.findall(r"^ ([0-9a-f-]{36})$", done.stdout, re.M)
    assert re.search(r"^\S+ id=[0-9a-f-]{36},eventType=\S+ \{.*\}$", done.stdout, re.M), done.stdout
    oracle.committed(event, "outbox.event.order", "4711")
    oracle.wait(20)


def test_what_is_installed_for_the_build_is_what_it_needs() -> None:
    script = f"source {FOLDER}/lib/packages.bash; echo ${{packages_build[@]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    installed = [
        set(line.split()) for line in commands(README) if line.startswith("sudo apt-get install b")
    ]
    assert len(installed) == 2
    for words in installed:
        assert words == {"sudo", "apt-get", "install", *done.stdout.split()}
    presets = json.loads((REPOSITORY / "CMakePresets.json").read_text())["configurePresets"]
    named = set(re.findall(r"--preset (\w+)", README))
    assert named == {"release"} <= {each["name"] for each in presets}


# -- Kubernetes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("title", "overlay"), [(SIDECAR, "sidecar"), (STANDBY, "standby")])
def test_what_is_applied_finds_what_was_made_for_it(title: str, overlay: str) -> None:
    """Images that were built and Secrets that were made, with the files that settings name; what is
    looked at afterwards is there."""
    (applied,) = of(title, "kubectl apply -k ")
    assert REPOSITORY / applied == KUSTOMIZE / "overlays" / overlay
    finds(title, kustomize(REPOSITORY / applied))


def test_the_chart_finds_what_was_made_for_it() -> None:
    (words,) = of("Helm", "helm install ")
    assert str(CHART.relative_to(REPOSITORY)) in words.split()
    paths = [str(REPOSITORY / word) if "/" in word else word for word in words.split()]
    objects = objects_of(run_tool("helm", "template", *paths))
    finds("Helm", objects)
    (settings,) = (each["data"] for each in objects if each["kind"] == "ConfigMap")
    assert settings["OUTBOX_KAFKA_BOOTSTRAP_SERVERS"] == "kafka.example:9092"
    (name,) = (line.split()[0] for line in of("Helm", "helm test "))
    tests = [each for each in objects if "helm.sh/hook" in each["metadata"].get("annotations", {})]
    assert name == words.split()[0] and tests


def finds(title: str, objects: list[dict[str, Any]]) -> None:
    secrets = made_by(of(title, "kubectl create secret "))
    templates = list(pods(objects))
    needed = {
        volume["secret"]["secretName"]
        for pod in templates
        for volume in pod["spec"].get("volumes", [])
        if "secret" in volume
    }
    assert needed == secrets.keys()
    every = [each for pod in templates for each in containers(pod["spec"])]
    built = {re.search(r"-t (\S+)", line)[1] for line in of(title, "docker build ")}
    assert {each["image"] for each in every} == built
    settings = [each["data"] for each in objects if each["kind"] == "ConfigMap"]
    settings += [{v["name"]: v["value"] for v in each.get("env", [])} for each in every]
    files = {value for each in settings for name, value in each.items() if name.endswith("_FILE")}
    assert files == {f"/run/secrets/{name}/{key}" for name in secrets for key in secrets[name]}
    for deployment, container in re.findall(
        r"kubectl (?:exec|logs) deployment/([\w-]+)(?: -c ([\w-]+))?", section(README, title)
    ):
        (spec,) = (
            each["spec"]["template"]["spec"]
            for each in objects
            if (each["kind"], each["metadata"]["name"]) == ("Deployment", deployment)
        )
        assert (container or deployment) in {each["name"] for each in containers(spec)}


def made_by(lines: list[str]) -> dict[str, dict[str, str]]:
    """The Secrets that kubectl makes of such a command: keys and values by name."""
    found = {}
    for line in lines:
        words = ["create", "secret", *line.split(), "--dry-run=client", "--output=yaml"]
        secret = yaml.safe_load(run_tool("kubectl", *words))
        values = {key: base64.b64decode(text).decode() for key, text in secret["data"].items()}
        assert all(value.startswith("postgresql://") for value in values.values())
        found[secret["metadata"]["name"]] = values
    return found


def test_an_overlay_of_ones_own_renders(tmp_path: pathlib.Path) -> None:
    """Beside the others, with every component."""
    shutil.copytree(KUSTOMIZE, tmp_path / "kubernetes")
    mine = tmp_path / "kubernetes" / "overlays" / "mine"
    mine.mkdir()
    (text,) = blocks(README, "yaml")
    (mine / "kustomization.yaml").write_text(text)
    objects = kustomize(mine)
    assert {each["metadata"]["namespace"] for each in objects} == {"shop"}
    (pod,) = pods(objects)
    images = {each["image"].rpartition(":")[0] for each in containers(pod["spec"])}
    assert images == {"registry.example/outbox-relay"}
    (settings,) = (each["data"] for each in objects if each["kind"] == "ConfigMap")
    assert settings["OUTBOX_KAFKA_BOOTSTRAP_SERVERS"] == "kafka.example:9093"
    assert settings["OUTBOX_KAFKA_SECURITY_PROTOCOL"] == "SASL_SSL"
    row = next(line for line in README.splitlines() if line.startswith("| Kustomize | Secrets"))
    named = set(re.findall(r"`([a-z-]+(?:\.[a-z]+)?)`", row))
    files = {pathlib.Path(value) for value in settings.values() if value.startswith("/run/")}
    assert {file.name for file in files} | {file.parent.name for file in files} <= named
    components = {path.name for path in (KUSTOMIZE / "components").iterdir()}
    assert components - {"prometheus"} == named & components


def test_the_values_of_the_chart_exist() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    named = re.findall(r"`((?:tls|sasl|metrics)\.(?!crt|key)[A-Za-z.]+)`", README)
    assert len(named) >= 4
    for name in named:
        found = values
        for key in name.split("."):
            found = found[key]


# -- compose, systemd ----------------------------------------------------------------------------


def test_compose_finds_its_secrets(tmp_path: pathlib.Path) -> None:
    """The commands up to docker's are run; each secret of the file is one of those made."""
    lines = commands(section(README, "Compose"))
    (tmp_path / "deploy" / "compose").mkdir(parents=True)
    making = [line for line in lines if not line.startswith("docker ")]
    subprocess.run(["bash", "-e", "-c", "\n".join(making)], cwd=tmp_path, check=True)
    project = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    wanted = {tmp_path / "deploy" / each["file"] for each in project["secrets"].values()}
    made = set((tmp_path / "deploy" / "compose" / "secrets").iterdir())
    assert {path.resolve() for path in wanted} == made and all(path.read_text() for path in made)
    ran = [line.split()[-1] for line in lines if " run " in line]
    assert ran and set(ran) <= project["services"].keys()


def test_the_package_has_what_is_named() -> None:
    text = section(README, "Debian package and systemd")
    units = set(re.findall(r"outbox-relay@(?=NAME)", text)) | {"outbox-relay"}
    assert units == {path.stem for path in (FOLDER / "systemd").glob("*.service")}
    assert "/etc/outbox-relay/relay.json" in (FOLDER / "debian" / "conffiles").read_text()
    for unit in (FOLDER / "systemd").glob("*.service"):
        ends = re.search(r"^RestartPreventExitStatus=(.*)$", unit.read_text(), re.M)[1].split()
        assert {"77", "78"} <= set(ends)
