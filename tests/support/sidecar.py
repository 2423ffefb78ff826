"""The example service's Pod with the relay in it, by the users' manifest, on real servers."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

from support.container import Image
from support.examples import EXAMPLES, homes, service_role
from support.kafka import Kafka
from support.manifests import KUSTOMIZE, kustomize
from support.pod import Member, Pod
from support.ports import free_ports
from support.postgres import Postgres
from support.relay import Relay, binary
from support.scene import WINDOW, Scene
from support.wait import wait_for

# So many times as often as the manifest says comes a probe, and as much shorter are back-offs.
PACE = 20
RELAY, ORDERS = "outbox-relay", "orders"
PORTS = {RELAY: 9478, ORDERS: 8080}

# What was committed, whatever becomes of the outbox: written in the same transaction.
_WRITTEN = """
CREATE TABLE written (n bigint GENERATED ALWAYS AS IDENTITY, id uuid, key text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public
    AS $$BEGIN INSERT INTO written (id, key) VALUES (NEW.id, NEW.aggregateid); RETURN NULL; END$$;
CREATE TRIGGER note AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION note()
"""


class Sidecar(Relay):
    """The relay that runs in a Pod, asked as any other."""

    def __init__(self, member: Member, port: int) -> None:
        assert member.container is not None
        self.settings = {"http.listen": f"127.0.0.1:{port}"}
        self.log = member.container.log
        self.process = member.container.process


class SidecarScene(Scene):
    """Pods one after the other, on one database and topic; the service's events are the load."""

    def __init__(self, postgres: Postgres, kafka: Kafka, folder: pathlib.Path) -> None:
        super().__init__(postgres, kafka, folder)
        self.pods: list[Pod] = []
        self._reader: Any = None
        self._images = {
            "outbox-relay": Image(
                ["/opt/outbox-relay"],
                files={"/opt/outbox-relay": binary().resolve()},
                env={"ASAN_OPTIONS": "detect_leaks=1:exitcode=99"},
            ),
            "outbox-relay-example": Image(
                ["/usr/bin/python3", "/app/service.py"],
                files={"/app": EXAMPLES / "python", "/packages": homes()["python"]},
                env={"PYTHONPATH": "/packages", "PYTHONDONTWRITEBYTECODE": "1"},
            ),
        }
        self.sql(_WRITTEN)
        # Roles belong to the whole server, which other tests have too.
        self._users = {each: f"{each}_{self.aggregatetype}" for each in ("relay", "orders")}
        service_role(postgres, self.db, self._users["orders"])
        relay = self._users["relay"]
        self.sql(f"CREATE ROLE {relay} LOGIN; SELECT outbox_grant('relay', '{relay}')")

    def pod(
        self,
        *,
        every_ms: int = 20,
        change: Callable[[dict[str, Any]], None] = lambda spec: None,
        at_start: Callable[[Member], None] = lambda member: None,
    ) -> Pod:
        """Not started yet. every_ms: between two orders; change: may alter the Pod's spec."""
        ports = dict(zip(PORTS.values(), free_ports(len(PORTS)), strict=True))
        objects = self._objects(ports[PORTS[RELAY]])
        deployment = next(each for each in objects if each["kind"] == "Deployment")
        template = deployment["spec"]["template"]
        spec = template["spec"]
        of = {each["name"]: each for each in [*spec["initContainers"], *spec["containers"]]}
        settings = {
            "kafka.bootstrap.servers": self.kafka.bootstrap,
            "route.topic": self.topic,
            "window.events": WINDOW,
            "lease.ttl_ms": 2000,  # so long a killed relay keeps the outbox from the next one
        }
        for key, value in settings.items():
            set_env(of[RELAY], "OUTBOX_" + key.upper().replace(".", "_"), value)
        set_env(of[ORDERS], "ORDERS_EVERY_MS", every_ms)
        set_env(of[ORDERS], "HTTP_PORT", ports[PORTS[ORDERS]])
        change(spec)
        self.pods.append(
            Pod(
                template,
                self._folder / f"pod-{len(self.pods)}",
                self._images,
                objects,
                ports=ports,
                pace=PACE,
                at_start=at_start,
            )
        )
        return self.pods[-1]

    def relay_of(self, pod: Pod) -> Sidecar:
        return Sidecar(pod[RELAY], pod.ports[PORTS[RELAY]])

    # -- looking ---------------------------------------------------------------------------------

    def written(self) -> int:
        """How many events were committed so far; the oracle knows them from then on."""
        if self._reader is None:  # one connection: this is asked all the time
            self._reader = self.postgres.connect(self.db, autocommit=True)
        with self._reader.cursor() as cursor:
            cursor.execute("SELECT id::text, %s, key FROM written ORDER BY n", (self.topic,))
            rows = cursor.fetchall()
        self.told(row for row in rows if row[0] not in self.oracle.events)
        return len(rows)

    def wait_written(self, more: int, timeout: float = 20) -> None:
        goal = self.written() + more
        wait_for(lambda: self.written() >= goal, f"{more} more committed events", timeout)

    def flow(self, more: int) -> None:
        """So many more events are committed, and come out with all before them."""
        self.wait_written(more)
        self.oracle.wait(30)

    def judge(self, max_duplicates: int = 0, timeout: float = 60) -> None:
        self.written()
        super().judge(max_duplicates, timeout)

    def close(self) -> None:
        """No relay may have had a sanitizer's finding, in any of its lives."""
        for pod in self.pods:
            pod.kill()
        if self._reader is not None:
            self._reader.close()
        super().close()
        for log in self._folder.glob(f"pod-*/{RELAY}-*/log"):
            text = log.read_text(errors="replace")
            assert "Sanitizer" not in text and "runtime error:" not in text, text[-6000:]

    # -- inside ----------------------------------------------------------------------------------

    def _objects(self, port: int) -> list[dict[str, Any]]:
        """As rendered, with the relay's port here for its port there, and the user's Secrets."""
        text = json.dumps(kustomize(KUSTOMIZE / "overlays" / "sidecar"))
        objects = json.loads(text.replace(f':{PORTS[RELAY]}"', f':{port}"'))
        for name, key, user in (
            ("outbox-relay", "postgres-uri", "relay"),
            ("orders", "database-url", "orders"),
        ):
            data = {key: self.postgres.uri(self.db, user=self._users[user])}
            objects.append({"kind": "Secret", "metadata": {"name": name}, "stringData": data})
        return objects


def set_env(container: dict[str, Any], name: str, value: object) -> None:
    """As a user's patch would: over what is there of that name."""
    rest = [each for each in container.get("env", []) if each["name"] != name]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    container["env"] = [*rest, {"name": name, "value": text}]
