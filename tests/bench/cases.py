"""The cases: each returns rows of (line, value, unit, peer, ratio, goal, met), medians of paired runs."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench import Bench, cpu_us, median, memory_kib, quantile, wait_acknowledged
from support.wait import wait_for

# One event as a service writes it; :t is for watch_topic, in microseconds.
INSERT = (
    "INSERT INTO outbox (aggregatetype, aggregateid, type, payload) VALUES"
    " ('{kind}', 'key-' || :client_id, 'Tested', ('{{\"t\":' ||"
    " (extract(epoch FROM clock_timestamp()) * 1000000)::bigint ||"
    " ',\"pad\":\"' || repeat('x', 160) || '\"}}')::json)"
)


@dataclass
class Line:
    case: str
    what: str
    value: float
    unit: str
    peer: str = ""  # what it is compared with
    peer_value: float | None = None
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None


# -- drain ------------------------------------------------------------------------------------------


def drain_once(bench: Bench, events: int, size: int, mode: str) -> dict[str, float]:
    """From the relay's start until every row is published and acknowledged."""
    with bench.topic() as (kind, _):
        bench.fill(kind, events, size)
        begin = time.monotonic()
        with bench.relay({"ack.mode": mode}) as relay:
            relay.process.wait_until(lambda: relay.get("/livez")[0] == 200, "it lived", 30)
            seconds = wait_acknowledged(relay, events, 300) - begin
            result = {
                "rate": events / seconds,
                "cpu": cpu_us(relay.process.pid) / events,
                "peak": memory_kib(relay.process.pid, "VmHWM"),
            }
    bench.empty()
    return result


def producer_once(bench: Bench, events: int, size: int) -> dict[str, float]:
    with bench.topic() as (_, topic):
        done = bench.producer(topic, events, size)
    return {
        "rate": events / done["seconds"],
        "cpu": done["cpu_us"] / events,
        "peak": done["peak_kib"],
    }


def drain(bench: Bench) -> list[Line]:
    events, rounds = (100_000, 1) if bench.quick else (1_000_000, 3)
    lines = []
    for size in (200, 1000):
        runs: dict[str, list[dict[str, float]]] = {"peer": [], "delete": [], "mark": []}
        for _ in range(rounds):
            runs["peer"].append(producer_once(bench, events, size))
            for mode in ("delete", "mark"):
                runs[mode].append(drain_once(bench, events, size, mode))
        lines += drain_lines(events, size, runs)
    return lines


def drain_lines(events: int, size: int, runs: dict[str, list[dict[str, float]]]) -> list[Line]:
    def of(mode: str, name: str) -> float:
        return median([run[name] for run in runs[mode]])

    lines = []
    peer = "pure producer"
    for mode in ("delete", "mark"):
        what = f"{events:,} events of {size} B, {mode}"
        ratio = median([a["rate"] / b["rate"] for a, b in zip(runs[mode], runs["peer"])])
        goal = mode == "delete"
        lines.append(
            Line("drain", what, of(mode, "rate"), "events/s", peer, of("peer", "rate"), ratio)
        )
        if goal:
            lines[-1].goal, lines[-1].met = ">= 0.33", ratio >= 0.33
        more = of(mode, "cpu") - of("peer", "cpu")
        lines.append(
            Line("drain", f"{what}: CPU", of(mode, "cpu"), "us/event", peer, of("peer", "cpu"))
        )
        lines[-1].ratio = of(mode, "cpu") / of("peer", "cpu")
        if goal:
            lines[-1].goal, lines[-1].met = "peer + 2 us", more <= 2.0
        lines.append(
            Line("drain", f"{what}: peak memory", of(mode, "peak") / 1024, "MiB", peer)
        )
        lines[-1].peer_value = of("peer", "peak") / 1024
        lines[-1].ratio = of(mode, "peak") / of("peer", "peak")
    return lines


# -- latency ----------------------------------------------------------------------------------------


def latency_once(
    bench: Bench, rate: int, seconds: float, settings: dict[str, object] | None = None
) -> dict[str, float]:
    """One-row transactions of 8 connections, from their clock to the consumer's (the same one)."""
    clients = 8
    count = bench.transactions(seconds, clients, rate)
    with bench.topic() as (kind, topic), bench.relay(settings) as relay:
        relay.wait_ready()
        if settings:
            wait_for(lambda: relay.status()["source"]["mode"] == "wal", "the stream", 30)
        with bench.watch(topic, count, skip_s=1, timeout_s=seconds * 3 + 30) as watch:
            cpu = cpu_us(relay.process.pid)
            wrote = bench.pgbench(INSERT.format(kind=kind), seconds, clients, 1, rate)
            seen = watch.result()
            cpu = cpu_us(relay.process.pid) - cpu
        result = {name: seen[f"{name}_us"] / 1000 for name in ("p50", "p90", "p99", "max")}
        result["cpu"] = cpu / count
        result["commit"] = wrote["commit_ms"]
        result["report_p50"] = quantile(relay, 0.5) * 1000
        result["report_p99"] = quantile(relay, 0.99) * 1000
    bench.empty()
    return result


def latency_floor(bench: Bench, rate: int, seconds: float) -> dict[str, float]:
    """The same records by the pure producer: what Kafka and its clients take by themselves."""
    count = int(rate * seconds)
    with bench.topic() as (_, topic):
        with bench.watch(topic, count, skip_s=1, timeout_s=seconds * 3 + 30) as watch:
            done = bench.producer(topic, count, 200, rate)
            seen = watch.result()
    result = {name: seen[f"{name}_us"] / 1000 for name in ("p50", "p90", "p99", "max")}
    result["cpu"] = done["cpu_us"] / count
    return result


def latency(bench: Bench) -> list[Line]:
    seconds, rounds = (3.0, 1) if bench.quick else (15.0, 2)
    lines = []
    for rate in (100, 1000, 5000):
        floors, runs = [], []
        for _ in range(rounds):
            floors.append(latency_floor(bench, rate, seconds / 2))
            runs.append(latency_once(bench, rate, seconds))
        goals: dict[str, tuple[str, float]] = {}
        if rate == 1000:
            goals = {"p50": ("<= 3 ms", 3.0), "p99": ("<= 10 ms", 10.0)}
        for name in ("p50", "p99", "max"):
            value, floor = median([r[name] for r in runs]), median([f[name] for f in floors])
            line = Line("latency", f"{rate:,} ev/s, to the consumer: {name}", value, "ms")
            line.peer, line.peer_value, line.ratio = "producer alone", floor, value / floor
            if name in goals:
                line.goal, line.met = goals[name][0], value <= goals[name][1]
            lines.append(line)
        for name, what in (
            ("report_p50", "to the delivery report: p50, at most"),
            ("report_p99", "to the delivery report: p99, at most"),
            ("commit", "of it the writer's own transaction, mean"),
        ):
            lines.append(Line("latency", f"{rate:,} ev/s, {what}", median([r[name] for r in runs]), "ms"))
        line = Line("latency", f"{rate:,} ev/s: CPU", median([r["cpu"] for r in runs]), "us/event")
        line.peer, line.peer_value = "producer alone", median([f["cpu"] for f in floors])
        line.ratio = line.value / line.peer_value
        lines.append(line)
    return lines


# -- writers ----------------------------------------------------------------------------------------


def writers_once(bench: Bench, how: str, seconds: float) -> dict[str, float]:
    """32 clients, one-row transactions, with the relay in that state."""
    with bench.topic() as (kind, _):
        script = INSERT.format(kind=kind)
        state = "DISABLE" if how == "no trigger" else "ENABLE"
        bench.sql(f"ALTER TABLE outbox {state} TRIGGER outbox_wake")
        bench.sql("CHECKPOINT")
        try:
            if how in ("no trigger", "relay away"):
                return bench.pgbench(script, seconds, 32, 2)
            with bench.relay() as relay:
                relay.wait_ready()
                wrote = bench.pgbench(script, 1, 4, 1)["count"]
                wait_acknowledged(relay, int(wrote), 30)  # it has been at work
                if how == "relay stuck":
                    bench.kafka.pause()
                cpu = cpu_us(relay.process.pid)
                result = bench.pgbench(script, seconds, 32, 2)
                result["relay_cpu"] = (cpu_us(relay.process.pid) - cpu) / result["count"]
                relay.kill()
            return result
        finally:
            bench.kafka.resume()
            bench.sql("ALTER TABLE outbox ENABLE TRIGGER outbox_wake")
            bench.empty()


def writers(bench: Bench) -> list[Line]:
    seconds, rounds = (3.0, 1) if bench.quick else (8.0, 4)
    states = ("no trigger", "relay away", "relay awake", "relay stuck")
    runs: dict[str, list[dict[str, float]]] = {state: [] for state in states}
    for turn in range(rounds):
        for state in states if turn % 2 == 0 else reversed(states):
            runs[state].append(writers_once(bench, state, seconds))
    base = median([run["tps"] for run in runs["no trigger"]])
    lines = []
    for state in states[1:]:
        ratio = median([a["tps"] / b["tps"] for a, b in zip(runs[state], runs["no trigger"])])
        value = median([run["tps"] for run in runs[state]])
        line = Line("writers", f"32 clients, trigger, {state}", value, "commits/s", "no trigger")
        line.peer_value, line.ratio, line.goal, line.met = base, ratio, ">= 0.85", ratio >= 0.85
        lines.append(line)
    awake = runs["relay awake"]
    lines.append(
        Line("writers", "relay awake: its CPU", median([r["relay_cpu"] for r in awake]), "us/commit")
    )
    return lines


# -- idle -------------------------------------------------------------------------------------------


def idle(bench: Bench) -> list[Line]:
    seconds = 10.0 if bench.quick else 20.0
    server = bench.postgres
    bench.empty()
    with bench.topic() as (kind, topic), bench.relay() as relay:
        relay.wait_ready()
        # It has been at work, so that everything it ever touches is resident.
        with bench.watch(topic, 1000) as watch:
            bench.pgbench(INSERT.format(kind=kind), 1, 8, 1, 1000)
            watch.result()
        wait_acknowledged(relay, 1000, 20)
        bench.sql("ALTER SYSTEM SET log_min_duration_statement = 0")
        bench.sql("SELECT pg_reload_conf()")
        time.sleep(1)  # not a wait for anything: what is left of the work and of our own questions
        since = server.log_size()
        cpu = cpu_us(relay.process.pid)
        time.sleep(seconds)
        cpu = cpu_us(relay.process.pid) - cpu
        with server.log_path.open("rb") as log:
            log.seek(since)
            text = log.read().decode(errors="replace")
        bench.sql("ALTER SYSTEM RESET log_min_duration_statement")
        bench.sql("SELECT pg_reload_conf()")
        queries = re.findall(r"/outbox-relay[^\n]*duration: [\d.]+ ms  (?:statement|execute)", text)
        resident = memory_kib(relay.process.pid, "VmRSS") / 1024
    rate = len(queries) / seconds
    return [
        Line("idle", "queries", rate, "/s", goal="<= 2 /s", met=rate <= 2),
        Line("idle", "CPU", cpu / seconds / 10000, "% of a core"),
        Line("idle", "resident", resident, "MiB", goal="<= 32 MB", met=resident * 1.048576 <= 32),
    ]


# -- start ------------------------------------------------------------------------------------------


def start(bench: Bench) -> list[Line]:
    rounds = 3 if bench.quick else 9
    times, empty = [], []
    with bench.topic() as (kind, topic):
        for _ in range(rounds):
            insert = INSERT.format(kind=kind).replace(":client_id", "1")
            bench.sql(insert)
            with bench.watch(topic, 1) as watch:
                begin = time.time()
                with bench.relay() as relay:
                    seen = watch.result()
                    wait_acknowledged(relay, 1, 10)
            times.append(seen["first_us"] / 1000 - begin * 1000)
    value = median(times)
    return [
        Line("start", "process start to first record consumed", value, "ms", goal="<= 500 ms", met=value <= 500),
        Line("start", "the same, slowest", max(times), "ms"),
    ]


# -- wal --------------------------------------------------------------------------------------------


def decode_once(bench: Bench) -> float:
    """Seconds that pg_recvlogical takes for what the slot `peer` has waiting, thrown away."""
    end = bench.sql("SELECT pg_current_wal_flush_lsn()")
    begin = time.monotonic()
    subprocess.run(
        [bench.postgres.bin / "pg_recvlogical", "-d", bench.postgres.uri(bench.db), "--slot=peer"]
        + ["--start", "--no-loop", "-f", "/dev/null", f"--endpos={end}", "-o", "proto_version=1"]
        + ["-o", "publication_names=outbox_relay", "-o", "binary=true"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=True,
    )
    return time.monotonic() - begin


def wal_once(bench: Bench, events: int, each: int, slot: str) -> dict[str, float]:
    """The relay streams, and stands still while so many rows a transaction are committed; from its
    going on until all of them are acknowledged. Then the same WAL through pg_recvlogical."""
    bench.sql("SELECT pg_create_logical_replication_slot('peer', 'pgoutput')")
    try:
        with bench.topic() as (kind, _), bench.relay(
            {"source.mode": "wal", "source.slot": slot, "lease.ttl_ms": 600000}
        ) as relay:
            relay.wait_ready()
            wait_for(lambda: relay.status()["source"]["mode"] == "wal", "the stream", 30)
            first = int(bench.pgbench(INSERT.format(kind=kind), 1, 1, 1, 100)["count"])
            wait_acknowledged(relay, first, 30)
            relay.pause()
            if each == 1:
                bench.sql("ALTER SYSTEM SET synchronous_commit = off")
                bench.sql("SELECT pg_reload_conf()")
                bench.pgbench(INSERT.format(kind=kind), events / 1e9, 8, 2, int(1e9))
                bench.sql("ALTER SYSTEM RESET synchronous_commit")
                bench.sql("SELECT pg_reload_conf()")
            else:
                bench.sql(
                    "INSERT INTO outbox (aggregatetype, aggregateid, type, payload)"
                    f" SELECT '{kind}', 'key-' || n % 10000, 'Tested',"
                    " ('{\"n\":' || n || ',\"pad\":\"' || repeat('x', 170) || '\"}')::json"
                    f" FROM generate_series(1, {events}) n"
                )
            bench.sql("CHECKPOINT")
            cpu = cpu_us(relay.process.pid)
            begin = time.monotonic()
            relay.resume()
            seconds = wait_acknowledged(relay, first + events, 300) - begin
            cpu = cpu_us(relay.process.pid) - cpu
        peer = decode_once(bench)
    finally:
        bench.sql("SELECT pg_drop_replication_slot('peer')")
    if slot:
        bench.sql(f"SELECT pg_drop_replication_slot('{slot}')")
        bench.sql("UPDATE outbox_lease SET slot = NULL")
    bench.empty()
    return {"rate": events / seconds, "peer": events / peer, "cpu": cpu / events}


def wal(bench: Bench) -> list[Line]:
    rounds = 1 if bench.quick else 3
    lines = []
    with bench.logical():
        small, large = (32_000, 100_000) if bench.quick else (320_000, 1_000_000)
        for events, each, slot in ((small, 1, ""), (large, 0, ""), (small, 1, "named"), (large, 0, "named")):
            runs = [wal_once(bench, events, each or events, slot) for _ in range(rounds)]
            what = f"{events:,} " + ("one-row transactions" if each == 1 else "rows of one transaction")
            what += ", named slot" if slot else ""
            line = Line("wal", what, median([r["rate"] for r in runs]), "events/s", "pg_recvlogical")
            line.peer_value = median([r["peer"] for r in runs])
            line.ratio = median([r["rate"] / r["peer"] for r in runs])
            line.goal, line.met = ">= 0.9", line.ratio >= 0.9
            value = median([r["cpu"] for r in runs])
            lines += [line, Line("wal", f"{what}: CPU", value, "us/event", goal="<= 5 us", met=value <= 5)]
        seconds = 3.0 if bench.quick else 15.0
        runs = [latency_once(bench, 1000, seconds, {"source.mode": "wal"}) for _ in range(2)]
        for name, goal in (("p50", 3.0), ("p99", 10.0)):
            value = median([r[name] for r in runs])
            line = Line("wal", f"1,000 ev/s, to the consumer: {name}", value, "ms")
            line.goal, line.met = f"<= {goal:.0f} ms", value <= goal
            lines.append(line)
    return lines


# -- beside what waits --------------------------------------------------------------------------------

BEHIND = """
INSERT INTO outbox (aggregatetype, aggregateid, type, payload)
SELECT '%s', 'waits-' || n %% %d, 'Tested', '{"n":1}'::json FROM generate_series(1, %d) n
"""
PARKED = """
INSERT INTO outbox_parked (seq, id, topic, aggregateid, class, error)
SELECT DISTINCT ON (aggregateid) seq, id, 'outbox.event.' || aggregatetype, aggregateid, 'row', 'for the bench'
FROM outbox ORDER BY aggregateid, seq
"""
FLOWING = """
INSERT INTO outbox (aggregatetype, aggregateid, type, payload)
SELECT '{kind}', 'key-' || n % 1000, 'Tested',
    ('{{"n":' || n || ',"pad":"' || repeat('x', 170) || '"}}')::json
FROM generate_series(1, 1000) n;
"""


def beside_once(bench: Bench, waiting: Sequence[str], metric: tuple[str, int], seconds: float) -> float:
    """Events a second that are published while a client writes as fast as it can, beside what these
    statements leave waiting, once the relay knows of it."""
    bench.empty()
    with bench.topic() as (kind, _):
        for statement in waiting:
            bench.sql(statement.replace("{kind}", kind))
        bench.sql("VACUUM ANALYZE outbox")
        with bench.relay({"failure.policy": "park"}) as relay:
            relay.wait_ready()
            relay.wait_metric(*metric, timeout=60)
            wait_for(lambda: relay.status()["source"]["caught_up"], "the first read", 60)
            begin = time.monotonic()
            count = int(bench.pgbench(FLOWING.format(kind=kind), seconds, 1, 1)["count"]) * 1000
            spent = wait_acknowledged(relay, count, 300) - begin
    bench.sql("TRUNCATE outbox_parked")
    bench.empty()
    return count / spent


def beside(bench: Bench, case: str, what: str, waiting: Sequence[str], metric: tuple[str, int]) -> list[Line]:
    seconds, rounds = (5.0, 1) if bench.quick else (25.0, 3)
    runs = [
        (beside_once(bench, waiting, metric, seconds), beside_once(bench, (), (metric[0], 0), seconds))
        for _ in range(rounds)
    ]
    line = Line(case, f"{what}: the others", median([a for a, _ in runs]), "events/s", "nothing waits")
    line.peer_value = median([b for _, b in runs])
    line.ratio = median([a / b for a, b in runs])
    line.goal, line.met = ">= 0.9", line.ratio >= 0.9
    return [line]


def parked(bench: Bench) -> list[Line]:
    keys, rows = (1000, 50_000) if bench.quick else (10_000, 1_000_000)
    waiting = (BEHIND % ("{kind}", keys, rows), PARKED)
    return beside(bench, "parked", f"{keys:,} keys parked, {rows:,} events behind them", waiting, ("parked_events", keys))


def away(bench: Bench) -> list[Line]:
    rows = 50_000 if bench.quick else 1_000_000
    return beside(bench, "away", f"{rows:,} events wait for a topic that is away", (BEHIND % ("away", 10_000, rows),), ("topics_away", 1))


# -- guard ------------------------------------------------------------------------------------------

EVENT = "'order', '4711', 'OrderPlaced', '{\"total\": 12.30}'"
INTO = "outbox (aggregatetype, aggregateid, type, payload)"
LOOP = "DO $$ BEGIN FOR i IN 1..{rows} LOOP %s; COMMIT; END LOOP; END $$"
WRITING = {
    "one row a transaction": LOOP % f"INSERT INTO {INTO} VALUES ({EVENT})",
    "the same by outbox_emit()": LOOP % f"PERFORM outbox_emit({EVENT})",
    "INSERT ... SELECT": f"INSERT INTO {INTO} SELECT {EVENT} FROM generate_series(1, {{rows}})",
    "COPY": f"COPY {INTO} FROM PROGRAM $$yes 'order,4711,Placed,1' | head -n {{rows}}$$ (FORMAT csv)",
}


def guard_once(bench: Bench, how: str, rows: int, guarded: bool) -> float:
    """Microseconds a row of one session that waits for no disk."""
    bench.sql(f"ALTER TABLE outbox {'ENABLE' if guarded else 'DISABLE'} TRIGGER outbox_guard")
    bench.empty()
    begin = time.monotonic()
    bench.postgres.psql(
        bench.db, WRITING[how].replace("{rows}", str(rows)), env={"PGOPTIONS": "-csynchronous_commit=off"}
    )
    return (time.monotonic() - begin) * 1e6 / rows


def guard(bench: Bench) -> list[Line]:
    rows, rounds = (20_000, 1) if bench.quick else (50_000, 9)
    lines = []
    for how in WRITING:
        peer = "one row a transaction" if "emit" in how else how
        runs = []
        for _ in range(rounds):
            plain = guard_once(bench, peer, rows, False)
            runs.append((guard_once(bench, how, rows, True), plain))
        line = Line("guard", f"guarded, {how}", median([a for a, _ in runs]), "us/row")
        line.peer, line.peer_value = "no guard", median([b for _, b in runs])
        line.ratio = median([a / b for a, b in runs])
        lines.append(line)
    bench.empty()
    return lines


CASES = {"guard": guard, "parked": parked, "away": away, "drain": drain, "latency": latency, "writers": writers, "idle": idle, "start": start, "wal": wal}
