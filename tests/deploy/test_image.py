"""The image of deploy/Dockerfile: what is in it, what it says of itself, and that it works."""

from __future__ import annotations

import gzip
import os
import pathlib
import re
import stat
import subprocess
from collections.abc import Iterator

import pytest
from support.engine import Container
from support.image import Image, built
from support.kafka import Kafka
from support.ports import free_port
from support.postgres import Postgres
from support.scene import Scene

# As it is unpacked, and as its one layer is on its way from a registry.
MOST_MIB, MOST_PACKED_MIB = 36, 14
# A name that only /etc/hosts knows: found by the C library's own modules for names.
DATABASE = "postgres.example"


@pytest.fixture(scope="session")
def image() -> Image:
    return built()


@pytest.fixture
def container(image: Image, tmp_path: pathlib.Path) -> Container:
    return Container(image, tmp_path / "container", {DATABASE: "127.0.0.1"})


@pytest.fixture
def scene(postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[Scene]:
    made = Scene(postgres, kafka, tmp_path)
    yield made
    made.close()


def files(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """Those that are no links."""
    return (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def elf_files(root: pathlib.Path) -> list[pathlib.Path]:
    return [path for path in files(root) if path.read_bytes()[:4] == b"\x7fELF"]


def inside(root: pathlib.Path, path: str) -> pathlib.Path:
    """What a path of the image is, through its own links."""
    at = root
    for part in pathlib.PurePath(path.lstrip("/")).parts:
        at = at.parent if part == ".." else at / part
        if at.is_symlink():
            target = os.readlink(at)
            on = target if target.startswith("/") else str(at.parent.relative_to(root) / target)
            at = inside(root, on)
    return at


def assert_confined(engine: int) -> None:
    """What the engine's process started is process 1, nobody, may nothing, and cannot write."""
    child = pathlib.Path(f"/proc/{engine}/task/{engine}/children").read_text().strip()
    about = pathlib.Path(f"/proc/{child}/status").read_text()
    assert re.search(r"^NSpid:\s+\d+\s+1$", about, re.MULTILINE), about
    for name in ("Uid", "Gid"):
        assert re.search(rf"^{name}:(\s+65532){{4}}$", about, re.MULTILINE), about
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert re.search(rf"^{name}:\s+0+$", about, re.MULTILINE), about
    mounts = pathlib.Path(f"/proc/{child}/mountinfo").read_text()
    assert re.search(r"^\d+ \d+ \S+ \S+ / ro[, ]", mounts, re.MULTILINE), mounts


def test_it_is_built_without_a_warning(image: Image) -> None:
    assert "Linking C executable outbox-relay" in image.said
    assert "warning:" not in image.said.lower()


def test_the_program_is_all_that_can_be_run(image: Image) -> None:
    programs = [path for path in elf_files(image.root) if b"/ld-linux" in path.read_bytes()[:4096]]
    interpreted = [path for path in programs if ".so" not in path.name]
    assert [str(path.relative_to(image.root)) for path in interpreted] == ["usr/bin/outbox-relay"]
    scripts = [path for path in files(image.root) if path.read_bytes()[:2] == b"#!"]
    assert not scripts
    folders = {path.name for path in (image.root / "usr").iterdir()}
    assert folders <= {"bin", "lib", "lib64", "share"}
    assert [path.name for path in (image.root / "usr/bin").iterdir()] == ["outbox-relay"]


def test_all_of_it_is_roots_and_nobody_may_change_it_or_become_another(image: Image) -> None:
    for path in image.root.rglob("*"):
        about = path.lstat()
        assert (about.st_uid, about.st_gid) == (0, 0), path
        assert stat.S_IFMT(about.st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK), path
        if path.is_symlink():
            continue
        assert not about.st_mode & (stat.S_ISUID | stat.S_ISGID), path
        assert not about.st_mode & 0o022 or path == image.root / "tmp", path
        assert not os.listxattr(path), path  # no capabilities of files


def test_each_library_that_is_needed_is_inside_and_each_link_leads_somewhere(image: Image) -> None:
    folder = next((image.root / "usr/lib").glob("*/libc.so.6")).parent
    for path in elf_files(image.root):
        head = subprocess.run(
            ["objdump", "-p", path], capture_output=True, text=True, check=True
        ).stdout
        for name in re.findall(r"NEEDED +(\S+)", head):
            found = inside(image.root, f"{folder.relative_to(image.root)}/{name}")
            assert found.is_file() or (image.root / "usr/lib" / name).is_file(), (path, name)
    for path in image.root.rglob("*"):
        if path.is_symlink():
            assert inside(image.root, str(path.relative_to(image.root))).exists(), path


def test_the_version_and_the_settings_are_told(container: Container) -> None:
    version = container.run("version")
    assert version.returncode == 0, version.stderr
    labels = container.config["Labels"]
    assert f"outbox-relay {labels['org.opencontainers.image.version']}\n" in version.stdout
    # Below this, SCRAM with Kafka 4 fails.
    librdkafka = re.search(r"^librdkafka (\d+)\.(\d+)\.(\d+)", version.stdout, re.MULTILINE)
    assert librdkafka and tuple(map(int, librdkafka.groups())) >= (2, 6, 1)
    settings = container.run("config", "print")
    assert settings.returncode == 0, settings.stderr
    assert "http.listen = 0.0.0.0:9478  (environment OUTBOX_HTTP_LISTEN)" in settings.stdout


def test_it_runs_by_default_and_says_what_is_missing(container: Container) -> None:
    done = container.run()
    assert done.returncode == 78
    assert "OUTBOX_KAFKA_BOOTSTRAP_SERVERS" in done.stderr


def test_it_publishes_as_nobody_on_a_read_only_root_and_its_health_is_told(
    scene: Scene, container: Container
) -> None:
    listen = {"OUTBOX_HTTP_LISTEN": f"0.0.0.0:{free_port()}"}
    health = container.config["Healthcheck"]["Test"]
    assert health[0] == "CMD"
    before = container.execute(health[1:], listen)
    assert before.returncode == 69, before.stderr
    uri = scene.postgres.uri(scene.db).replace("127.0.0.1", DATABASE)
    relay = scene.relay(
        {"postgres.uri": uri, "http.listen": listen["OUTBOX_HTTP_LISTEN"]},
        program=container.program(),
    )
    scene.write(500)
    relay.wait_ready()
    scene.write(500)
    scene.judge()

    assert_confined(relay.process.pid)
    healthy = container.execute(health[1:], listen)
    assert healthy.returncode == 0, healthy.stderr
    relay.stop()
    after = container.execute(health[1:], listen)
    assert after.returncode == 69, after.stderr


def test_it_tells_what_it_is(image: Image) -> None:
    config = image.config
    prefix = "org.opencontainers.image."
    labels = {name.removeprefix(prefix): value for name, value in config["Labels"].items()}
    assert labels.keys() == {"title", "description", "version", "licenses", "source"} | {
        "revision",
        "created",
        "base.name",
    }
    assert labels["title"] == "outbox-relay"
    assert labels["licenses"] == "Apache-2.0"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", labels["created"])
    assert config["User"] == "65532:65532"
    assert config["ExposedPorts"] == {"9478/tcp": {}}
    assert config["StopSignal"] == "SIGTERM"
    assert (config["Entrypoint"], config["Cmd"]) == (["/usr/bin/outbox-relay"], ["run"])
    users = (image.root / "etc/passwd").read_text()
    assert re.search(r"^nonroot:x:65532:65532:", users, re.MULTILINE)


def test_it_is_small(image: Image, capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(
        ["tar", "-c", "--sort=name", "-C", image.root, "."], capture_output=True, check=True
    )
    size = sum(path.stat().st_size for path in files(image.root)) / 2**20
    packed = len(gzip.compress(done.stdout, 6)) / 2**20
    with capsys.disabled():
        print(f"\n  the image: {size:.1f} MiB, its layer gzip'd {packed:.1f} MiB")
    assert size < MOST_MIB
    assert packed < MOST_PACKED_MIB
