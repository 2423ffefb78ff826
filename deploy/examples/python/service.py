"""The example service as it is deployed: an order every ORDERS_EVERY_MS until SIGTERM, and /readyz."""

import http.server
import os
import pathlib
import signal
import threading
import uuid

import psycopg
from example import TABLES, set_state


class Readiness(http.server.BaseHTTPRequestHandler):
    """GET /readyz: whether the last order was committed. Kafka has no say: orders go on without."""

    ready = threading.Event()

    def do_GET(self) -> None:
        code = 404 if self.path != "/readyz" else 200 if self.ready.is_set() else 503
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Probes are no news."""


def take_orders(url: str, every: float, stop: threading.Event) -> None:
    """On one connection; ends when stop is set, raises when the database is lost."""
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as database:
        database.execute(TABLES)
        while not stop.is_set():
            order = str(uuid.uuid4())
            with database.transaction():  # begun before a SIGTERM, it is finished
                event = set_state(database, order, "umbrella", "Placed")
            print("committed", order, event, flush=True)
            Readiness.ready.set()
            stop.wait(every)


def main() -> None:
    url = os.environ.get("DATABASE_URL")
    if not url:  # a secret that is mounted as a file
        url = pathlib.Path(os.environ["DATABASE_URL_FILE"]).read_text().strip()
    every = int(os.environ.get("ORDERS_EVERY_MS", "1000")) / 1000
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    address = ("", int(os.environ.get("HTTP_PORT", "8080")))
    server = http.server.ThreadingHTTPServer(address, Readiness)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while not stop.is_set():
        try:
            take_orders(url, every, stop)
        except psycopg.OperationalError as error:  # the database is away: not ready, and once more
            Readiness.ready.clear()
            print(f"error: {error}", flush=True)
            stop.wait(1)
    server.shutdown()
    print("stopped", flush=True)


if __name__ == "__main__":
    main()
