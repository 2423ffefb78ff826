"""Logical decoding over a network that fails; the table and the lease are well meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.postgres import Postgres
from support.proxy import Proxy
from support.wait import wait_for
from support.wal import WalScene


@pytest.fixture
def proxy(wal_server: Postgres) -> Iterator[Proxy]:
    with Proxy(wal_server.port) as between:
        yield between


def through(wal: WalScene, proxy: Proxy) -> dict[str, str]:
    """Settings of a relay that reads the log through the proxy."""
    return {"postgres.direct_uri": f"postgresql://postgres@127.0.0.1:{proxy.port}/{wal.db}"}


@pytest.mark.parametrize("ack_mode", ["mark"], indirect=True)
def test_resets_and_half_closed_connections_repeat_nothing(
    wal: WalScene, proxy: Proxy, ack_mode: str
) -> None:
    wal.ack_mode = ack_mode
    relay = wal.streaming(through(wal, proxy))
    with wal.load():
        for number in range(6):
            walsender = wal.wait_streaming(relay)
            wal.wait_seen(100)
            if number % 3 == 0:
                proxy.drop()
            else:
                proxy.half_close(towards_client=number % 3 == 1)
            wal.wait_streaming(relay, after=walsender)
        wal.wait_seen(100)
    wal.judge()
    assert relay.metric("producer_rebuilds_total") == 0
    assert len(wal.walsenders()) == 1


def test_silence_is_noticed(wal: WalScene, proxy: Proxy) -> None:
    """Nothing is closed, no answer comes. The walsender of before is ended, long before the server
    would find out."""
    relay = wal.streaming(through(wal, proxy))
    with wal.load(pause_s=0.005):
        walsender = wal.wait_streaming(relay)
        wal.wait_seen(100)
        proxy.pause()
        relay.wait_log("logical decoding: .*no answer from the server", 60)
        assert wal.mode(relay) != "wal"
        proxy.resume()  # of what was sent before, nothing counts
        wal.wait_streaming(relay, after=walsender)
        wal.wait_seen(100)
    wal.judge()
    wait_for(lambda: len(wal.walsenders()) == 1, "the old walsender to be gone")


def test_a_slow_network(wal: WalScene, wal_server: Postgres) -> None:
    with Proxy(wal_server.port, delay_s=0.1) as proxy:
        relay = wal.streaming(through(wal, proxy))
        walsender = wal.wait_streaming(relay)
        with wal.load():
            wal.wait_seen(1000)
        wal.judge()
        assert wal.walsenders() == [walsender]
        relay.stop()
