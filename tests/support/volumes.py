"""A Pod's volumes and environment, from its ConfigMaps and Secrets, as a kubelet lays them out."""

from __future__ import annotations

import base64
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any


class VolumesError(Exception):
    """An object or a key is missing, or the manifest asks for what is not enacted."""


class Volumes:
    def __init__(
        self,
        spec: Mapping[str, Any],
        objects: Sequence[Mapping[str, Any]],
        folder: pathlib.Path,
    ) -> None:
        """spec: the Pod's. Its volumes are made in folder, which is made."""
        self._objects = {(each["kind"], each["metadata"]["name"]): each for each in objects}
        self._group = spec.get("securityContext", {}).get("fsGroup")
        self._specs = {each["name"]: each for each in spec.get("volumes", [])}
        self._folder = folder
        folder.mkdir(parents=True)
        for name, volume in self._specs.items():
            self._make(folder / name, volume)

    def source(self, name: str) -> pathlib.Path:
        if name not in self._specs:
            raise VolumesError(f"there is no volume {name}")
        return self._folder / name

    def fixed(self, mount: Mapping[str, Any]) -> bool:
        """Whether it is mounted read-only; what is made of an object always is."""
        if mount.keys() - {"name", "mountPath", "readOnly"}:
            raise VolumesError(f"of a volumeMount this is not enacted: {mount}")
        return bool(mount.get("readOnly")) or "emptyDir" not in self._specs[mount["name"]]

    def environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        """envFrom under env; $(NAME) stands for what came before."""
        found: dict[str, str] = {}
        for each in container.get("envFrom", []):
            for source, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if source in each:
                    data = self._data(kind, each[source]["name"], each[source].get("optional"))
                    found |= {each.get("prefix", "") + k: v.decode() for k, v in data.items()}
        for each in container.get("env", []):
            value = self._value(each)
            if value is not None:
                found[each["name"]] = re.sub(
                    r"\$\((\w+)\)", lambda m: found.get(m[1], m[0]), value
                )
        return found

    # -- inside ----------------------------------------------------------------------------------

    def _value(self, entry: Mapping[str, Any]) -> str | None:
        if "valueFrom" not in entry:
            return str(entry.get("value", ""))
        for source, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            ref = entry["valueFrom"].get(source)
            if ref is not None:
                value = self._data(kind, ref["name"], ref.get("optional")).get(ref["key"])
                if value is None and not ref.get("optional"):
                    raise VolumesError(f"{kind} {ref['name']} has no key {ref['key']}")
                return None if value is None else value.decode()
        if entry["valueFrom"].get("fieldRef", {}).get("fieldPath") == "metadata.name":
            return "orders-0"
        raise VolumesError(f"of valueFrom this is not enacted: {entry['valueFrom']}")

    def _data(self, kind: str, name: str, optional: bool | None) -> dict[str, bytes]:
        found = self._objects.get((kind, name))
        if found is None:
            if optional:
                return {}
            raise VolumesError(f"there is no {kind} {name}: the container would not be created")
        plain = {k: v.encode() for k, v in found.get("data", {}).items()}
        if kind == "Secret":
            plain = {k: base64.b64decode(v) for k, v in plain.items()}
            plain |= {k: v.encode() for k, v in found.get("stringData", {}).items()}
        return plain

    def _make(self, at: pathlib.Path, volume: Mapping[str, Any]) -> None:
        at.mkdir()
        if "emptyDir" in volume:
            self._own(at, 0o777)
        elif "secret" in volume:
            source = volume["secret"]
            self._lay_out(at, "Secret", source["secretName"], source)
        elif "configMap" in volume:
            self._lay_out(at, "ConfigMap", volume["configMap"]["name"], volume["configMap"])
        else:
            raise VolumesError(f"of volumes this is not enacted: {volume}")

    def _lay_out(
        self, at: pathlib.Path, kind: str, name: str, source: Mapping[str, Any]
    ) -> None:
        """Files in a folder that can be replaced at one stroke, and links to them."""
        data = self._data(kind, name, source.get("optional"))
        items = source.get("items") or [{"key": key, "path": key} for key in data]
        real = at / "..2026_01_01"
        real.mkdir()
        for item in items:
            if item["key"] not in data:
                raise VolumesError(f"{kind} {name} has no key {item['key']}")
            path = real / item["path"]
            path.write_bytes(data[item["key"]])
            self._own(path, item.get("mode", source.get("defaultMode", 0o644)))
            (at / item["path"]).symlink_to(f"..data/{item['path']}")
        (at / "..data").symlink_to(real.name)
        for folder in (real, at):
            self._own(folder, 0o755)

    def _own(self, path: pathlib.Path, mode: int) -> None:
        """Root's; with an fsGroup that group's too, which may read, and write into an emptyDir."""
        path.chmod(mode)
        if self._group is not None:
            os.chown(path, 0, self._group)
            path.chmod(mode | (0o2110 if path.is_dir() else 0o440))
