"""Overlays of a user's own over those of deploy/kubernetes; and the component tls to PostgreSQL."""

from __future__ import annotations

import os
import pathlib
import subprocess

import pytest
from support.deployments import Deployment, kustomized
from support.manifests import KUSTOMIZE, Object, kustomize, pods
from support.postgres import Postgres
from support.relay import binary, environment


def own(folder: pathlib.Path, more: str) -> list[Object]:
    """An overlay over the one with a standby."""
    folder.mkdir()
    base = os.path.relpath(KUSTOMIZE / "overlays" / "standby", folder)
    (folder / "kustomization.yaml").write_text(f"resources: [{base}]\n{more}")
    return kustomize(folder)


def merged(setting: str) -> str:
    start = "configMapGenerator: [{name: outbox-relay, behavior: merge, literals: ["
    return f"{start}{setting}]}}]\n"


def test_pods_are_made_anew_when_a_setting_changes(tmp_path: pathlib.Path) -> None:
    """By the name of the ConfigMap, which is that of its content."""

    def source(objects: list[Object]) -> str:
        (name,) = (each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap")
        (each,) = next(pods(objects))["spec"]["containers"][0]["envFrom"]
        assert each["configMapRef"]["name"] == name
        return str(name)

    first = source(own(tmp_path / "a", ""))
    assert source(own(tmp_path / "b", merged("OUTBOX_HTTP_LISTEN=0.0.0.0:9478"))) == first
    assert source(own(tmp_path / "c", merged("OUTBOX_LOG_LEVEL=debug"))) != first


def test_one_place_sets_the_registry_and_another_the_namespace(tmp_path: pathlib.Path) -> None:
    images = "images: [{name: outbox-relay, newName: registry.example/relay, newTag: 1.2.3}]\n"
    objects = own(tmp_path / "own", f"namespace: shop\n{images}")
    assert {each["metadata"]["namespace"] for each in objects} == {"shop"}
    (container,) = next(pods(objects))["spec"]["containers"]
    assert container["image"] == "registry.example/relay:1.2.3"


@pytest.mark.parametrize(
    ("parameters", "told"),
    [("", "server does not support SSL"), ("?sslmode=disable", "as it is to be")],
)
def test_postgresql_is_asked_for_tls_unless_the_uri_says_otherwise(
    parameters: str, told: str, postgres: Postgres, db: str, tmp_path: pathlib.Path
) -> None:
    """By the component tls; of a server without TLS."""
    objects = kustomized(Deployment("standby", ("tls",)), tmp_path / "tls")
    data = next(each["data"] for each in objects if each["kind"] == "ConfigMap")
    libpq = {name: value for name, value in data.items() if name.startswith("PG")}
    assert libpq.keys() == {"PGSSLMODE", "PGSSLROOTCERT"}
    authorities = tmp_path / "ca.crt"
    authorities.touch()
    env = environment({"postgres.uri": postgres.uri(db) + parameters})
    done = subprocess.run(
        [binary(), "schema", "check"],
        env={**env, **libpq, "PGSSLROOTCERT": str(authorities)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told in done.stdout + done.stderr
