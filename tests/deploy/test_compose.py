"""deploy/compose.yaml, read by Docker Compose's own library and acted out with real servers.

Each service runs with its own command, environment, secrets, user, mounts and restrictions, at an
address of its own, reached by its name. Kafka's settings are made of its variables, and its storage
is formatted, by the image's own program (it is in Kafka's jars). What stands in for the images:
PostgreSQL's entrypoint is a short one of the test's; Kafka's healthcheck is asked by kcat; this
machine's PostgreSQL, Java and Python. What is not acted out: that images are pulled and built, the
profile watch, init, restart, published ports.
"""

from __future__ import annotations

import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest
from support import kafka
from support.compose import ComposeError, Stack, Stand, load
from support.container import Image
from support.examples import EXAMPLES, homes
from support.postgres import REPOSITORY, SUPERUSER, Postgres
from support.relay import binary
from support.wait import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers are made by root")

# As the image's: what initdb has made listens when it is whole, and asks for passwords.
_POSTGRES = """
if [ "$1" = postgres ]; then
    initdb -D "$PGDATA" -U postgres --pwfile="$POSTGRES_PASSWORD_FILE" --auth-local=trust \
        --auth-host=scram-sha-256 --no-sync
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D "$PGDATA" postgres
    set -- postgres -c listen_addresses='*' -c fsync=off
fi
exec "$@"
"""
_KAFKA = """
"$JAVA" -cp '/jars/*' kafka.docker.KafkaDockerWrapper setup \
    -D /etc/kafka/docker -M /mnt/shared/config -F /opt/kafka/config
exec "$JAVA" $KAFKA_HEAP_OPTS -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '/jars/*' \
    -Dlog4j2.configurationFile=/etc/kafka/log4j2.properties \
    kafka.Kafka /opt/kafka/config/server.properties
"""
_KAFKA_BIN = "/opt/kafka/bin/kafka"
_JUDGE = """
import json, sys
from support.oracle import Oracle
with Oracle("kafka:9092") as oracle:
    for order, event in json.load(sys.stdin):
        oracle.committed(event, "outbox.event.order", order)
    oracle.wait(20)
    oracle.verify(max_duplicates=0)
    print(len(oracle.records))
"""
_COMMITTED = re.compile(r"^committed (\S+) (\S+)$", re.MULTILINE)


def stands(folder: pathlib.Path) -> dict[str, Stand]:
    """For the images of compose.yaml, by their names there."""
    account = pwd.getpwnam(SUPERUSER)
    passwd = folder / "passwd"
    passwd.write_text(f"{SUPERUSER}:x:{account.pw_uid}:{account.pw_gid}::/:/bin/sh\n")
    postgres, broker, defaults = folder / "postgres.sh", folder / "kafka.sh", folder / "defaults"
    postgres.write_text("set -e" + _POSTGRES)
    broker.write_text("set -e" + _KAFKA)
    defaults.mkdir()
    for name in ("server.properties", "log4j2.yaml", "tools-log4j2.yaml"):
        (defaults / name).touch()
    java = pathlib.Path(shutil.which("java")).resolve()
    settings = {str(each): each for each in pathlib.Path("/etc").glob("java-*-openjdk")}
    program = {
        "/opt/entrypoint": broker,
        "/jars": kafka.fetch(),
        "/etc/kafka/docker": defaults,
        "/etc/kafka/log4j2.properties": kafka.LIB / "log4j2.properties",
        **settings,  # Debian's Java has its own in /etc
    }
    data = "/var/lib/postgresql/data"
    path = f"{Postgres().bin}:/usr/sbin:/usr/bin"
    return {
        "postgres:17.6-bookworm": Stand(
            Image(
                ["/bin/sh", "/opt/entrypoint"],
                ["postgres"],
                files={"/etc/passwd": passwd, "/opt/entrypoint": postgres},
                env={"PGDATA": data, "PATH": path, "LC_ALL": "C.UTF-8"},
            ),
            users={"postgres": account.pw_uid},
        ),
        "apache/kafka:4.1.1": Stand(
            Image(
                ["/bin/sh", "/opt/entrypoint"],
                files=program,
                env={"JAVA": str(java), "CLUSTER_ID": "5L6g3nShT-eMCtK--X86sw"},
                user=1000,
            ),
            writable=["/opt/kafka/config"],
            # Its words are --bootstrap-server and the address.
            here={f"{_KAFKA_BIN}-broker-api-versions.sh": ["sh", "-c", 'kcat -L -b "$1"']},
        ),
        "outbox-relay:0.1.0": Stand(
            Image(
                ["/opt/outbox-relay"],
                ["run"],
                files={"/opt/outbox-relay": binary().resolve()},
                env={"ASAN_OPTIONS": "detect_leaks=0"},
            ),
            here={"/usr/bin/outbox-relay": ["/opt/outbox-relay"]},
        ),
        "outbox-relay-example:0.1.0": Stand(
            Image(
                ["/usr/bin/python3", "/app/service.py"],
                files={"/app": EXAMPLES / "python", "/packages": homes()["python"]},
                env={"PYTHONPATH": "/packages", "PYTHONDONTWRITEBYTECODE": "1"},
            ),
            here={"python": ["/usr/bin/python3"]},
        ),
    }


@pytest.fixture
def file(tmp_path: pathlib.Path) -> pathlib.Path:
    """The compose file where its reader has it, with the secrets that its head says how to make."""
    for part in ("deploy/compose.yaml", "deploy/compose/roles.sql", "schema/psql/outbox_relay.sql"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / part, tmp_path / part)
    file = tmp_path / "deploy" / "compose.yaml"
    told = re.findall(r"^#   ((?:mkdir|openssl|echo) .*)$", file.read_text(), re.MULTILINE)
    assert len(told) == 4
    subprocess.run(["sh", "-euc", "\n".join(told)], cwd=tmp_path, check=True)
    return file


@pytest.fixture
def stack(file: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[Stack]:
    folder = tmp_path / "stack"
    folder.mkdir()
    with Stack(file, stands(folder), folder) as stack:
        yield stack


def test_an_orders_event_comes_out_of_kafka(stack: Stack) -> None:
    stack.up()
    for service in ("postgres", "kafka", "relay", "orders"):
        stack.healthy(service)
    wait_for(lambda: len(_COMMITTED.findall(stack.log("orders"))) >= 3, "three orders")

    # Once more, as the next `up` does: it finds that there is nothing to do.
    stack.start("migrate")
    stack.completed("migrate")

    # What its published port leads to.
    assert stack.beside(["curl", "-fsS", "http://relay:9478/readyz"])
    orders, relay = stack.running["orders"], stack.running["relay"]
    orders.signal(signal.SIGTERM)
    assert orders.wait(10) and orders.exit_code == 0, stack.log("orders")
    committed = _COMMITTED.findall(stack.log("orders"))
    judge = ["env", f"PYTHONPATH={REPOSITORY}/tests", "/usr/bin/python3", "-c", _JUDGE]
    assert int(stack.beside(judge, json.dumps(committed))) == len(committed)
    count = ["psql", "-XAtc", "SELECT count(*) FROM outbox", "-U", "postgres", "shop"]
    wait_for(lambda: stack.run_in("postgres", count).stdout.strip() == "0", "an empty outbox")

    assert relay.status()["CapBnd"] == "0000000000000000" and relay.status()["NoNewPrivs"] == "1"
    assert "ro" in relay.mounts()["/"]
    relay.signal(signal.SIGTERM)
    assert relay.wait(15) and relay.exit_code == 0, stack.log("relay")


def test_nothing_starts_where_its_database_is_not_made(stack: Stack, file: pathlib.Path) -> None:
    (file.parent / "compose" / "roles.sql").write_text("SELECT no_such_thing;\n")
    with pytest.raises(ComposeError, match="migrate ended with 3") as caught:
        stack.up("orders")
    assert 'roles.sql:1: ERROR:  column "no_such_thing" does not exist' in str(caught.value)
    assert "orders" not in stack.running


def test_every_service_gives_up_what_it_does_not_need() -> None:
    for name, service in load(REPOSITORY / "deploy" / "compose.yaml")["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] or name == "kafka"
        assert re.search(r":\d+\.\d+(\.\d+)?(-|$)", service["image"]), "an image that may change"
        for port in service.get("ports", []):
            assert port["host_ip"] == "127.0.0.1", name
