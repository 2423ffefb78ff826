"""Kubernetes' Pod Security Standard "restricted", rule by rule, on a Pod's metadata and spec.

Source: kubernetes.io/docs/concepts/security/pod-security-standards, as of Kubernetes 1.34."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from support.manifests import containers

_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"}
_VOLUMES |= {"projected", "secret"}
_SYSCTLS = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies"}
_SYSCTLS |= {"net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start"}
_SYSCTLS |= {"net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time"}
_SYSCTLS |= {"net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl"}
_SYSCTLS |= {"net.ipv4.tcp_keepalive_probes"}
_SELINUX = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_HANDLERS = ("startupProbe", "livenessProbe", "readinessProbe")


def violations(pod: Mapping[str, Any]) -> list[str]:
    """What the standard forbids, a line each."""
    spec = pod["spec"]
    found = [*_of_pod(pod)]
    for container in containers(spec):
        merged = {**spec.get("securityContext", {}), **container.get("securityContext", {})}
        lines = [*_baseline(container), *_restricted(container, merged)]
        found += [f"container {container['name']}: {line}" for line in lines]
    return found


def _of_pod(pod: Mapping[str, Any]) -> Iterator[str]:
    spec = pod["spec"]
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield name
    for volume in spec.get("volumes", []):
        for kind in volume.keys() - {"name"} - _VOLUMES:
            yield f"volume {volume['name']} is a {kind}"
    security = spec.get("securityContext", {})
    for sysctl in security.get("sysctls", []):
        if sysctl["name"] not in _SYSCTLS:
            yield f"sysctl {sysctl['name']}"
    if security.get("runAsUser") == 0:
        yield "runAsUser 0"
    yield from _labels(security)
    for name, profile in pod.get("metadata", {}).get("annotations", {}).items():
        if name.startswith("container.apparmor.security.beta.kubernetes.io/"):
            if profile != "runtime/default" and not profile.startswith("localhost/"):
                yield f"AppArmor {profile}"


def _labels(security: Mapping[str, Any]) -> Iterator[str]:
    """Profiles that may stand at the Pod and at a container."""
    if security.get("windowsOptions", {}).get("hostProcess"):
        yield "hostProcess"
    selinux = security.get("seLinuxOptions", {})
    if selinux.get("type") not in _SELINUX or selinux.get("user") or selinux.get("role"):
        yield "seLinuxOptions"
    if security.get("appArmorProfile", {}).get("type") == "Unconfined":
        yield "AppArmor Unconfined"
    if security.get("seccompProfile", {}).get("type") == "Unconfined":
        yield "seccomp Unconfined"


def _baseline(container: Mapping[str, Any]) -> Iterator[str]:
    security = container.get("securityContext", {})
    yield from _labels(security)
    if security.get("privileged"):
        yield "privileged"
    if security.get("procMount", "Default") != "Default":
        yield "procMount"
    for port in container.get("ports", []):
        if port.get("hostPort"):
            yield f"hostPort {port['hostPort']}"
    hooks = container.get("lifecycle", {})
    asked = [container.get(name, {}) for name in _HANDLERS]
    for handler in [*asked, hooks.get("preStop", {}), hooks.get("postStart", {})]:
        if any(handler.get(kind, {}).get("host") for kind in ("httpGet", "tcpSocket")):
            yield "a probe or hook with a host"


def _restricted(container: Mapping[str, Any], merged: Mapping[str, Any]) -> Iterator[str]:
    """merged: the container's securityContext over its Pod's."""
    own = container.get("securityContext", {})
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if merged.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if merged.get("runAsUser") == 0:
        yield "runAsUser 0"
    if merged.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile is neither RuntimeDefault nor Localhost"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities: ALL are not dropped"
    for added in set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield f"capability {added}"
