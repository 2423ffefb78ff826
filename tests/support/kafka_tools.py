"""Kafka's own command lines, as the relay prints them, carried out without Kafka's tools."""

from __future__ import annotations

import ctypes
import shlex
from collections.abc import Mapping, Sequence

from support.kafka import Kafka

# rdkafka.h: resource types, patterns, operations, permissions.
_TOPIC, _LITERAL = 2, 3
_OPERATIONS = {"Read": 3, "Write": 4, "Describe": 8, "DescribeConfigs": 10}
_ALLOW = 3


def carry_out(kafka: Kafka, command: str) -> None:
    """kafka-topics.sh --create, kafka-configs.sh --alter or kafka-acls.sh --add of a topic."""
    program, *words = shlex.split(command)
    options = _options(words)
    assert options["bootstrap-server"] == [kafka.bootstrap], command
    if program == "kafka-topics.sh" and "create" in options:
        kafka.create_topic(options["topic"][0])
    elif program == "kafka-configs.sh" and options["entity-type"] == ["topics"]:
        settings = dict(each.split("=") for each in options["add-config"])
        kafka.set_topic(options["entity-name"][0], settings)
    elif program == "kafka-acls.sh" and "add" in options:
        allow(kafka, options["topic"][0], options["allow-principal"][0], options["operation"])
    else:
        raise AssertionError(f"nobody knows how to carry out {command}")


def allow(kafka: Kafka, topic: str, principal: str, operations: Sequence[str]) -> None:
    """By the library that the relay uses: the Python client of Debian 12 knows no ACLs."""
    lib = ctypes.CDLL("librdkafka.so.1")
    pointer, size, text = ctypes.c_void_p, ctypes.c_size_t, ctypes.create_string_buffer(512)
    for name in ("conf_new", "new", "queue_new", "AclBinding_new"):
        getattr(lib, f"rd_kafka_{name}").restype = pointer
    lib.rd_kafka_queue_poll.restype = pointer
    lib.rd_kafka_event_CreateAcls_result.restype = pointer
    conf = pointer(lib.rd_kafka_conf_new())
    lib.rd_kafka_conf_set(
        conf, b"bootstrap.servers", kafka.bootstrap.encode(), text, size(len(text))
    )
    client = pointer(lib.rd_kafka_new(0, conf, text, size(len(text))))
    queue = pointer(lib.rd_kafka_queue_new(client))
    bindings = (pointer * len(operations))(
        *(
            lib.rd_kafka_AclBinding_new(
                _TOPIC, topic.encode(), _LITERAL, principal.encode(), b"*", _OPERATIONS[each],
                _ALLOW, text, size(len(text)),
            )
            for each in operations
        )
    )  # fmt: skip
    lib.rd_kafka_CreateAcls(client, bindings, size(len(operations)), None, queue)
    event = pointer(lib.rd_kafka_queue_poll(queue, 10000))
    assert event and lib.rd_kafka_event_error(event) == 0, "the ACLs were not created"
    results, count = _results(lib, event)
    assert not any(lib.rd_kafka_acl_result_error(pointer(each)) for each in results[:count])
    lib.rd_kafka_event_destroy(event)
    lib.rd_kafka_queue_destroy(queue)
    lib.rd_kafka_destroy(client)


def _results(lib: ctypes.CDLL, event: ctypes.c_void_p) -> tuple[Sequence[int], int]:
    count = ctypes.c_size_t()
    lib.rd_kafka_CreateAcls_result_acls.restype = ctypes.POINTER(ctypes.c_void_p)
    lib.rd_kafka_acl_result_error.restype = ctypes.c_void_p
    result = ctypes.c_void_p(lib.rd_kafka_event_CreateAcls_result(event))
    found = lib.rd_kafka_CreateAcls_result_acls(result, ctypes.byref(count))
    return found, count.value


def _options(words: Sequence[str]) -> Mapping[str, list[str]]:
    options: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            name = word[2:]
            options.setdefault(name, [])
        else:
            options[name].append(word)
    return options
