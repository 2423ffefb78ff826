#!/usr/bin/env python3
"""Collects the root of an image: one program and what it needs to run, from the Debian around it.

    collect.py PROGRAM FOLDER

Into FOLDER go the program, the libraries that it loads, now or later, the authorities that TLS
trusts, the few files of /etc that the C library reads, and for each Debian package that any of this
is from its licence, its entry for scanners (as distroless images have it) and its line in the bill
of materials. All times are SOURCE_DATE_EPOCH: the same packages and program give the same files.
"""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from sbom import Package, bill_of_materials

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parents[1]
LIBRARIES = pathlib.Path("/usr/lib", getattr(sys.implementation, "_multiarch"))
COMMON_LICENSE = re.compile(r"/usr/share/common-licenses/([\w.+-]*\w)")

# What no program is linked with, but opens while it runs.
OPENED = (
    "libgcc_s.so.1",  # by the C library, to end a thread
    # By librdkafka's libsasl2, for sasl.mechanism=GSSAPI. There is no kinit for librdkafka to run:
    # sasl.kerberos.min.time.before.relogin=0, and Kerberos itself reads KRB5_CLIENT_KTNAME.
    "sasl2/libgssapiv2.so",
    "sasl2/libgssapiv2.so.2",
    "ossl-modules/legacy.so",  # by OpenSSL: ssl.providers=default,legacy, for old key stores
)
# Of the packages that every Debian has; scanners tell the release by these.
RELEASE = ("/usr/lib/os-release", "/etc/os-release", "/etc/debian_version")
AUTHORITIES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
# Where OpenSSL, and so libpq's sslrootcert=system, looks for authorities.
OPENSSL_AUTHORITIES = "usr/lib/ssl/cert.pem"


class Root:
    """The folder that becomes the image's root, and which paths in it are this system's."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.copied: set[pathlib.Path] = set()
        folder.mkdir(parents=True)
        for name in ("lib", "lib64"):  # as on this system: merged with /usr
            link = pathlib.Path("/", name)
            if link.is_symlink():
                (folder / name).symlink_to(os.readlink(link))

    def at(self, path: str | pathlib.Path) -> pathlib.Path:
        """Where it is in the folder; its own folder is made."""
        target = self.folder / str(path).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def copy(self, path: pathlib.Path) -> None:
        """A file of this system to the same path; a link with what it leads to."""
        path = path.parent.resolve() / path.name
        if path in self.copied:
            return
        self.copied.add(path)
        if path.is_symlink():
            self.at(path).symlink_to(os.readlink(path))
            self.copy(path.parent / os.readlink(path))
        else:
            shutil.copy(path, self.at(path))

    def write(self, path: str, text: str) -> None:
        self.at(path).write_text(text)

    def set_times(self, epoch: int) -> None:
        for path in [*self.folder.rglob("*"), self.folder]:
            os.utime(path, (epoch, epoch), follow_symlinks=False)


def output_of(*command: str | pathlib.Path) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def loaded_by(file: pathlib.Path) -> list[pathlib.Path]:
    """All libraries that it is linked with, and theirs, and the loader."""
    said = output_of("ldd", file)
    if "not found" in said:
        sys.exit(f"collect.py: libraries of {file} are missing:\n{said}")
    return [pathlib.Path(path) for path in re.findall(r"(?:=> |^\s*)(/\S+) \(", said, re.MULTILINE)]


def packages_of(paths: set[pathlib.Path]) -> dict[str, list[pathlib.Path]]:
    """Those that the files are from, as dpkg names them, with what is copied of each."""
    found: dict[str, list[pathlib.Path]] = {}
    for path in sorted(paths):
        # It is made when packages are installed, so that dpkg knows nothing of it.
        if path == AUTHORITIES:
            name = "ca-certificates"
        else:
            name = output_of("dpkg-query", "-S", path).partition(": ")[0]
        found.setdefault(name, []).append(path)
    return found


def describe(root: Root, package: Package, files: list[pathlib.Path]) -> None:
    """What Debian asks of whoever passes a package on, and what scanners look for."""
    licence = pathlib.Path("/usr/share/doc", package.name, "copyright")
    shutil.copy(licence, root.at(licence))
    for name in COMMON_LICENSE.findall(licence.read_text(errors="replace")):
        shutil.copy(
            f"/usr/share/common-licenses/{name}", root.at(f"/usr/share/common-licenses/{name}")
        )
    entry = f"/var/lib/dpkg/status.d/{package.name}"
    root.write(entry, output_of("dpkg-query", "-s", package.dpkg_name))
    plain = [path for path in files if not path.is_symlink()]
    sums = [output_of("md5sum", path).replace(" /", " ", 1) for path in plain]
    root.write(f"{entry}.md5sums", "".join(sums))


def collect(program: pathlib.Path, root: Root) -> None:
    shutil.copy(program, root.at("/usr/bin/outbox-relay"))
    subprocess.run(["strip", root.at("/usr/bin/outbox-relay")], check=True)
    opened = [LIBRARIES / name for name in OPENED]
    for file in [program, *opened]:
        for library in loaded_by(file):
            root.copy(library)
    for path in [*opened, *map(pathlib.Path, RELEASE), AUTHORITIES]:
        root.copy(path)
    root.at(OPENSSL_AUTHORITIES).symlink_to(AUTHORITIES)
    shutil.copytree(HERE / "etc", root.folder / "etc", dirs_exist_ok=True)
    shutil.copy(SOURCE / "LICENSE", root.at("/usr/share/doc/outbox-relay/copyright"))
    root.at("/home/nonroot/").mkdir()
    root.at("/tmp").mkdir()
    root.at("/tmp").chmod(0o1777)


def main() -> None:
    os.umask(0o022)
    program, root = pathlib.Path(sys.argv[1]).resolve(), Root(pathlib.Path(sys.argv[2]))
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
    collect(program, root)
    packages = []
    for name, files in packages_of(root.copied).items():
        packages.append(Package(name))
        describe(root, packages[-1], files)
    linked = re.findall(r"NEEDED +(\S+)", output_of("objdump", "-p", program))
    needed = packages_of({LIBRARIES / name for name in linked})
    version = json.loads(output_of(program, "version", "--json"))["outbox-relay"]
    bill = bill_of_materials(version, packages, set(needed), epoch)
    root.write("/usr/share/sbom/outbox-relay.cdx.json", json.dumps(bill, indent=1) + "\n")
    root.set_times(epoch)


if __name__ == "__main__":
    main()
