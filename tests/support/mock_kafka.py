"""A broker that fails on command: librdkafka's mock cluster, as a process (mock_kafka.c).

    with MockKafka(tmp_path) as kafka:
        kafka.create_topic("t", partitions=2)
        kafka.push(PRODUCE, INVALID_PRODUCER_EPOCH)     # what the next Produce is answered with

For faults that no real broker can be brought to. It stores records, but checks no sequence numbers.
"""

from __future__ import annotations

import pathlib
import shlex
import subprocess

SOURCE = pathlib.Path(__file__).with_name("mock_kafka.c")

# Kafka's protocol: API keys, error codes.
PRODUCE = 0
NOT_LEADER = 6
REQUEST_TIMED_OUT = 7
NOT_ENOUGH_REPLICAS = 19
OUT_OF_ORDER_SEQUENCE = 45
INVALID_PRODUCER_EPOCH = 47
KAFKA_STORAGE_ERROR = 56


class MockKafka:
    def __init__(self, folder: pathlib.Path) -> None:
        """Compiles into the folder."""
        program = folder / "mock-kafka"
        flags = subprocess.run(
            ["pkg-config", "--cflags", "--libs", "rdkafka"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        subprocess.run(
            ["cc", "-std=c17", "-D_GNU_SOURCE", "-O1", "-o", program, SOURCE, *shlex.split(flags)],
            check=True,
        )
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.bootstrap = self._answer()

    def __enter__(self) -> MockKafka:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def create_topic(self, name: str, partitions: int = 1) -> None:
        self._command(f"topic {name} {partitions}")

    def push(self, api_key: int, *codes: int) -> None:
        """The next requests of this kind are answered with these errors, one each; 0 is none."""
        self._command(f"push {api_key} {' '.join(map(str, codes))}")

    def set_rtt(self, ms: int) -> None:
        self._command(f"rtt {ms}")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait(20) != 0:
            raise AssertionError(f"the mock cluster ended with {self._process.returncode}")

    def _command(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        assert answer == "ok", f"{line}: {answer}"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()
