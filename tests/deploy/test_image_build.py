"""deploy/Dockerfile as engines read it, and what carries it out here: nothing is skipped."""

from __future__ import annotations

import pathlib

import pytest
from support.dockerfile import Build, DockerfileError, parse
from support.dockerignore import context_files
from support.image import DOCKERFILE
from support.relay import REPOSITORY
from support.tools import run_tool


def build(folder: pathlib.Path, text: str, **args: str) -> Build:
    path = folder / "Dockerfile"
    path.write_text(text)
    return Build(folder, path, args)


def test_a_linter_finds_nothing() -> None:
    assert run_tool("dockerfile-utils", "lint", DOCKERFILE) == ""


def test_what_is_built_of_is_the_source_alone() -> None:
    paths = {str(path) for path in context_files(REPOSITORY, DOCKERFILE)}
    assert {"CMakeLists.txt", "LICENSE", "relay/main.c", "deploy/image/collect.py"} <= paths
    tops = {path.partition("/")[0] for path in paths}
    assert not tops & {".git", "build", "tests", "README.md"}
    assert not any("__pycache__" in path or path == "deploy/Dockerfile" for path in paths)


def test_what_is_ignored_is_what_the_last_fitting_line_says(tmp_path: pathlib.Path) -> None:
    for path in ("a/b/keep", "a/b/drop.o", "a/other", "top.o", "c/d/e/deep.o", "c/d/e/deep.c"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    dockerfile = tmp_path / "Dockerfile"
    (tmp_path / ".dockerignore").write_text("a\n!a/b\n# a comment\n**/*.o\n!top.o\n.dockerignore\n")
    assert [str(path) for path in context_files(tmp_path, dockerfile)] == [
        "top.o",
        "a/b/keep",
        "c/d/e/deep.c",
    ]
    (tmp_path / "Dockerfile.dockerignore").write_text("*\n!c/?/e/*.c\n")
    assert [str(path) for path in context_files(tmp_path, dockerfile)] == ["c/d/e/deep.c"]


def test_lines_are_joined_and_comments_left_out() -> None:
    found = parse("# one\nFROM scratch\n\nLABEL a=1 \\\n  # within\n    b=2\n")
    assert [(each.line, each.name, each.text.split()) for each in found] == [
        (2, "FROM", ["scratch"]),
        (4, "LABEL", ["a=1", "b=2"]),
    ]


def test_values_come_from_the_file_or_from_outside(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("content")
    text = (
        "ARG BASE=scratch\nFROM ${BASE} AS one\nARG A=1\nARG B\nENV C=${A}${B:-none}\n"
        'WORKDIR /x\nCOPY file ./y/\nLABEL d="$C e"\nFROM scratch\nCOPY --from=one /x/ /z\n'
    )
    with build(tmp_path, text) as made:
        assert made.stages["one"].config == {"Labels": {"d": "1none e"}}
        assert (made.root / "z/y/file").read_text() == "content"
    assert not made.root.exists()
    with build(tmp_path, text, A="2", B="3") as made:
        assert made.stages["one"].env["C"] == "23"
    with pytest.raises(DockerfileError, match="no ARG takes"):
        build(tmp_path, text, D="4")


@pytest.mark.parametrize(
    "text",
    [
        "FROM scratch\nADD a /\n",
        "FROM scratch\nSHELL [\"/bin/bash\"]\n",
        "FROM scratch\nCOPY --chown=1:1 Dockerfile /\n",
        "FROM scratch\nCOPY Docker* /\n",
        "FROM scratch\nCOPY missing /\n",
        "FROM scratch\nCOPY <<EOF /a\n",
        "FROM scratch\nRUN true\n",
        "FROM scratch\nHEALTHCHECK --start-interval=1s CMD [\"a\"]\n",
        "FROM scratch\nENV A ${B%c}\n",
        "FROM --platform=linux/arm64 scratch\n",
        "FROM alpine:3.20\n",
        "FROM debian:latest\n",
        "# syntax=docker/dockerfile:1\nFROM scratch\n",
        "USER 1\nFROM scratch\n",
        "",
    ],
)
def test_what_is_not_carried_out_is_refused(tmp_path: pathlib.Path, text: str) -> None:
    with pytest.raises(DockerfileError):
        build(tmp_path, text)
