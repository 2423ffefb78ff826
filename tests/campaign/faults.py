"""How each kind of fault comes about and is mended: what stands before `yield`, and behind it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import psycopg2
from support.disk import Disk
from support.kafka import Kafka
from support.proxy import Proxy

from campaign.plan import BY_NAME, Fault, Step
from campaign.side_topic import make_topic_again
from campaign.world import World

Actor = Callable[[World, Fault], Iterator[None]]
_ACTORS: dict[str, Actor] = {}
_JUMPS_S = (-2592000, -3600, -30, -2, 2, 30, 3600, 2592000)
_SESSIONS = ("read", "control", "wakeup", "wal", "slot", "")
_WAL_CHUNK = "SELECT pg_logical_emit_message(false, 'nobody', repeat('x', 500000))"


def inflict(world: World, step: Step) -> None:
    """All of the step's faults at once, for as long as each is to last, and mended."""
    with contextlib.ExitStack() as stack:
        for fault in step.faults:
            stack.enter_context(contextlib.contextmanager(_ACTORS[fault.kind])(world, fault))
        time.sleep(max(fault.hold_s for fault in step.faults))


def _actor(kind: str) -> Callable[[Actor], Actor]:
    def register(act: Actor) -> Actor:
        assert kind in BY_NAME
        _ACTORS[kind] = act
        return act

    return register


# -- relays --------------------------------------------------------------------------------------


def _relay_of(world: World, fault: Fault) -> int:
    """Mostly the owner."""
    owner = world.owner()
    other = len(world.relays) - 1 - owner
    return other if fault.target % 4 == 0 else owner


@_actor("relay killed")
def _relay_killed(world: World, fault: Fault) -> Iterator[None]:
    number = _relay_of(world, fault)
    world.relays[number].kill()
    world.owners_killed += 1
    world.replace(number)
    yield


@_actor("relay told to stop")
def _relay_told_to_stop(world: World, fault: Fault) -> Iterator[None]:
    number = _relay_of(world, fault)
    world.relays[number].stop()
    world.replace(number)
    yield


@_actor("relay frozen")
def _relay_frozen(world: World, fault: Fault) -> Iterator[None]:
    relay = world.relays[_relay_of(world, fault)]
    relay.pause()
    yield
    relay.resume()


@_actor("relay's clock jumps")
def _clock_jumps(world: World, fault: Fault) -> Iterator[None]:
    assert world.clock is not None
    world.clock.step(_JUMPS_S[fault.target % len(_JUMPS_S)])
    yield


# -- PostgreSQL ----------------------------------------------------------------------------------


@_actor("PostgreSQL killed")
def _postgres_killed(world: World, fault: Fault) -> Iterator[None]:
    world.postgres.kill()
    yield
    world.postgres.start()


@_actor("PostgreSQL restarted at once")
def _postgres_restarted(world: World, fault: Fault) -> Iterator[None]:
    world.postgres.stop("immediate")
    yield
    world.postgres.start()


@_actor("PostgreSQL frozen")
def _postgres_frozen(world: World, fault: Fault) -> Iterator[None]:
    world.postgres.pause()
    yield
    world.postgres.resume()


@_actor("PostgreSQL sessions ended")
def _sessions_ended(world: World, fault: Fault) -> Iterator[None]:
    session = _SESSIONS[fault.target % len(_SESSIONS)]
    world.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE %s",
        f"outbox-relay {session}%",
    )
    yield


@_actor("PostgreSQL's WAL disk full")
def _wal_full(world: World, fault: Fault) -> Iterator[None]:
    disk = world.servers.wal_disk
    if disk is None:
        yield from _not_permitted(world, fault)
        return
    with _filled(world, disk):
        with contextlib.suppress(psycopg2.Error):
            while True:
                world.sql(_WAL_CHUNK)
    yield
    disk.free()
    world.wait(lambda: _answers(world), "PostgreSQL to be back")


@_actor("PostgreSQL's table disk full")
def _table_full(world: World, fault: Fault) -> Iterator[None]:
    disk = world.servers.table_disk
    if disk is None:
        yield from _not_permitted(world, fault)
        return
    with _filled(world, disk):
        pass
    yield
    disk.free()


@contextlib.contextmanager
def _filled(world: World, disk: Disk) -> Iterator[None]:
    """Full by then, and the server has met it."""
    since = world.postgres.log_size()
    disk.fill()
    yield
    world.wait(
        lambda: world.postgres.log_contains("No space left on device", since=since), "a full disk"
    )


def _not_permitted(world: World, fault: Fault) -> Iterator[None]:
    world.skipped.append(f"{fault.kind}: no disk may be mounted here")
    yield


def _answers(world: World) -> bool:
    """A server that could not recover either has ended: it is started again."""
    if not world.postgres.running:
        world.postgres.start()
    with contextlib.suppress(psycopg2.Error):
        world.sql("SELECT 1")
        return True
    return False


# -- networks ------------------------------------------------------------------------------------


def _links(world: World, fault: Fault, server: str) -> Proxy:
    if server == "PostgreSQL":
        return world.proxies[_relay_of(world, fault)]
    return world.kafka.proxies[fault.target % world.kafka.brokers]


def _network(server: str) -> None:
    @_actor(f"{server} link dropped")
    def dropped(world: World, fault: Fault) -> Iterator[None]:
        _links(world, fault, server).drop()
        yield

    @_actor(f"{server} link half open")
    def half_open(world: World, fault: Fault) -> Iterator[None]:
        _links(world, fault, server).half_close(towards_client=bool(fault.target % 3))
        yield

    @_actor(f"{server} link silent")
    def silent(world: World, fault: Fault) -> Iterator[None]:
        link = _links(world, fault, server)
        link.pause()
        yield
        if fault.target % 2:
            link.drop()
        link.resume()

    @_actor(f"{server} link slow")
    def slow(world: World, fault: Fault) -> Iterator[None]:
        link = _links(world, fault, server)
        link.delay(0.02 + fault.target % 8 * 0.02)
        yield
        link.delay(0)


_network("PostgreSQL")
_network("broker")


# -- Kafka ---------------------------------------------------------------------------------------


def _leader(world: World, fault: Fault) -> int:
    """The node that leads one of the topic's partitions."""
    return world.kafka.leader(world.scene.topic, fault.target % 3)


def _killed(kafka: Kafka, nodes: list[int]) -> Iterator[None]:
    for node in nodes:
        kafka.kill(node)
    yield
    kafka.start()


@_actor("broker killed")
def _broker_killed(world: World, fault: Fault) -> Iterator[None]:
    yield from _killed(world.kafka, [0])


@_actor("all brokers killed")
def _all_brokers_killed(world: World, fault: Fault) -> Iterator[None]:
    yield from _killed(world.kafka, list(range(world.kafka.brokers)))


@_actor("leader killed")
def _leader_killed(world: World, fault: Fault) -> Iterator[None]:
    yield from _killed(world.kafka, [_leader(world, fault)])


@_actor("broker restarted")
def _broker_restarted(world: World, fault: Fault) -> Iterator[None]:
    world.kafka.stop()
    yield
    world.kafka.start()


@_actor("leader stopped")
def _leader_stopped(world: World, fault: Fault) -> Iterator[None]:
    node = _leader(world, fault)
    world.kafka.stop(node)
    yield
    world.kafka.start(node)


@_actor("broker frozen")
@_actor("leader frozen")
def _leader_frozen(world: World, fault: Fault) -> Iterator[None]:
    node = _leader(world, fault)
    world.kafka.pause(node)
    yield
    world.kafka.resume(node)


@_actor("too few replicas")
def _too_few_replicas(world: World, fault: Fault) -> Iterator[None]:
    """All three are wanted, and one is away."""
    world.need_replicas(3)
    yield from _killed(world.kafka, [fault.target % 3])
    world.need_replicas(2)


@_actor("brokers restarted one by one")
def _rolling_restart(world: World, fault: Fault) -> Iterator[None]:
    for node in range(world.kafka.brokers):
        world.kafka.stop(node)
        world.wait_seen(20)
        world.kafka.start(node)
    yield


# -- events --------------------------------------------------------------------------------------


@_actor("event refused")
def _event_refused(world: World, fault: Fault) -> Iterator[None]:
    world.refused += 1
    world.load.refuse(fault.target)
    yield


@_actor("topic made again")
def _topic_made_again(world: World, fault: Fault) -> Iterator[None]:
    yield from make_topic_again(world, fault)
