"""The units: as systemd judges them from their files, and installed and started on a booted Debian,
with a real PostgreSQL and Kafka."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.kafka import Kafka
from support.machine import Machine
from support.package import package
from support.ports import free_port
from support.postgres import Postgres
from support.proxy import Proxy
from support.relay import REPOSITORY
from support.scene import WINDOW, Scene
from support.wait import wait_for

UNITS = REPOSITORY / "deploy" / "systemd"
UNIT = "outbox-relay.service"
# Of ten; what is left is the network, which it is there for.
EXPOSURE = 1.1
PASSWORD = "hunter2-of-the-test"


# -- from the files ------------------------------------------------------------------------------


def analyze(*arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("name", [UNIT, "outbox-relay@.service"])
def test_systemd_finds_nothing_wrong_with_a_unit(name: str, tmp_path: pathlib.Path) -> None:
    text = (UNITS / name).read_text()
    # The program and the page are not installed here.
    text = text.replace("/usr/bin/outbox-relay", "/bin/true").replace("man:outbox-relay(1)", "")
    unit = tmp_path / name.replace("@", "@shop")
    unit.write_text(text)
    done = analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", [UNIT, "outbox-relay@.service"])
def test_a_unit_exposes_hardly_more_than_the_network(name: str) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE * 10:g}", UNITS / name)
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert exposure, done.stdout
    assert float(exposure[1]) <= EXPOSURE, done.stdout
    assert done.returncode == 0, done.stdout


def test_the_template_is_the_unit_with_a_name() -> None:
    unit = (UNITS / UNIT).read_text()
    template = unit.replace("Description=Outbox Relay,", "Description=Outbox Relay %i,").replace(
        "/etc/outbox-relay/relay.json", "/etc/outbox-relay/%i.json"
    )
    assert unit != template
    assert (UNITS / "outbox-relay@.service").read_text() == template


# -- on a booted Debian --------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Iterator[Machine]:
    with Machine(tmp_path) as booted:
        booted.install(package())
        yield booted


@pytest.fixture
def scene_factory(
    postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path
) -> Iterator[Callable[[], Scene]]:
    scenes: list[Scene] = []

    def make() -> Scene:
        scenes.append(Scene(postgres, kafka, tmp_path))
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.close()


def configure(machine: Machine, scene: Scene, name: str, uri: str, **unit: str) -> None:
    """What an administrator does: the settings, the URI as a credential, a drop-in."""
    settings: dict[str, Any] = {
        "kafka": {"bootstrap.servers": scene.kafka.bootstrap.replace("127.0.0.1", "localhost")},
        "http": {"listen": f"127.0.0.1:{free_port()}"},
        "window": {"events": WINDOW},
    }
    etc = machine.path / "etc/outbox-relay"
    service = f"outbox-relay@{name}" if name != "relay" else "outbox-relay"
    (etc / f"{name}.json").write_text(json.dumps(settings))
    credential = etc / "credentials" / f"{name}-uri"
    credential.write_text(uri)
    credential.chmod(0o600)
    example = machine.path / "usr/share/doc/outbox-relay/examples/credentials.conf"
    drop_in = machine.path / f"etc/systemd/system/{service}.service.d/credentials.conf"
    drop_in.parent.mkdir(parents=True)
    text = example.read_text().replace("credentials/postgres-uri", f"credentials/{name}-uri", 1)
    assert f"/{name}-uri" in text
    drop_in.write_text(text + "".join(f"\n[Service]\n{k}={v}\n" for k, v in unit.items()))
    machine.systemctl("daemon-reload")


def with_password(uri: str) -> str:
    return re.sub(r"//(\w+)@", rf"//\1:{PASSWORD}@", uri)


def pid_of(machine: Machine, unit: str) -> int:
    """The relay's process, as this machine numbers it."""
    inside = machine.show(unit, "MainPID")
    for path in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            text = path.read_text()
        except OSError:
            continue
        if re.search(r"^Name:\toutbox-relay$", text, re.M) and re.search(
            rf"^NSpid:\t\d+\t{inside}$", text, re.M
        ):
            if machine.owns(int(path.parent.name)):
                return int(path.parent.name)
    raise AssertionError(f"no process {inside} of {unit}")


def status_of(pid: int) -> dict[str, str]:
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def refuses_a_wrong_setting(machine: Machine) -> None:
    """The start fails by its exit code, and is not tried again."""
    path = machine.path / "etc/outbox-relay/relay.json"
    path.write_text('{"ack": {"mode": "forget"}}')
    assert machine.run("systemctl", "start", UNIT, check=False).returncode != 0
    assert machine.show(UNIT, "ActiveState") == "failed"
    assert machine.show(UNIT, "ExecMainStatus") == "78"
    assert machine.show(UNIT, "NRestarts") == "0"
    assert 'ack.mode: "forget" is not allowed' in machine.journal(UNIT).replace("\\", "")


def test_the_service_from_its_start_to_its_stop(
    machine: Machine, scene_factory: Callable[[], Scene]
) -> None:
    assert machine.run("systemctl", "is-enabled", UNIT, check=False).stdout == "disabled\n"
    assert machine.show(UNIT, "ActiveState") == "inactive"
    refuses_a_wrong_setting(machine)
    scene = scene_factory()
    with Proxy(scene.postgres.port) as proxy:
        uri = scene.postgres.uri(scene.db).replace(f":{scene.postgres.port}/", f":{proxy.port}/")
        configure(machine, scene, "relay", with_password(uri), WatchdogSec="4s")

        # It is not active before it knows the outbox.
        proxy.pause()
        machine.systemctl("start", "--no-block", UNIT)
        wait_for(lambda: "outbox-relay 0.1.0" in machine.journal(UNIT), "the relay's start")
        assert machine.show(UNIT, "ActiveState") == "activating"
        proxy.resume()
        wait_for(lambda: machine.show(UNIT, "ActiveState") == "active", "the unit to be active")
        assert machine.show(UNIT, "StatusText") == "publishing public.outbox"

        # A user of its own, without rights; the password is nowhere but in the credential.
        pid = pid_of(machine, UNIT)
        status = status_of(pid)
        uids = set(status["Uid"].split())
        assert len(uids) == 1 and 61184 <= int(uids.pop()) <= 65519
        assert machine.run("id", "-u", "outbox-relay").stdout.strip() in status["Uid"].split()
        assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {0}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        environment = pathlib.Path(f"/proc/{pid}/environ").read_text().split("\0")
        of_ours = [line for line in environment if line.startswith("OUTBOX_")]
        folder = f"/run/credentials/{UNIT}"
        assert of_ours == [f"OUTBOX_POSTGRES_URI_FILE={folder}/postgres-uri"]

        # A reload is read by the same process.
        machine.systemctl("reload", UNIT)
        wait_for(lambda: "reloaded: log.level applies now" in machine.journal(UNIT), "a reload")

        with scene.load():
            scene.wait_seen(200)
            # One that hangs is ended, and started again.
            os.kill(pid, signal.SIGSTOP)
            wait_for(lambda: machine.show(UNIT, "NRestarts") == "1", "a new start", 30)
            wait_for(lambda: machine.show(UNIT, "ActiveState") == "active", "it to be active", 30)
            assert "Watchdog timeout" in machine.journal(UNIT)
            assert pid_of(machine, UNIT) != pid
            scene.wait_seen(200)
        machine.systemctl("stop", UNIT)
        assert machine.show(UNIT, "Result") == "success", machine.journal(UNIT)
        assert machine.show(UNIT, "ExecMainStatus") == "0"
        assert PASSWORD not in machine.journal(UNIT)
        # What was written between its last read and its end.
        machine.systemctl("start", UNIT)
        scene.judge(max_duplicates=WINDOW)
        machine.systemctl("stop", UNIT)


def test_two_outboxes_on_one_host_and_an_upgrade_under_them(
    machine: Machine, scene_factory: Callable[[], Scene]
) -> None:
    scenes = {name: scene_factory() for name in ("orders", "stock")}
    units = {name: f"outbox-relay@{name}.service" for name in scenes}
    for name, scene in scenes.items():
        configure(machine, scene, name, scene.postgres.uri(scene.db))
        machine.systemctl("enable", "--now", units[name])
        scene.write(20)
    runs = {unit: machine.show(unit, "InvocationID") for unit in units.values()}
    user = machine.run("id", "-u", "outbox-relay").stdout.strip()  # peer authentication's role
    assert {status_of(pid_of(machine, unit))["Uid"].split()[0] for unit in runs} == {user}
    for scene in scenes.values():
        scene.judge()

    machine.install(package("0.1.1"))
    for name, unit in units.items():
        assert machine.show(unit, "InvocationID") != runs[unit], "not restarted"
        assert machine.show(unit, "ActiveState") == "active"
        scenes[name].write(20)
    machine.systemctl("stop", units["orders"])
    scenes["stock"].judge()
    assert machine.show(units["stock"], "ActiveState") == "active"
    assert scenes["orders"].unacknowledged() in (0, 20)
    machine.systemctl("start", units["orders"])
    scenes["orders"].judge()

    machine.systemctl("enable", UNIT)
    machine.run("dpkg", "--purge", "outbox-relay")
    assert machine.show(units["stock"], "ActiveState") == "inactive"
    wanted = machine.path / "etc/systemd/system/multi-user.target.wants"
    assert not list(wanted.glob("outbox-relay*"))
