"""What Kustomize and Helm make of deploy/, as objects, and whether Kubernetes would take them."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from support.postgres import REPOSITORY
from support.tools import ToolError, fetched, run_tool, tool

KUSTOMIZE = REPOSITORY / "deploy" / "kubernetes"
CHART = REPOSITORY / "deploy" / "helm" / "outbox-relay"
Object = dict[str, Any]
# Of Kubernetes: the oldest that has what is asked for, and the newest whose schemas there are.
VERSIONS = ("1.30", "1.37")
_SUPPORT = pathlib.Path(__file__).parent


def kustomize(folder: pathlib.Path) -> list[Object]:
    """All objects of a folder with a kustomization.yaml, as `kubectl kustomize` renders them."""
    return objects_of(run_tool("kubectl", "kustomize", folder))


def helm(
    chart: pathlib.Path, values: Mapping[str, Any], release: str = "outbox-relay"
) -> list[Object]:
    """All objects of a chart, its tests' too, as `helm template` renders them; ToolError, as where
    the values are refused."""
    words = ("template", release, chart, "--kube-version", VERSIONS[0], "--values", "-")
    return objects_of(run_tool("helm", *words, stdin=json.dumps(values)))


def objects_of(text: str) -> list[Object]:
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]


def containers(spec: Mapping[str, Any]) -> list[Object]:
    """Of a Pod's spec, those that run first too."""
    return [*spec.get("initContainers", []), *spec["containers"]]


def pods(objects: Sequence[Object]) -> Iterator[Object]:
    """What has a Pod's metadata and spec: Pods, and templates of Deployments."""
    for each in objects:
        if each["kind"] == "Pod":
            yield each
        elif "template" in each.get("spec", {}):
            yield each["spec"]["template"]


def refusals(objects: Sequence[Object]) -> list[str]:
    """Why Kubernetes, in each of VERSIONS, or the Prometheus operator would refuse any of them, a
    line each; an unknown field is a reason, as with `kubectl apply --validate=strict`."""
    theirs = [each for each in objects if each["apiVersion"].startswith("monitoring.coreos.com/")]
    own = [each for each in objects if each not in theirs]
    home = fetched()
    env = {**os.environ, "PYTHONPATH": str(home / "python")}
    python = ["/usr/bin/python3", _SUPPORT / "kubernetes_schema.py", *VERSIONS]
    node = [tool("node"), _SUPPORT / "prometheus_schema.mjs", home / "node_modules"]
    return [*_lines(python, own, env), *_lines(node, theirs, env)]


def _lines(
    command: Sequence[str | os.PathLike[str]], objects: Sequence[Object], env: Mapping[str, str]
) -> list[str]:
    text = json.dumps(objects)
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=env, timeout=60)
    if done.returncode != 0:
        raise ToolError(done.stderr)
    return done.stdout.splitlines()
