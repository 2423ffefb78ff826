"""What the image says of its packages: dpkg's entries, licences, and the bill of materials."""

from __future__ import annotations

import hashlib
import json
import pathlib
import re
from typing import Any

import pytest
from jsonschema import Draft7Validator, RefResolver
from support.image import Image, built
from support.tools import fetched

BILL = "usr/share/sbom/outbox-relay.cdx.json"
# The program's own, made for the image, or told of packages: no package's files.
OWN = re.compile(
    r"usr/bin/outbox-relay|etc/(passwd|group|nsswitch\.conf)|usr/lib/ssl/cert\.pem"
    r"|usr/share/(doc|common-licenses|sbom)/.*|var/lib/dpkg/status\.d/.*"
)
# Made while ca-certificates is installed.
AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"


@pytest.fixture(scope="session")
def image() -> Image:
    return built()


@pytest.fixture
def bill(image: Image) -> dict[str, Any]:
    return json.loads((image.root / BILL).read_text())


def versions(text: str) -> dict[str, str]:
    """Of the installed packages in a text of dpkg's status."""
    found = {}
    for entry in text.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Status): (.*)$", entry, re.MULTILINE))
        if fields.get("Status") == "install ok installed":
            found[fields["Package"]] = fields["Version"]
    return found


def owners(dpkg: pathlib.Path) -> dict[str, str]:
    """Which package each path is of, without the leading slash."""
    found = {AUTHORITIES: "ca-certificates"}
    for path in (dpkg / "info").glob("*.list"):
        name = path.stem.partition(":")[0]
        found |= {line.lstrip("/"): name for line in path.read_text().splitlines()}
    return found


def contents(image: Image) -> list[pathlib.Path]:
    """The files and links that are some package's, by their paths in the image."""
    every = [path for path in image.root.rglob("*") if path.is_symlink() or path.is_file()]
    inside = [path.relative_to(image.root) for path in every]
    # Links of the merged /usr are no package's.
    return [path for path in inside if len(path.parts) > 1 and not OWN.fullmatch(str(path))]


def test_the_bill_is_cyclonedx(bill: dict[str, Any]) -> None:
    folder = fetched() / "node_modules/@cyclonedx/cyclonedx-library/res/schema"
    schema = json.loads((folder / "bom-1.6.SNAPSHOT.schema.json").read_text())
    beside = f"{schema['$id'].rpartition('/')[0]}/"
    others = {beside + path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    resolver = RefResolver.from_schema(schema, store=others)
    validator = Draft7Validator(schema, resolver=resolver)
    assert [error.message for error in validator.iter_errors(bill)] == []
    assert not validator.is_valid({**bill, "components": [{"name": "libc6"}]})  # it can refuse


def test_the_bill_lists_the_packages_of_all_files_as_they_were_installed(
    image: Image, bill: dict[str, Any]
) -> None:
    of = owners(image.dpkg)
    packages = {of[str(path)] for path in contents(image)}
    installed = versions((image.dpkg / "status").read_text())
    listed = {each["name"]: each["version"] for each in bill["components"]}
    assert listed == {name: installed[name] for name in packages}
    assert {"libc6", "librdkafka1", "libpq5", "ca-certificates", "base-files"} <= listed.keys()


def test_the_bill_names_each_package_for_scanners_and_what_it_needs(bill: dict[str, Any]) -> None:
    known = {bill["metadata"]["component"]["bom-ref"]}
    for each in bill["components"]:
        known.add(each["bom-ref"])
        version = each["version"].replace(":", "%3A").replace("+", "%2B")
        start = f"pkg:deb/debian/{each['name'].replace('+', '%2B')}@{version}?arch="
        assert each["purl"].startswith(start)
        assert "distro=debian-13" in each["purl"]
    needs = {each["ref"]: each["dependsOn"] for each in bill["dependencies"]}
    assert needs.keys() == known
    assert {ref for refs in needs.values() for ref in refs} <= known
    own = needs[bill["metadata"]["component"]["bom-ref"]]
    direct = {re.split(r"[/@]", ref)[2] for ref in own}
    assert {"libc6", "libpq5", "librdkafka1", "libjansson4"} <= direct
    assert "libgnutls30t64" not in direct  # needed by others only


def test_each_file_is_the_packages_own(image: Image) -> None:
    """As it was shipped, by the package's own checksums."""
    shipped = {}
    for path in (image.dpkg / "info").glob("*.md5sums"):
        for line in path.read_text().splitlines():
            digest, _, name = line.partition("  ")
            shipped[name] = digest
    checked = 0
    for path in contents(image):
        if str(path) in shipped and not (image.root / path).is_symlink():
            digest = hashlib.md5((image.root / path).read_bytes()).hexdigest()
            assert digest == shipped[str(path)], path
            checked += 1
    assert checked > 40


def test_dpkgs_entries_are_those_of_the_bill(image: Image, bill: dict[str, Any]) -> None:
    folder = image.root / "var/lib/dpkg/status.d"
    entries = [path for path in folder.iterdir() if path.suffix != ".md5sums"]
    listed = {each["name"]: each["version"] for each in bill["components"]}
    assert {path.name for path in entries} == listed.keys()
    summed = set()
    for path in entries:
        assert versions(path.read_text()) == {path.name: listed[path.name]}
        for line in (folder / f"{path.name}.md5sums").read_text().splitlines():
            digest, name = line.split("  ")
            assert hashlib.md5((image.root / name).read_bytes()).hexdigest() == digest
            summed.add(name)
    plain = {str(path) for path in contents(image) if not (image.root / path).is_symlink()}
    assert summed == plain


def test_the_licence_of_each_package_is_there_whole(image: Image, bill: dict[str, Any]) -> None:
    share = image.root / "usr/share"
    for each in [bill["metadata"]["component"], *bill["components"]]:
        text = (share / "doc" / each["name"] / "copyright").read_text(errors="replace")
        assert len(text) > 200
        for name in re.findall(r"/usr/share/common-licenses/([\w.+-]*\w)", text):
            assert (share / "common-licenses" / name).is_file(), (each["name"], name)
    own = (share / "doc/outbox-relay/copyright").read_text()
    assert "Apache License" in own
