"""The manual page and the bash completion: that each knows every command and setting, that the page
has no fault in its macros, and that bash offers what there is."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess

import pytest
from support.package import release
from support.relay import command

SWITCHES = {"--help", "--version"}


@pytest.fixture(scope="module")
def page() -> pathlib.Path:
    return release() / "manual" / "outbox-relay.1"


@pytest.fixture(scope="module")
def completion() -> pathlib.Path:
    return release() / "manual" / "outbox-relay.bash"


def run(*arguments: str | pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def shown(page: pathlib.Path) -> str:
    """As a terminal shows it, wide enough for any line, without bold and underlined letters."""
    done = run("groff", "-man", "-Tutf8", "-P-cbou", "-rLL=1000n", "-rHY=0", page)
    return done.stdout.replace("\u2010", "-")


def settings() -> dict[str, dict[str, str]]:
    done = command("config", "print", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def flag(key: str) -> str:
    return "--" + re.sub("[._]", "-", key)


def commands() -> list[str]:
    text = command("--help").stdout.split("Commands:\n")[1].split("\n\n")[0]
    names = [re.match(r"  ((?:\w+ )*\w+)  ", line)[1] for line in text.splitlines()]
    assert len(names) > 5
    return names


# -- the page ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "checker",
    [
        ("mandoc", "-T", "lint", "-W", "warning"),
        ("groff", "-ww", "-man", "-T", "utf8", "-z"),
        ("man", "--warnings", "-E", "UTF-8", "-Tutf8", "-Z", "-l"),
    ],
    ids=lambda checker: checker[0],
)
def test_a_formatter_finds_nothing_wrong(checker: tuple[str, ...], page: pathlib.Path) -> None:
    done = run(*checker, page)
    assert (done.returncode, done.stderr) == (0, "")
    assert checker[0] != "mandoc" or done.stdout == ""


def test_the_page_has_every_section_and_command(page: pathlib.Path) -> None:
    text = shown(page)
    wanted = "NAME SYNOPSIS DESCRIPTION COMMANDS SETTINGS ENVIRONMENT SIGNALS".split()
    wanted += ["EXIT STATUS", "FILES", "SYSTEMD", "NOTES", "EXAMPLES", "SEE ALSO"]
    assert re.findall(r"^([A-Z]+(?: [A-Z]+)?)$", text, re.M) == wanted
    for name in commands():
        if name != "help":
            assert re.search(rf"^ {{3}}{name}\b", text, re.M), name
            assert re.search(rf"^ +outbox-relay \[?{name}\b", text, re.M), name


def test_the_page_tells_all_of_each_setting(page: pathlib.Path) -> None:
    text = shown(page)
    for key, setting in settings().items():
        entry = re.search(rf"^ {{7}}{flag(key)} VALUE$(.*?)(?=^ {{7}}--)", text, re.M | re.S)
        assert entry, key
        variable = "OUTBOX_" + key.upper().replace(".", "_")
        assert f"Key {key}, variable {variable}." in entry[1]
        assert "Allowed: " in entry[1]
        default = setting["value"] or "empty"
        assert f"Default: {default}." in entry[1], key


def test_the_page_has_each_line_of_the_help(page: pathlib.Path) -> None:
    """Character by character: nothing was taken for a macro, or lost."""
    text = re.sub(r"\s+", " ", shown(page))
    helps = [command(*name.split(), "--help").stdout for name in commands() if name != "help"]
    for part in helps:
        for line in part.split("\nA setting is given")[0].splitlines():
            said = line.removeprefix("Usage:").strip()
            if said and not said.startswith("Example"):
                assert re.sub(r"\s+", " ", said) in text
    for line in command("--help").stdout.split("\nExit codes:\n")[1].splitlines():
        assert re.sub(r"\s+", " ", line.strip()) in text


# -- the completion ------------------------------------------------------------------------------


def offers(completion: pathlib.Path, line: str, folder: pathlib.Path) -> set[str]:
    """What bash offers at the end of that line, by its own rules of splitting it into words."""
    words = [word for word in re.split(r"(=)|\s+", line) if word]
    if line.endswith((" ", "=")):
        words.append("")
    if words[-2:] == ["=", ""]:
        words.pop()  # bash completes the sign itself
    script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
    script += "$(complete -p outbox-relay | sed 's/.*-F \\([^ ]*\\).*/\\1/'); "
    script += 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "--norc", "-u", "-c", script, "bash", completion, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), line
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("d", {"doctor", "dead"}),
        ("config ", {"print"}),
        ("dead ", {"list", "show", "retry", "discard"}),
        ("--log-level info sch", {"schema"}),
        ("--log-level=info schema ", {"print", "check"}),
        ("--json schema p", {"print"}),
        ("schema print --format go", {"golang-migrate", "goose"}),
        ("help ", None),
        ("--source-mode ", {"auto", "table", "wal"}),
        ("run --source-mode=", {"auto", "table", "wal"}),
        ("run --source-mode=w", {"wal"}),
        ("--ack-mode m", {"mark"}),
        ("--postgres-uri ", set()),
        ("--postgres-uri p", set()),
        ("dead retry --dry", {"--dry-run"}),
        ("status --dry", set()),
        ("check --fi", {"--fix"}),
        ("run --fi", set()),
        ("version --", {"--json", "--help"}),
        ("--config ", {"relay.json", "more"}),
        ("run --config=re", {"relay.json"}),
        ("schema print --directory ", {"more"}),
    ],
)
def test_bash_offers_what_may_come_next(
    completion: pathlib.Path, tmp_path: pathlib.Path, line: str, offered: set[str] | None
) -> None:
    (tmp_path / "relay.json").touch()
    (tmp_path / "more").mkdir()
    wanted = {name.split()[0] for name in commands()} if offered is None else offered
    assert offers(completion, f"outbox-relay {line}", tmp_path) - {""} == wanted


def test_bash_offers_each_command_and_setting(
    completion: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    names = {name.split()[0] for name in commands()}
    assert offers(completion, "outbox-relay ", tmp_path) == names
    flags = {flag(key) for key in settings()} | {"--config", "--kafka-bootstrap-servers"}
    assert offers(completion, "outbox-relay --", tmp_path) == flags | SWITCHES
    assert offers(completion, "outbox-relay --so", tmp_path) == {
        name for name in flags if name.startswith("--so")
    }


def test_the_completion_is_clean_shell(completion: pathlib.Path) -> None:
    done = run("shellcheck", completion)
    assert done.returncode == 0, done.stdout
