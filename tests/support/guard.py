"""Events that the guard refuses, and such as look like it and have to be let through."""

from __future__ import annotations

import json
from typing import Any

SECRET = "a secret payload"
PAYLOAD = json.dumps(SECRET)

# What is written, the column at fault, and what is said of it.
REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a space in the topic": ({"aggregatetype": "or der"}, "aggregatetype", "at place 16"),
    "no ASCII in the topic": ({"aggregatetype": "päckchen"}, "aggregatetype", "at place 15"),
    "a newline in the topic": ({"aggregatetype": "order\n"}, "aggregatetype", "at place 19"),
    "a long route": ({"aggregatetype": "x" * 237}, "aggregatetype", "has 250 characters"),
    "a topic of dots": ({"topic": ".."}, "topic", "has 2 characters"),
    "an empty topic": ({"topic": ""}, "topic", "has 0 characters"),
    "a long topic": ({"topic": "x" * 250}, "topic", "has 250 characters"),
    "a wrong topic": ({"topic": "a/b"}, "topic", "at place 2"),
    "an array of headers": ({"headers": f"[{PAYLOAD}]"}, "headers", "of type array"),
    "a text of headers": ({"headers": PAYLOAD}, "headers", "of type string"),
    "nested headers": ({"headers": '{"a": {"b": 1}}'}, "headers", "an object or a list"),
    "a list in headers": ({"headers": '{"a": [1]}'}, "headers", "an object or a list"),
    "a high surrogate": ({"headers": r'{"a": "\ud83d"}'}, "headers", "surrogate"),
    "a low one": ({"headers": r'{"a\uDE00": 1}'}, "headers", "surrogate"),
    "two high ones": ({"headers": r'{"a": "\ud83d\ud83d\ude00"}'}, "headers", "surrogate"),
    "both payloads": ({"payload_bytes": b"x"}, "payload_bytes", "both set"),
    "a negative partition": ({"partition": -1}, "partition", "It is -1"),
    "infinity": ({"created_at": "infinity"}, "created_at", "It is infinity"),
    "-infinity": ({"created_at": "-infinity"}, "created_at", "It is -infinity"),
    "1970": ({"created_at": "1970-01-01Z"}, "created_at", "milliseconds since 1970"),
    "the last year": ({"created_at": "294276-12-31"}, "created_at", "milliseconds since 1970"),
    "a large payload": ({"payload": f'"{"x" * 999_999}"'}, "payload", "It has 1000001 bytes"),
    "large bytes": (
        {"payload": None, "payload_bytes": b"x" * 1_000_001},
        "payload_bytes",
        "It has 1000001 bytes",
    ),
}

# These alone the relay would publish, where they come from a table without the guard.
NESTED = ("nested headers", "a list in headers")

ALLOWED: dict[str, dict[str, Any]] = {
    "a tombstone": {"payload": None},
    "no headers": {"headers": "null"},
    "braces in texts": {"headers": r'{"a": "[{\"", "{[": 1}'},
    "a pair": {"headers": r'{"a": "\ud83d\ude00\u00e4"}'},
    "no escape": {"headers": r'{"a": "\\ud83d"}'},
    "a NUL": {"headers": r'{"a": "\u0000"}'},
    "a free aggregatetype": {"aggregatetype": "or der", "topic": "order"},
    "dots": {"topic": "..."},
    "a route of 249": {"aggregatetype": "x" * 236},
    "a topic of 249": {"topic": "x" * 249},
    "the first instant": {"created_at": "1970-01-01 00:00:00.000001Z"},
    "a payload of 1,000,000": {"payload": f'"{"x" * 999_998}"'},
    "bytes of 1,000,000": {"payload": None, "payload_bytes": b"x" * 1_000_000},
}
