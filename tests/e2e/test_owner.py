"""Several relays on one outbox: one owns it, the others stand by and take over."""

from __future__ import annotations

import pathlib
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from support.kafka import Kafka
from support.postgres import Postgres
from support.relay import Relay, command
from support.scene import WINDOW, Scene
from support.wait import wait_for


@pytest.fixture
def scene(postgres: Postgres, kafka: Kafka, tmp_path: pathlib.Path) -> Iterator[Scene]:
    made = Scene(postgres, kafka, tmp_path)
    yield made
    made.close()


def _pair(scene: Scene, **settings: object) -> tuple[Relay, Relay]:
    """An owner and a standby; each is known to the server by its own name."""
    relays = []
    for name in ("first", "second"):
        uri = f"{scene.postgres.uri(scene.db)}?application_name={name}"
        relays.append(scene.relay({"postgres.uri": uri, **settings}).wait_ready())
        relays[0].wait_metric("owner", 1)
    return relays[0], relays[1]


def test_one_owns_the_other_stands_by(scene: Scene) -> None:
    owner, standby = _pair(scene)
    assert standby.metric("owner") == 0
    assert owner.status()["state"] == "owner"
    seen = standby.status()
    assert seen["state"] == "standby"
    assert seen["lease"]["owner"] == owner.status()["lease"]["owner"]
    assert seen["lease"]["epoch"] == owner.metric("lease_epoch") == standby.metric("lease_epoch")
    assert 0 < seen["lease"]["expires_in_ms"] <= 8000
    standby.wait_metric("kafka_up", 1)  # to stand by it need not have reached Kafka yet
    assert standby.get("/readyz?verbose") == (200, "+postgres ok\n+kafka ok\n+standby\nok\n")
    shown = command("status", settings={"http.listen": standby.settings["http.listen"]})
    assert shown.returncode == 0 and "standby" in shown.stdout
    with scene.load():
        scene.wait_seen(500)
        assert standby.metric("owner") == 0
    scene.judge()
    assert standby.metric("acknowledged_events_total") == 0
    assert standby.status()["published"] == 0
    assert standby.metric("inflight_events") == 0


def test_a_third_and_fourth_stand_by_too(scene: Scene) -> None:
    relays = [scene.relay() for _ in range(4)]
    for relay in relays:
        relay.wait_ready()
    with scene.load():
        while relays:
            wait_for(lambda: any(r.metric("owner") for r in relays), "an owner")
            scene.wait_seen(100)
            owners = [r for r in relays if r.metric("owner")]
            assert len(owners) == 1
            if len(relays) == 1:
                break
            owners[0].stop()
            relays.remove(owners[0])
    scene.judge()


def _owning(relay: Relay, since: float, within_s: float, what: str) -> None:
    wait_for(lambda: relay.log_match('"owning the outbox'), "a take-over", within_s + 5)
    took = time.monotonic() - since
    print(f"taken over {took:.3f} s after {what}")
    assert took <= within_s


def test_take_over_after_a_clean_stop(scene: Scene) -> None:
    first, second = _pair(scene)
    with scene.load():
        scene.wait_seen(200)
        first.process.signal(signal.SIGTERM)
        begun = time.monotonic()
        _owning(second, begun, 1.0, "SIGTERM under load")
        assert first.wait_exit() == 0
        scene.wait_seen(200)
    scene.judge()


def test_take_over_after_kill_9(scene: Scene) -> None:
    first, second = _pair(scene)
    with scene.load(pause_s=0.01):
        scene.wait_seen(200)
        first.kill()
        _owning(second, time.monotonic(), 10.0, "kill -9 under load")
        scene.wait_seen(200)
    scene.judge(max_duplicates=WINDOW)


# Every acknowledgement leaves a line: which session removed how many rows in which epoch.
_WITNESS = """
CREATE TABLE witness (pid int, name text, rows bigint, epoch bigint);
CREATE FUNCTION witness() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.witness
    SELECT pg_backend_pid(), current_setting('application_name'), count(*),
        (SELECT epoch FROM public.outbox_lease) FROM gone;
    RETURN NULL;
END $$;
CREATE TRIGGER witness AFTER DELETE ON outbox REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION witness();
"""


def test_a_zombie_acknowledges_nothing_and_steps_down(scene: Scene) -> None:
    """Stopped for longer than its lease, in the middle of its work, while another goes on."""
    scene.sql(_WITNESS)
    rounds = 3
    zombie, other = _pair(scene, **{"lease.ttl_ms": 2000})
    with scene.load(pause_s=0.005):
        for _ in range(rounds):
            scene.wait_seen(200)
            zombie.pause()
            other.wait_metric("owner", 1)
            scene.wait_seen(200)
            zombie.resume()
            zombie.wait_metric("owner", 0)
            wait_for(lambda: zombie.status()["state"] == "standby", "the zombie to stand by")
            assert zombie.get("/readyz")[0] == 200
            assert other.metric("owner") == 1
            scene.wait_seen(200)
            zombie, other = other, zombie
    scene.judge(max_duplicates=rounds * WINDOW)
    by_epoch = scene.sql(
        "SELECT epoch, array_agg(DISTINCT name) FROM witness WHERE rows > 0 GROUP BY 1 ORDER BY 1"
    )
    assert by_epoch == [
        (n + 1, [("first", "second")[n % 2]]) for n in range(rounds + 1)
    ], "each epoch's rows were acknowledged by its owner alone"


# What a test of clocks preloads: the wall clock is hours off, all other clocks are true.
_SKEW = """
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long skew(void)
{
    const char *text = getenv("WALL_CLOCK_SKEW_S");

    return text == NULL ? 0 : atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    int rc = (int)syscall(SYS_clock_gettime, clock, ret);

    if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        ret->tv_sec += skew();
    return rc;
}

int gettimeofday(struct timeval *restrict ret, void *restrict zone)
{
    int rc = (int)syscall(SYS_gettimeofday, ret, zone);

    ret->tv_sec += skew();
    return rc;
}

time_t time(time_t *ret)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (ret != NULL)
        *ret = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.mark.parametrize("skew_s", [-7200, 7200])
def test_wall_clocks_may_differ(scene: Scene, tmp_path: pathlib.Path, skew_s: int) -> None:
    source = tmp_path / "skew.c"
    source.write_text(_SKEW)
    library = tmp_path / "skew.so"
    subprocess.run(
        ["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, source], check=True
    )
    skewed = {
        "LD_PRELOAD": str(library),
        "WALL_CLOCK_SKEW_S": str(skew_s),
        "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:verify_asan_link_order=0",
    }
    settings = {"lease.ttl_ms": 2000}
    true = scene.relay(settings).wait_ready()
    true.wait_metric("owner", 1)
    false = scene.relay(settings, env=skewed).wait_ready()
    ts = time.mktime(time.strptime(false.log_lines()[0]["ts"][:19], "%Y-%m-%dT%H:%M:%S"))
    assert abs(ts - time.mktime(time.gmtime()) - skew_s) < 600, "its clock is off"
    with scene.load(pause_s=0.01):
        # Longer than a lease: whoever compared wall clocks would have taken over by now.
        renewed = _renewed_at(scene)
        wait_for(lambda: _renewed_at(scene) > renewed + 3, "the lease to be renewed and renewed")
        assert (true.metric("owner"), false.metric("owner")) == (1, 0)
        true.kill()
        false.wait_metric("owner", 1)
        scene.wait_seen(100)
        back = scene.relay(settings).wait_ready()
        wait_for(lambda: back.status()["uptime_s"] >= 5, "two leases' time")
        assert (false.metric("owner"), back.metric("owner")) == (1, 0)
        false.stop()
        back.wait_metric("owner", 1)
        scene.wait_seen(100)
    scene.judge(max_duplicates=WINDOW)


def _renewed_at(scene: Scene) -> float:
    """Seconds since the epoch of the last renewal, by the database's clock."""
    return float(scene.sql("SELECT extract(epoch FROM renewed_at) FROM outbox_lease")[0][0])
