"""Each way of deploying that deploy/ offers, as Kustomize renders it and as Helm does."""

from __future__ import annotations

import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

from support.manifests import CHART, KUSTOMIZE, Object, helm, kustomize
from support.tools import run_tool

ORDERS = CHART.parent / "orders"


class Deployment(NamedTuple):
    overlay: str  # standby or sidecar
    components: tuple[str, ...]

    def __str__(self) -> str:
        return "+".join((self.overlay, *self.components))


_COMPONENTS: tuple[tuple[str, ...], ...] = (
    (),
    ("tls",),
    ("tls", "client-certificate"),
    ("sasl",),
    ("tls", "sasl"),
    ("sasl", "tls"),
    ("prometheus",),
    ("sasl", "tls", "client-certificate", "prometheus"),
)
DEPLOYMENTS = [Deployment(mode, each) for mode in ("standby", "sidecar") for each in _COMPONENTS]


def kustomized(deployment: Deployment, folder: pathlib.Path) -> list[Object]:
    """As a user's own overlay does it, which is written into the folder."""

    def paths(names: Sequence[str]) -> str:
        return "".join(f"  - {os.path.relpath(KUSTOMIZE / each, folder)}\n" for each in names)

    folder.mkdir()
    text = "resources:\n" + paths([f"overlays/{deployment.overlay}"])
    if deployment.components:
        text += "components:\n" + paths([f"components/{each}" for each in deployment.components])
    (folder / "kustomization.yaml").write_text(text)
    return kustomize(folder)


def values(components: Sequence[str]) -> dict[str, Any]:
    """The chart's, that stand for the components."""
    watched = {"enabled": "prometheus" in components}
    return {
        "tls": {
            "enabled": "tls" in components,
            "clientCertificate": "client-certificate" in components,
        },
        "sasl": {"enabled": "sasl" in components},
        "metrics": {"podMonitor": watched, "prometheusRule": watched},
    }


def orders_chart(folder: pathlib.Path) -> pathlib.Path:
    """The example service's chart with its dependency in it."""
    for chart in (CHART, ORDERS):
        shutil.copytree(chart, folder / chart.name)
    run_tool("helm", "dependency", "build", folder / ORDERS.name)
    return folder / ORDERS.name


def helmed(deployment: Deployment, orders: pathlib.Path) -> list[Object]:
    """orders: what orders_chart() made."""
    if deployment.overlay == "standby":
        return helm(CHART, values(deployment.components))
    relay = {"mode": "sidecar", **values(deployment.components)}
    return helm(orders, {"outbox-relay": relay})
