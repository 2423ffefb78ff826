"""What Kustomize and Helm make of deploy/, as objects, and whether Kubernetes would take them."""

from __future__ import annotations

import json
import os
import pathlib
import re
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


_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_LABEL = re.compile(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?")
_LABEL_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?")


def illegal(value: Any, path: str = "") -> Iterator[str]:
    """What the API server refuses besides, of an object or a part of it: names, labels, ports."""
    if isinstance(value, list):
        for n, each in enumerate(value):
            yield from illegal(each, f"{path}.{n}")
    if not isinstance(value, dict):
        return
    for key, each in value.items():
        at = f"{path}.{key}"
        if key in ("labels", "matchLabels"):
            for name, label in each.items():
                if not (_LABEL_KEY.fullmatch(name) and _LABEL.fullmatch(str(label))):
                    yield f"{at}: {name}={label}"
        elif key in ("name", "secretName", "serviceAccountName") and ".env." not in path:
            if not _NAME.fullmatch(each) or (".ports." in path and len(each) > 15):
                yield f"{at}: {each}"
        elif key in ("port", "containerPort", "targetPort") and isinstance(each, int):
            if not 1 <= each <= 65535:
                yield f"{at}: {each}"
        yield from illegal(each, at)


def _lines(
    command: Sequence[str | os.PathLike[str]], objects: Sequence[Object], env: Mapping[str, str]
) -> list[str]:
    text = json.dumps(objects)
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=env, timeout=60)
    if done.returncode != 0:
        raise ToolError(done.stderr)
    return done.stdout.splitlines()
