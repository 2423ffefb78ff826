"""The Debian package: what it says of itself, and its life in a bare Debian 12: installed by apt
with what it depends on, upgraded, removed and purged, with nothing left."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess

import pytest
from support.package import VERSION, package
from support.relay import REPOSITORY
from support.rootfs import Rootfs, cache

CONFFILE = "/etc/outbox-relay/relay.json"
# Written by apt, dpkg and ldconfig about any package; the first three folders are this machine's.
BOOKKEEPING = re.compile(
    r"^/(?:proc|sys|dev|tmp|root|var/(?:cache|log|lib/apt|lib/dpkg)|etc/ld\.so\.cache)(?:/|$)"
)

# The system lives no longer than the test: nothing waits for its disk.
QUICKLY = ["-y", "-q", "-o", "Dpkg::Options::=--force-unsafe-io"]
# What deb-systemd-helper notes of the units, for the purge.
ENABLED = {
    f"/var/lib/systemd/deb-systemd-helper-enabled/outbox-relay{at}.service.dsh-also"
    for at in ("", "@")
}


def output(*command: str | pathlib.Path) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def deb() -> pathlib.Path:
    return package()


# -- what it says of itself ----------------------------------------------------------------------


def test_lintian_finds_nothing(deb: pathlib.Path) -> None:
    assert output("lintian", "--fail-on", "error,warning", "--allow-root", deb) == ""


def test_its_control_fields(deb: pathlib.Path) -> None:
    text = output("dpkg-deb", "--field", deb)
    fields = dict(re.findall(r"^([\w-]+): (.*(?:\n .*)*)", text, re.M))
    changelog = (REPOSITORY / "deploy/debian/changelog").read_text()
    version = re.match(r"outbox-relay \((\S+)\) ", changelog)[1]
    assert fields["Version"] == version == VERSION
    cmake = (REPOSITORY / "CMakeLists.txt").read_text()
    assert f"project(outbox-relay VERSION {version} " in cmake
    assert f" -- {fields['Maintainer']}  " in changelog
    assert (fields["Package"], fields["Section"]) == ("outbox-relay", "net")
    assert fields["Priority"] == "optional"
    # By what it is linked with, in the versions that have its symbols.
    libraries = {entry.split()[0] for entry in fields["Depends"].split(", ")}
    assert {"libc6", "libpq5", "librdkafka1", "libuv1", "libjansson4"} <= libraries
    assert "postgresql-client" in fields["Suggests"]
    synopsis, *extended = fields["Description"].splitlines()
    assert len(synopsis) < 80 and len(extended) > 3


def test_its_files_are_all_there_and_owned_by_root(deb: pathlib.Path) -> None:
    lines = [line.split(maxsplit=5) for line in output("dpkg-deb", "--contents", deb).splitlines()]
    modes = {path.removeprefix("."): mode for mode, _, _, _, _, path in lines}
    assert {owner for _, owner, _, _, _, _ in lines} == {"root/root"}
    doc = "/usr/share/doc/outbox-relay"
    expected = {"/usr/bin/outbox-relay", CONFFILE, "/usr/share/man/man1/outbox-relay.1.gz"}
    expected |= {f"/lib/systemd/system/outbox-relay{at}.service" for at in ("", "@")}
    expected |= {"/usr/share/bash-completion/completions/outbox-relay"}
    expected |= {"/usr/share/lintian/overrides/outbox-relay"}
    expected |= {f"{doc}/{name}" for name in ("README.Debian", "README.md", "changelog.gz")}
    expected |= {f"{doc}/copyright", f"{doc}/examples/credentials.conf"}
    schema = REPOSITORY / "schema"
    tracked = output("git", "-C", schema, "ls-files").split()
    kept = [name for name in tracked if not name.startswith("catalog/") and name != "generate"]
    expected |= {f"/usr/share/outbox-relay/{name}" for name in kept}
    files = {path for path, mode in modes.items() if not mode.startswith("d")}
    assert files == expected
    assert {modes[path] for path in files - {"/usr/bin/outbox-relay"}} == {"-rw-r--r--"}
    assert modes["/usr/bin/outbox-relay"] == "-rwxr-xr-x"
    assert modes["/etc/outbox-relay/credentials/"] == "drwx------"
    assert {mode for path, mode in modes.items() if path.endswith("/")} == {
        "drwxr-xr-x",
        "drwx------",
    }


# -- its life ------------------------------------------------------------------------------------


def files(root: pathlib.Path) -> set[str]:
    """All that is in a system, but for the bookkeeping."""
    found = set()
    for folder, folders, names in os.walk(root):
        inside = "/" + os.path.relpath(folder, root).removeprefix(".").lstrip("/")
        folders[:] = [n for n in folders if not BOOKKEEPING.match(os.path.join(inside, n))]
        found |= {os.path.join(inside, name) for name in [*folders, *names]}
    return {path for path in found if not BOOKKEEPING.match(path)}


def owned(debian: Rootfs) -> set[str]:
    """What any package has; /bin and the like are links to their folders in /usr."""
    lists = (debian.path / "var/lib/dpkg/info").glob("*.list")
    paths = {path for each in lists for path in each.read_text().splitlines()}
    return paths | {"/usr" + path for path in paths if re.match(r"/(?:s?bin|lib\w*)/", path)}


def install(debian: Rootfs, deb: pathlib.Path) -> None:
    target = debian.path / "root" / deb.name
    target.write_bytes(deb.read_bytes())
    debian.run("apt-get", "install", *QUICKLY, "--no-install-recommends", f"/root/{deb.name}")


def test_its_life_from_the_installation_to_the_purge(deb: pathlib.Path) -> None:
    older = package("0.0.9")
    with Rootfs() as debian:
        downloads = cache() / "debian-downloads"
        downloads.mkdir(exist_ok=True)
        debian.mount(downloads, "/var/cache/apt/archives")
        before = files(debian.path)
        install(debian, older)
        assert debian.run("outbox-relay", "version").stdout.startswith("outbox-relay 0.1.0\n")
        settings = debian.run("outbox-relay", "config", "print", "--config", CONFFILE).stdout
        assert f"kafka.bootstrap.servers = localhost:9092  (file {CONFFILE})\n" in settings
        unowned = files(debian.path) - before - owned(debian)
        assert unowned == ENABLED
        listed = set(debian.run("dpkg", "-L", "outbox-relay").stdout.split()) - {"/."}
        assert {path for path in listed if not os.path.lexists(f"{debian.path}{path}")} == set()

        # An upgrade leaves what the administrator wrote, and asks nothing.
        conffile = debian.path / CONFFILE.lstrip("/")
        conffile.write_text('{"kafka": {"bootstrap.servers": "kafka.example:9092"}}\n')
        instance = conffile.with_name("stock.json")
        instance.write_text("{}\n")
        install(debian, deb)
        assert "Version: 0.1.0\n" in debian.run("dpkg", "-s", "outbox-relay").stdout
        assert "kafka.example" in conffile.read_text()
        assert not list(conffile.parent.glob("relay.json.*"))

        # So does a removal.
        debian.run("apt-get", "remove", *QUICKLY, "outbox-relay")
        assert not (debian.path / "usr/bin/outbox-relay").exists()
        assert "kafka.example" in conffile.read_text() and instance.exists()

        debian.run("apt-get", "purge", "--autoremove", *QUICKLY, "outbox-relay")
        after = files(debian.path)
        assert (after - before, before - after) == (set(), set())
