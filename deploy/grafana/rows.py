"""What the dashboard shows, row by row."""

from __future__ import annotations

from kinds import (
    AMBER,
    BLUE,
    GREEN,
    IS_UP,
    NONE_IS_GOOD,
    RED,
    Json,
    heatmap,
    increase,
    of,
    rate,
    series,
    stat,
    states,
    steps,
    table,
    target,
    words,
)

HEALTH = [
    stat(
        "Owner",
        4,
        f"{of('outbox_relay_owner')} == 1",
        legend="{{instance}}",
        text="value_and_name",
        mappings=words(_1=("owns it", GREEN)),
        none=("nobody", RED),
        runbook="nobody-publishes",
    ),
    stat(
        "Events",
        3,
        f"max({of('outbox_relay_stalled')})",
        mappings=words(_0=("flow", GREEN), _1=("stalled", RED)),
        runbook="it-is-not-ready",
    ),
    stat(
        "Not ready",
        2,
        f"sum(1 - {of('outbox_relay_ready')})",
        thresholds=NONE_IS_GOOD,
        note="How many of the relays are not.",
        runbook="it-is-not-ready",
    ),
    stat(
        "Oldest waits",
        3,
        f"max({of('outbox_relay_oldest_unpublished_age_seconds')})",
        unit="s",
        thresholds=steps((None, GREEN), (30, AMBER), (60, RED)),
        runbook="events-are-late",
    ),
    stat(
        "Backlog",
        3,
        f"max({of('outbox_relay_backlog_events')})",
        thresholds=steps((None, GREEN), (1000, AMBER)),
        runbook="events-are-late",
    ),
    stat(
        "Parked",
        2,
        f"max({of('outbox_relay_parked_events')})",
        thresholds=NONE_IS_GOOD,
        runbook="events-are-parked",
    ),
    stat(
        "Dead",
        2,
        f"max({of('outbox_relay_dead_events')})",
        thresholds=NONE_IS_GOOD,
        runbook="events-are-dead",
    ),
    stat(
        "PostgreSQL",
        2,
        f"min({of('outbox_relay_postgres_up')})",
        mappings=IS_UP,
        note="Away as soon as one of the relays says so.",
        runbook="postgresql-is-away",
    ),
    stat(
        "Kafka",
        3,
        f"min({of('outbox_relay_kafka_up')})",
        mappings=IS_UP,
        note="Away as soon as one of the relays says so.",
        runbook="kafka-is-away",
    ),
    states(
        "Who owns the outbox",
        12,
        [target(of("outbox_relay_owner"), "{{instance}}")],
        words(_0=("standby", BLUE), _1=("owner", GREEN)),
        runbook="nobody-publishes",
    ),
    states(
        "What is away",
        12,
        [
            target(of("outbox_relay_postgres_up"), "PostgreSQL for {{instance}}"),
            target(of("outbox_relay_kafka_up"), "Kafka for {{instance}}"),
        ],
        IS_UP,
        runbook="kafka-is-away",
    ),
]

FLOW = [
    series(
        "Published, by topic",
        12,
        [target(f"sum by (topic) ({rate('outbox_relay_published_events_total')})", "{{topic}}")],
        unit="eps",
        stacked=True,
    ),
    series(
        "Published and acknowledged",
        12,
        [
            target(f"sum({rate('outbox_relay_published_events_total')})", "published"),
            target(f"sum({rate('outbox_relay_acknowledged_events_total')})", "acknowledged"),
        ],
        unit="eps",
        note="Where the second stays below the first, PostgreSQL is slower than Kafka.",
    ),
    series(
        "Age of the oldest event",
        12,
        [target(f"max({of('outbox_relay_oldest_unpublished_age_seconds')})", "age")],
        unit="s",
        limit=60,
        runbook="events-are-late",
    ),
    series(
        "Backlog",
        12,
        [target(f"max({of('outbox_relay_backlog_events')})", "events")],
        unit="short",
        runbook="events-are-late",
    ),
]

_BUCKETS = "outbox_relay_publish_latency_seconds_bucket"


def quantile(q: float) -> Json:
    expression = f"histogram_quantile({q:g}, sum by (le) ({rate(_BUCKETS)}))"
    return target(expression, f"{q * 100:g} %")


LATENCY = [
    heatmap("Latency", 12, f"sum by (le) ({increase(_BUCKETS)})", unit="s"),
    series(
        "Latency, by share of the events",
        12,
        [
            quantile(0.5),
            quantile(0.95),
            quantile(0.99),
            target(
                f"sum({rate('outbox_relay_publish_latency_seconds_sum')})"
                f" / sum({rate('outbox_relay_publish_latency_seconds_count')})",
                "mean",
            ),
        ],
        unit="s",
    ),
    series(
        "In flight",
        12,
        [target(of("outbox_relay_inflight_events"), "{{instance}}")],
        unit="short",
        note="At most `window.events`.",
    ),
    series(
        "Bytes in flight",
        12,
        [target(of("outbox_relay_inflight_bytes"), "{{instance}}")],
        unit="bytes",
        note="At most `window.bytes`.",
    ),
]

TROUBLE = [
    series(
        "Deliveries that failed",
        12,
        [
            target(
                f"sum by (class, error) ({rate('outbox_relay_delivery_errors_total')})",
                "{{class}}: {{error}}",
            )
        ],
        unit="eps",
        runbook="deliveries-fail",
    ),
    series(
        "Parked and dead",
        12,
        [
            target(f"max({of('outbox_relay_parked_events')})", "parked"),
            target(f"max({of('outbox_relay_dead_events')})", "dead"),
        ],
        unit="short",
        runbook="events-are-parked",
    ),
    series(
        "Topics that are away",
        8,
        [target(f"max({of('outbox_relay_topics_away')})", "topics")],
        unit="short",
        runbook="deliveries-fail",
    ),
    series(
        "Producers made anew",
        8,
        [target(f"sum({increase('outbox_relay_producer_rebuilds_total')})", "producers")],
        unit="short",
        runbook="deliveries-fail",
    ),
    series(
        "Rows that the sweep found",
        8,
        [target(f"sum({increase('outbox_relay_swept_events_total')})", "rows")],
        unit="short",
    ),
]

SOURCE = [
    states(
        "How events are found",
        8,
        [
            target(
                f"max by (mode) ({of('outbox_relay_source_mode')}"
                f" and ignoring (mode) {of('outbox_relay_owner')} == 1)",
                "{{mode}}",
            )
        ],
        words(_0=("-", "transparent"), _1=("in use", GREEN)),
        runbook="events-are-found-by-interval",
    ),
    series(
        "Connections made again",
        8,
        [target(f"sum by (server) ({increase('outbox_relay_reconnects_total')})", "{{server}}")],
        unit="short",
        runbook="it-changes-hands-or-reconnects",
    ),
    series(
        "The lease's epoch",
        8,
        [target(f"max({of('outbox_relay_lease_epoch')})", "epoch")],
        unit="short",
        note="It rises by 1 when the outbox changes its owner, and when it is truncated.",
        runbook="it-changes-hands-or-reconnects",
    ),
    series(
        "WAL that the slot holds back",
        12,
        [target(f"max({of('outbox_relay_slot_retained_wal_bytes')})", "WAL")],
        unit="bytes",
        runbook="a-slot-holds-back-wal",
    ),
    states(
        "Slot and retention",
        6,
        [
            target(f"max({of('outbox_relay_slot_over_budget')})", "slot over its budget"),
            target(f"max({of('outbox_relay_retention_failing')})", "retention fails"),
        ],
        words(_0=("no", GREEN), _1=("yes", RED)),
        runbook="a-slot-holds-back-wal",
    ),
    series(
        "Partitions dropped",
        6,
        [target(f"sum({increase('outbox_relay_partitions_dropped_total')})", "partitions")],
        unit="short",
        runbook="old-partitions-stay",
    ),
]

PROCESS = [
    series(
        "Processor",
        6,
        [target(rate("process_cpu_seconds_total"), "{{instance}}")],
        unit="percentunit",
        note="1 is one processor; the relay has one thread besides librdkafka's.",
    ),
    series(
        "Memory",
        6,
        [target(of("process_resident_memory_bytes"), "{{instance}}")],
        unit="bytes",
    ),
    series(
        "File descriptors",
        6,
        [
            target(of("process_open_fds"), "{{instance}}"),
            target(f"min({of('process_max_fds')})", "limit"),
        ],
        unit="short",
    ),
    series(
        "Runs for",
        6,
        [target(f"time() - {of('process_start_time_seconds')}", "{{instance}}")],
        unit="s",
        runbook="it-has-ended",
    ),
    table(
        "Versions",
        {"": of("outbox_relay_build_info")},
        {each: "" for each in ("instance", "version", "librdkafka", "libpq", "libuv")},
        hidden={"Value": True, "job": True},
        height=5,
    ),
]


def each_outbox(metric: str, how: str = "max") -> str:
    return f'{how} by (namespace, job) ({metric}{{namespace=~"$namespace"}})'


FLEET = [
    table(
        "Every outbox",
        {
            "relays": each_outbox("outbox_relay_owner", "count"),
            "owners": each_outbox("outbox_relay_owner", "sum"),
            "stalled": each_outbox("outbox_relay_stalled"),
            "oldest, s": each_outbox("outbox_relay_oldest_unpublished_age_seconds"),
            "backlog": each_outbox("outbox_relay_backlog_events"),
            "parked": each_outbox("outbox_relay_parked_events"),
            "dead": each_outbox("outbox_relay_dead_events"),
        },
        {"namespace": "", "job": ""},
        note="Whatever job is chosen above.",
    ),
]

# The title, whether it is folded, and what is in it.
ROWS: list[tuple[str, bool, list[Json]]] = [
    ("Health", False, HEALTH),
    ("Flow", False, FLOW),
    ("Latency and what is in flight", False, LATENCY),
    ("Errors, parked and dead events", False, TROUBLE),
    ("Source, slot and retention", False, SOURCE),
    ("Process", False, PROCESS),
    ("Every outbox", True, FLEET),
]
