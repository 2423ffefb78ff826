"""Includes point downward only, each library links only what stands below it, and the core is pure."""

from __future__ import annotations

import pathlib
import re
import shutil
from collections.abc import Callable

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]

# folder -> what it may include and link; "" is relay/ itself: main.c and relay*.
BELOW = {
    "base": set(),
    "core": {"base"},
    "tls": {"base"},
    "postgres": {"base", "core", "tls"},
    "kafka": {"base", "core", "tls"},
    "ops": {"base", "core"},
    "cli": {"base", "core", "postgres", "kafka", "ops"},
    "": {"base", "core", "postgres", "kafka", "ops", "cli"},
}
# The only folders that may know of a library.
OWNERS = {
    "libpq": ({"postgres"}, re.compile(r"libpq|postgres_ext|pg_config"), "LIBPQ"),
    "librdkafka": ({"kafka"}, re.compile(r"librdkafka/"), "RDKAFKA"),
    "libcrypto": ({"tls", "postgres"}, re.compile(r"openssl/"), "CRYPTO"),
    "libssl": ({"postgres"}, re.compile(r"openssl/ssl"), "SSL"),
    "libmicrohttpd": ({"ops"}, re.compile(r"microhttpd"), "MICROHTTPD"),
    "libsystemd": ({"ops"}, re.compile(r"systemd/"), "SYSTEMD"),
    "jansson": ({"ops", "cli", ""}, re.compile(r"jansson"), "JANSSON"),
    "libuv": ({"postgres", "kafka", "ops", "cli", ""}, re.compile(r"uv(\.h|/)"), "LIBUV"),
}
# What pure code needs of the C library; stdio.h for snprintf, whose neighbours are refused below.
PURE_HEADERS = {
    *("assert.h", "errno.h", "inttypes.h", "limits.h", "math.h", "stdarg.h", "stdbool.h"),
    *("stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h"),
}
IMPURE_CALL = re.compile(
    r"\b(f?printf|vf?printf|f?puts|f?putc|putchar|perror|fopen|fwrite|fread|getenv|secure_getenv|"
    r"time|clock|clock_gettime|clock_boot_ms|clock_wall_ms|gettimeofday|rand|random|arc4random|"
    r"getrandom|open|read|write|exit|log_write|log_(?:debug|info|warn|error))\s*\("
)
# File-scope data that can change.
MUTABLE_STATIC = re.compile(r"^(?:static|extern)\s+(?!.*\bconst\b)(?!inline\b)[^()]*(?:=|;)", re.M)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
LINKED = re.compile(r"target_link_libraries\(([^)]*)\)")
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.S)
STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')


def violations(repository: pathlib.Path) -> list[str]:
    relay = repository / "relay"
    found = []
    for path in sorted(relay.rglob("*.[ch]")):
        found += of_source(path, relay)
    for path in sorted(relay.glob("*/CMakeLists.txt")):
        found += of_library(path)
    return found


def of_source(path: pathlib.Path, relay: pathlib.Path) -> list[str]:
    folder = "" if path.parent == relay else path.parent.relative_to(relay).parts[0]
    name = path.relative_to(relay)
    if folder not in BELOW:
        return [f"{name}: the folder {folder} has no place in the order"]
    found = []
    text = COMMENT.sub("", path.read_text())
    for kind, header in INCLUDE.findall(text):
        where = f"{name} includes {header}"
        if kind == '"':
            target = header.rpartition("/")[0].split("/")[0]
            if not (relay / header).is_file():
                found.append(f"{where}: paths start at relay/")
            elif target != folder and target not in BELOW[folder]:
                found.append(f"{where}: {target or 'relay/'} is not below {folder}")
            elif folder == "core" and header == "base/clock.h":
                found.append(f"{where}: the core has no clock")
        else:
            for library, (owners, pattern, _) in OWNERS.items():
                if pattern.match(header) and folder not in owners:
                    found.append(f"{where}: {library} is not {folder}'s")
            if folder == "core" and header not in PURE_HEADERS:
                found.append(f"{where}: the core is pure")
    if folder == "core":
        code = STRING.sub('""', text)
        found += [f"{name} calls {call}: the core is pure" for call in IMPURE_CALL.findall(code)]
        found += [
            f"{name} has data that can change: {line.strip()}"
            for line in MUTABLE_STATIC.findall(code)
        ]
    return found


def of_library(path: pathlib.Path) -> list[str]:
    folder = path.parent.name
    found = []
    for words in LINKED.findall(path.read_text()):
        for word in words.split()[1:]:
            library = word.removeprefix("outbox_")
            if word.startswith("outbox_") and library not in BELOW[folder]:
                found.append(f"{folder} links {word}, which is not below it")
            for name, (owners, _, target) in OWNERS.items():
                if word == f"PkgConfig::{target}" and folder not in owners:
                    found.append(f"{folder} links {word}: {name} is not its own")
    return found


def test_the_tree_keeps_its_layers() -> None:
    assert (REPOSITORY / "relay" / "core").is_dir()
    assert violations(REPOSITORY) == []


def add(file: str, line: str) -> Callable[[pathlib.Path], None]:
    def change(relay: pathlib.Path) -> None:
        path = relay / file
        path.write_text(path.read_text() + f"\n{line}\n")

    return change


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (add("base/err.c", '#include "core/ledger.h"'), "core is not below base"),
        (add("core/ledger.c", '#include "kafka/sink.h"'), "kafka is not below core"),
        (add("kafka/sink.c", '#include "postgres/conn.h"'), "postgres is not below kafka"),
        (add("postgres/conn.c", '#include "ops/log.h"'), "ops is not below postgres"),
        (add("ops/http.c", '#include "cli/cli.h"'), "cli is not below ops"),
        (add("cli/cli.c", '#include "relay.h"'), "relay/ is not below cli"),
        (add("ops/http.c", '#include "../core/event.h"'), "paths start at relay/"),
        (add("ops/http.c", '#include "log.h"'), "paths start at relay/"),
        (add("core/ledger.c", "# include <uv.h>"), "libuv is not core's"),
        (add("core/ledger.c", "#include <time.h>"), "the core is pure"),
        (add("core/ledger.c", '#include "base/clock.h"'), "the core has no clock"),
        (add("core/ledger.c", 'void f(void) { printf("x"); }'), "calls printf"),
        (add("core/ledger.c", "static int counter;"), "has data that can change"),
        (add("kafka/sink.c", "#include <libpq-fe.h>"), "libpq is not kafka's"),
        (add("main.c", "#include <librdkafka/rdkafka.h>"), "librdkafka is not 's"),
        (
            add("kafka/CMakeLists.txt", "target_link_libraries(outbox_kafka PRIVATE outbox_ops)"),
            "kafka links outbox_ops",
        ),
        (
            add("ops/CMakeLists.txt", "target_link_libraries(outbox_ops PRIVATE PkgConfig::LIBPQ)"),
            "ops links PkgConfig::LIBPQ",
        ),
    ],
)
def test_a_wrong_line_is_found(
    change: Callable[[pathlib.Path], None], complaint: str, tmp_path: pathlib.Path
) -> None:
    shutil.copytree(REPOSITORY / "relay", tmp_path / "relay")
    change(tmp_path / "relay")
    found = violations(tmp_path)
    assert len(found) >= 1 and any(complaint in line for line in found), found


def test_a_right_line_passes(tmp_path: pathlib.Path) -> None:
    shutil.copytree(REPOSITORY / "relay", tmp_path / "relay")
    add("kafka/sink.c", '#include "core/ledger.h" // not "ops/log.h"')(tmp_path / "relay")
    add("core/ledger.c", "static const int constant = 1;\n/* printf(1) */")(tmp_path / "relay")
    assert violations(tmp_path) == []
