"""A real Apache Kafka of a test's own: one or more KRaft nodes, hurt and stopped by pid.

    with Kafka(brokers=3) as kafka:
        kafka.create_topic("orders", partitions=4)
        kafka.pause(0)                      # the first broker stands still
        ... kafka.bootstrap ...

Its jars come from deploy/lib/kafka.bash, which fetches them once into the user's cache.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import random
import shutil
import string
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from support.ports import free_ports
from support.process import Process
from support.wait import wait_for

LIB = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "lib"
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 60.0


class KafkaError(Exception):
    """The cluster, or one of its programs, did not do what was asked."""


def fetch() -> pathlib.Path:
    """The folder of Kafka's jars, fetched when they are not there yet."""
    done = subprocess.run(
        ["bash", "-c", 'source "$1/kafka.bash" && kafka_fetch >&2 && echo "$kafka_home"', "-", LIB],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise KafkaError(f"Kafka could not be fetched:\n{done.stderr.strip()}")
    return pathlib.Path(done.stdout.strip())


class Kafka:
    """A cluster whose nodes are all brokers. Nodes are numbered from 0."""

    def __init__(
        self,
        brokers: int = 1,
        *,
        auto_create: bool = True,
        controllers: int | None = None,
        settings: Mapping[str, str] | None = None,
        format_options: Sequence[str] = (),
    ) -> None:
        """settings are broker properties over those of deploy/lib/kafka.properties. controllers:
        so many nodes are controllers too, the first ones; all of them otherwise. format_options:
        more words for the program that makes the storage (users)."""
        self.brokers = brokers
        self.controllers = controllers or brokers
        self.auto_create = auto_create
        self.settings = dict(settings or {})
        self.format_options = list(format_options)
        self.root: pathlib.Path | None = None
        self._ports: list[int] = []
        self._nodes: list[Process | None] = [None] * brokers
        self._jars: pathlib.Path | None = None

    def __enter__(self) -> Kafka:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- life ------------------------------------------------------------------------------------

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self._ports[: self.brokers])

    def running(self, node: int = 0) -> bool:
        process = self._nodes[node]
        return process is not None and process.exit_code is None

    def process(self, node: int = 0) -> Process:
        process = self._nodes[node]
        if process is None:
            raise KafkaError(f"node {node} is not running")
        return process

    def start(self, node: int | None = None) -> None:
        """Start one node, or all that do not run; the first time the folders are made. Returns
        when every running node knows of all running nodes."""
        try:
            if self.root is None:
                self._format()
            for each in range(self.brokers) if node is None else [node]:
                if not self.running(each):
                    self._nodes[each] = self._launch(each)
            self._wait_ready()
        except BaseException:
            if node is None:
                self.close()
            raise

    def stop(self, node: int = 0) -> None:
        """A clean shutdown: leadership moves away first where there is somewhere to go."""
        self.process(node).terminate(STOP_TIMEOUT_S)
        self._nodes[node] = None

    def kill(self, node: int = 0) -> None:
        """SIGKILL; start(node) brings it back with its data."""
        self.process(node).kill()
        self._nodes[node] = None

    def pause(self, node: int = 0) -> None:
        """SIGSTOP: silence, with all connections still open."""
        self.process(node).pause()

    def resume(self, node: int = 0) -> None:
        self.process(node).resume()

    def close(self) -> None:
        """End what runs and remove the folder."""
        for process in self._nodes:
            if process is not None:
                process.kill()  # what it holds goes with the folder
        self._nodes = [None] * self.brokers
        if self.root is not None:
            shutil.rmtree(self.root, ignore_errors=True)
            self.root = None

    # -- topics ----------------------------------------------------------------------------------

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 2})

    def create_topic(
        self,
        name: str,
        partitions: int = 1,
        configs: Mapping[str, Any] | None = None,
        *,
        replication: int | None = None,
    ) -> None:
        """Returns when every running broker answers for it."""
        topic = NewTopic(
            name,
            num_partitions=partitions,
            replication_factor=replication or self.brokers,
            config={key: str(value) for key, value in (configs or {}).items()},
        )
        admin = self.admin()  # has to live until its futures are done
        for future in admin.create_topics([topic]).values():
            future.result(30)
        wait_for(lambda: self._partitions(name) == partitions, f"topic {name} to be there", 30)

    def set_topic(self, name: str, configs: Mapping[str, Any]) -> None:
        """All its settings of its own, from now on."""
        resource = ConfigResource(
            ConfigResource.Type.TOPIC,
            name,
            set_config={key: str(value) for key, value in configs.items()},
        )
        admin = self.admin()
        for future in admin.alter_configs([resource]).values():
            future.result(30)

    def delete_topic(self, name: str) -> None:
        admin = self.admin()
        for future in admin.delete_topics([name]).values():
            future.result(30)
        wait_for(lambda: self._partitions(name) == 0, f"topic {name} to be gone", 30)

    def leader(self, topic: str, partition: int) -> int:
        """The node that leads it, or leads it next."""

        def known() -> int:
            for node in filter(self.running, range(self.brokers)):
                with contextlib.suppress(KafkaException, KeyError):
                    return int(self._metadata(node).topics[topic].partitions[partition].leader)
            return -1

        return wait_for(lambda: max(known(), 0), f"{topic} {partition} to have a leader", 60) - 1

    # -- inside ----------------------------------------------------------------------------------

    def _partitions(self, topic: str) -> int:
        """How many partitions with a leader the topic has, by the broker that knows least."""
        least = None
        for node in range(self.brokers):
            if not self.running(node):
                continue
            found = self._metadata(node).topics.get(topic)
            known = sum(1 for part in found.partitions.values() if part.leader > 0) if found else 0
            least = known if least is None else min(least, known)
        return least or 0

    def _metadata(self, node: int) -> Any:
        address = f"127.0.0.1:{self._ports[node]}"
        return AdminClient({"bootstrap.servers": address, "log_level": 0}).list_topics(timeout=5)

    def _wait_ready(self) -> None:
        running = {node + 1 for node in range(self.brokers) if self.running(node)}
        if 2 * sum(number <= self.controllers for number in running) <= self.controllers:
            return  # no quorum: more nodes have to come first

        def knows_all(node: int) -> bool:
            try:
                return set(self._metadata(node).brokers) >= running
            except KafkaException:
                return False

        for number in sorted(running):
            self.process(number - 1).wait_until(
                lambda node=number - 1: knows_all(node), f"node {number - 1} was ready", START_TIMEOUT_S
            )

    def _format(self) -> None:
        self._jars = fetch()
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="outbox-kafka-"))
        self._ports = free_ports(2 * self.brokers)
        # 16 bytes in base64url: 21 characters that may be anything and one of AQgw.
        cluster = "".join(random.choices(string.ascii_letters + string.digits, k=21)) + "A"
        for node in range(self.brokers):
            properties = self._write_properties(node)
            done = subprocess.run(
                [*self._java(), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties]
                + self.format_options,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise KafkaError(f"the storage could not be formatted:\n{done.stdout}{done.stderr}")

    def _write_properties(self, node: int) -> pathlib.Path:
        assert self.root is not None
        folder = self.root / str(node)
        folder.mkdir()
        controllers = self._ports[self.brokers :]
        voters = enumerate(controllers[: self.controllers])
        values = {
            "NODE_ID": node + 1,
            "VOTERS": ",".join(f"{i + 1}@127.0.0.1:{port}" for i, port in voters),
            "PORT": self._ports[node],
            "CONTROLLER_PORT": controllers[node],
            "LOG_DIR": folder / "data",
            "REPLICATION": self.brokers,
            "MIN_ISR": 1 if self.brokers < 3 else 2,
            "AUTO_CREATE": str(self.auto_create).lower(),
        }
        text = (LIB / "kafka.properties").read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", str(value))
        settings = dict(self.settings)
        if node >= self.controllers:
            address = f"PLAINTEXT://127.0.0.1:{self._ports[node]}"
            settings |= {"process.roles": "broker", "listeners": address}
        own = "".join(f"{key}={value}\n" for key, value in settings.items())
        path = folder / "server.properties"
        path.write_text(text + own)  # of a key that comes twice, the later value holds
        return path

    def _launch(self, node: int) -> Process:
        assert self.root is not None
        folder = self.root / str(node)
        command = [*self._java(), "kafka.Kafka", folder / "server.properties"]
        return Process(command, folder / "server.log", os.environ)

    def _java(self) -> list[str]:
        """A small heap and a light compiler: it is up in 3 s."""
        return [
            "java",
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            f"-Dlog4j2.configurationFile={LIB}/log4j2.properties",
            "-cp",
            f"{self._jars}/*",
        ]
