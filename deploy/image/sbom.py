"""The bill of materials of an image, in CycloneDX 1.6, from what dpkg knows of its packages."""

from __future__ import annotations

import datetime
import json
import pathlib
import re
import subprocess
import uuid
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

FIELDS = ("Package", "Version", "Architecture", "source:Package", "Maintainer", "Homepage")
FIELDS += ("Pre-Depends", "Depends", "binary:Synopsis")


class Package:
    """An installed one."""

    def __init__(self, dpkg_name: str) -> None:
        """dpkg_name: may end with :ARCHITECTURE."""
        self.dpkg_name = dpkg_name
        form = "".join(f"${{{field}}}\n" for field in FIELDS)
        said = subprocess.run(
            ["dpkg-query", "-W", "-f", form, dpkg_name],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        self.fields = dict(zip(FIELDS, said.splitlines(), strict=True))
        self.name = self.fields["Package"]

    @property
    def purl(self) -> str:
        """https://github.com/package-url/purl-spec/blob/main/types-doc/deb-definition.md"""
        release = dict(re.findall(r'^(\w+)="?([^"\n]*)', _os_release(), re.MULTILINE))
        version = quote(self.fields["Version"], safe="")
        purl = f"pkg:deb/debian/{quote(self.name, safe='')}@{version}"
        purl += f"?arch={self.fields['Architecture']}&distro=debian-{release['VERSION_ID']}"
        source = self.fields["source:Package"]
        return purl if source == self.name else f"{purl}&upstream={quote(source, safe='')}"

    def depends_on(self) -> set[str]:
        """The names in its dependencies, alternatives too."""
        parts = re.split(r"[,|]", f"{self.fields['Pre-Depends']},{self.fields['Depends']}")
        return {re.split(r"[ :(]", part.strip(), maxsplit=1)[0] for part in parts} - {""}

    def component(self) -> dict[str, Any]:
        said = {
            "type": "library",
            "bom-ref": self.purl,
            "supplier": {"name": self.fields["Maintainer"]},
            "name": self.name,
            "version": self.fields["Version"],
            "description": self.fields["binary:Synopsis"],
            "purl": self.purl,
        }
        homepage = self.fields["Homepage"]
        if homepage:
            said["externalReferences"] = [{"type": "website", "url": homepage}]
        return said


def bill_of_materials(
    version: str, packages: Iterable[Package], needed: set[str], epoch: int
) -> dict[str, Any]:
    """version: the program's. needed: the packages, as dpkg names them, that it is linked with.
    epoch: the time that the bill bears, in seconds since 1970."""
    packages = sorted(packages, key=lambda package: package.name)
    reference = {package.name: package.purl for package in packages}
    own = f"pkg:generic/outbox-relay@{version}"
    program = {
        "type": "application",
        "bom-ref": own,
        "name": "outbox-relay",
        "version": version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "purl": own,
    }
    uses = {own: [package.purl for package in packages if package.dpkg_name in needed]}
    for package in packages:
        uses[package.purl] = sorted(
            reference[name] for name in package.depends_on() if name in reference
        )
    content = {
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).isoformat(),
            "component": program,
        },
        "components": [package.component() for package in packages],
        "dependencies": [{"ref": ref, "dependsOn": list(on)} for ref, on in uses.items()],
    }
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(content))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{number}",
        "version": 1,
        **content,
    }


def _os_release() -> str:
    return pathlib.Path("/usr/lib/os-release").read_text()
