"""A Dockerfile carried out without a container engine: each stage in a folder of its own.

    with Build(REPOSITORY, REPOSITORY / "deploy/Dockerfile") as build:
        build.root, build.config            # the last stage's; others: build.stages["build"]

A stage from debian:VERSION starts as support.rootfs's bare Debian of that release, one from scratch
as an empty folder. Instructions, flags and forms that are not carried out are errors: nothing is
skipped. What a stage from Debian is before its first COPY is kept in the user's cache, as an engine
keeps its layers. Root only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from support.dockerignore import context_files
from support.rootfs import PROXIES, Rootfs, base, cache, forget_old, one_at_a_time

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
RELEASES = {"12": "bookworm", "13": "trixie"}
# What makes debian:VERSION-slim less than a bare Debian: licences alone, and no packages kept.
SLIM = {
    "etc/dpkg/dpkg.cfg.d/docker": """\
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/info/*
path-exclude /usr/share/lintian/*
path-exclude /usr/share/locale/*
path-exclude /usr/share/man/*
""",
    "etc/apt/apt.conf.d/docker-clean": """\
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
APT::Keep-Downloaded-Packages "false";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb"; };
""",
}
_VARIABLE = re.compile(r"\\(.)|\$(\w+)|\$\{(\w+)(?::-([^}]*))?\}")


class DockerfileError(Exception):
    """It is wrong, asks for what is not carried out, or a command in it failed."""


class Instruction(NamedTuple):
    line: int
    name: str
    text: str


def parse(text: str) -> list[Instruction]:
    """Its instructions, without comments, continued lines joined."""
    found: list[Instruction] = []
    joined, begun = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#"):
            if re.match(r"#\s*(syntax|escape|check)\s*=", line):
                raise DockerfileError(f"line {number}: parser directives are not carried out")
            continue
        if not line.strip():
            continue
        begun = begun or number
        if line.rstrip().endswith("\\"):
            joined += line.rstrip()[:-1]
            continue
        name, _, rest = (joined + line).strip().partition(" ")
        if "<<" in rest:
            raise DockerfileError(f"line {begun}: here-documents are not carried out")
        found.append(Instruction(begun, name.upper(), rest.strip()))
        joined, begun = "", 0
    if joined:
        raise DockerfileError(f"line {begun}: the last line is continued, and there is none")
    return found


@dataclass
class Stage:
    """One of them while it is built. config is as in OCI's image-spec, Healthcheck as Docker's."""

    folder: pathlib.Path
    debian: Rootfs | None = None
    env: dict[str, str] = field(default_factory=lambda: {"PATH": PATH})
    args: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    config: dict[str, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)  # by each RUN that was not kept from before


class Build:
    def __init__(
        self, context: pathlib.Path, dockerfile: pathlib.Path, args: Mapping[str, str] | None = None
    ) -> None:
        """args: as of --build-arg; one that no ARG of the file takes is an error."""
        self.stages: dict[str, Stage] = {}
        self._context = context
        self._dockerfile = dockerfile
        self._given = dict(args or {})
        self._taken: set[str] = set()
        self._before: dict[str, str] = {}  # of the ARGs before the first FROM
        self._instructions = parse(dockerfile.read_text())
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self._build()
            undo.pop_all()

    def __enter__(self) -> Build:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def last(self) -> Stage:
        return list(self.stages.values())[-1]

    @property
    def root(self) -> pathlib.Path:
        return self.last.folder

    @property
    def config(self) -> dict[str, Any]:
        env = [f"{name}={value}" for name, value in self.last.env.items()]
        return {"Env": env, "WorkingDir": self.last.workdir, **self.last.config}

    def close(self) -> None:
        """Removes the folders of all stages."""
        for stage in self.stages.values():
            if stage.debian is not None:
                stage.debian.close()
            else:
                shutil.rmtree(stage.folder, ignore_errors=True)

    # -- stages ----------------------------------------------------------------------------------

    def _build(self) -> None:
        at = 0
        while at < len(self._instructions) and self._instructions[at].name == "ARG":
            self._declare(self._instructions[at].text, self._before, self._before)
            at += 1
        while at < len(self._instructions):
            first = self._instructions[at]
            if first.name != "FROM":
                raise DockerfileError(f"line {first.line}: {first.name} before the first FROM")
            end = at + 1
            while end < len(self._instructions) and self._instructions[end].name != "FROM":
                end += 1
            self._stage(first, self._instructions[at + 1 : end])
            at = end
        unused = self._given.keys() - self._taken
        if unused or not self.stages:
            raise DockerfileError(f"no ARG takes {unused}" if unused else "no FROM")

    def _stage(self, first: Instruction, rest: Sequence[Instruction]) -> None:
        match = re.fullmatch(r"(\S+)(?:\s+AS\s+(\S+))?", first.text, re.IGNORECASE)
        if not match:
            raise DockerfileError(f"line {first.line}: not carried out: FROM {first.text}")
        image, name = _expand(match[1], self._before), match[2] or str(len(self.stages))
        if image == "scratch":
            folder = pathlib.Path(tempfile.mkdtemp(prefix="outbox-stage-"))
            folder.chmod(0o755)
            self.stages[name] = stage = Stage(folder)
        else:
            stage, rest = self._from_debian(name, image, rest)
        for each in rest:
            self._carry_out(stage, each)

    def _from_debian(
        self, name: str, image: str, rest: Sequence[Instruction]
    ) -> tuple[Stage, Sequence[Instruction]]:
        """The stage as it is before its first COPY, and what is left to do."""
        match = re.search(r"(?:^|/)debian:(\d+)\.\d+-slim(?:@sha256:[0-9a-f]{64})?$", image)
        if not match or match[1] not in RELEASES:
            raise DockerfileError(f"no stage can start from {image}: it is no debian:12.N-slim")
        packed = base(RELEASES[match[1]])
        head = next((i for i, each in enumerate(rest) if each.name == "COPY"), len(rest))
        runs = [i for i, each in enumerate(rest[:head]) if each.name == "RUN"]
        head = runs[-1] + 1 if runs else 0
        texts = [each[1:] for each in rest[:head]]
        made_of = [image, os.stat(packed).st_mtime_ns, SLIM, self._given, texts]
        digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
        layer = cache() / f"layer-{digest}"
        with one_at_a_time(cache() / "layers.lock"):
            if not layer.exists():
                self._make_layer(packed, rest[:head], layer)
            layer.touch()
        debian = Rootfs(layer)
        self.stages[name] = stage = Stage(debian.path, debian)
        for each in rest[:head]:
            if each.name != "RUN":
                self._carry_out(stage, each)
        return stage, rest[head:]

    def _make_layer(
        self, packed: pathlib.Path, instructions: Sequence[Instruction], layer: pathlib.Path
    ) -> None:
        """The folder is there whole or not at all; those that were used last stay with it."""
        part = layer.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        debian = Rootfs(packed, part)
        stage = Stage(debian.path, debian)
        try:
            _make_slim(debian.path)
            for each in instructions:
                self._carry_out(stage, each)
            debian.unmount()
            part.rename(layer)
        finally:
            debian.close()
        forget_old("layer-*[0-9a-f]")

    def _carry_out(self, stage: Stage, instruction: Instruction) -> None:
        does: dict[str, Callable[[Stage, str], None]] = {
            "ARG": lambda stage, text: self._declare(text, stage.args, self._before),
            "CMD": lambda stage, text: _set(stage, "Cmd", _command(text)),
            "COPY": self._copy,
            "ENTRYPOINT": lambda stage, text: _set(stage, "Entrypoint", _command(text)),
            "ENV": lambda stage, text: stage.env.update(_pairs(text, stage)),
            "EXPOSE": lambda stage, text: _set(
                stage, "ExposedPorts", {port: {} for port in _expand(text, _names(stage)).split()}
            ),
            "HEALTHCHECK": lambda stage, text: _set(stage, "Healthcheck", _healthcheck(text)),
            "LABEL": lambda stage, text: stage.config.setdefault("Labels", {}).update(
                _pairs(text, stage)
            ),
            "RUN": _run,
            "STOPSIGNAL": lambda stage, text: _set(stage, "StopSignal", text),
            "USER": lambda stage, text: _set(stage, "User", _expand(text, _names(stage))),
            "WORKDIR": _workdir,
        }
        try:
            if instruction.name not in does:
                raise DockerfileError("not carried out")
            does[instruction.name](stage, instruction.text)
        except DockerfileError as error:
            where = f"{self._dockerfile.name}:{instruction.line}: {instruction.name}"
            raise DockerfileError(f"{where}: {error}") from None

    # -- instructions ----------------------------------------------------------------------------

    def _declare(self, text: str, args: dict[str, str], outer: Mapping[str, str]) -> None:
        name, equals, value = text.partition("=")
        if name in self._given:
            args[name] = self._given[name]
            self._taken.add(name)
        elif equals:
            args[name] = _expand(_unquoted(value), args)
        elif name in outer:
            args[name] = outer[name]

    def _copy(self, stage: Stage, text: str) -> None:
        """All that is copied is root's, as with the strictest engines."""
        words = [_expand(word, _names(stage)) for word in shlex.split(text)]
        flags = [word for word in words if word.startswith("--")]
        *sources, to = [word for word in words if not word.startswith("--")]
        if len(flags) > 1 or not all(flag.startswith("--from=") for flag in flags) or not sources:
            raise DockerfileError(f"not carried out: {text}")
        target = pathlib.Path(os.path.normpath(os.path.join(stage.workdir, to)))
        for source in sources:
            if flags:
                top = self.stages[flags[0].partition("=")[2]].folder
                files = None
            else:
                top = self._context
                files = context_files(self._context, self._dockerfile)
            _copy_one(top, source, files, _inside(stage, str(target)), to.endswith("/"))


def _copy_one(
    top: pathlib.Path,
    source: str,
    files: Sequence[pathlib.PurePath] | None,
    target: pathlib.Path,
    into: bool,
) -> None:
    """files: those of the context, by their paths in it; None: all of a stage are there."""
    if re.search(r"[*?\[]", source):
        raise DockerfileError(f"patterns are not carried out: {source}")
    inside = pathlib.PurePath(os.path.normpath(source.lstrip("/") or "."))
    here = top / inside
    if here.is_dir() and files is None:
        subprocess.run(["cp", "-a", f"{here}/.", target], check=True)
        subprocess.run(["chown", "-R", "-h", "0:0", target], check=True)
        return
    whole = files if files is not None else [inside]
    if not here.is_dir():
        whole = [path for path in whole if path == inside]
        target = target / inside.name if into or target.is_dir() else target
    else:
        whole = [path for path in whole if path.is_relative_to(inside)]
    if not whole:
        raise DockerfileError(f"{source}: not there, or ignored")
    for path in whole:
        to = target / path.relative_to(inside)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(top / path, to, follow_symlinks=False)
        os.chown(to, 0, 0, follow_symlinks=False)


def _run(stage: Stage, text: str) -> None:
    if stage.debian is None:
        raise DockerfileError("an empty stage has nothing to run")
    if text.startswith("--") or stage.config.get("User", "root") not in ("root", "0", "0:0"):
        raise DockerfileError("flags, and other users than root, are not carried out")
    command = _command(text)
    # Only what an engine gives: its own names for proxies, HOME, and those of the file.
    names = {name: os.environ[name] for name in PROXIES if name in os.environ}
    names = {"HOME": "/root", **names, **_names(stage)}
    env = [f"{name}={value}" for name, value in names.items()]
    done = stage.debian.run(
        *["/usr/bin/env", "-i", *env, "/bin/sh", "-c", 'cd "$0" && exec "$@"', stage.workdir],
        *command,
        check=False,
        timeout=900,
    )
    stage.said.append(done.stdout)
    if done.returncode != 0:
        raise DockerfileError(f"ended with {done.returncode}:\n{done.stdout[-6000:]}")


def _workdir(stage: Stage, text: str) -> None:
    stage.workdir = os.path.normpath(os.path.join(stage.workdir, _expand(text, _names(stage))))
    _inside(stage, stage.workdir).mkdir(parents=True, exist_ok=True)


def _healthcheck(text: str) -> dict[str, Any]:
    """Times in seconds."""
    if text == "NONE":
        return {"Test": ["NONE"]}
    options, _, command = text.partition("CMD ")
    found: dict[str, Any] = {"Test": ["CMD", *_command(command.strip())]}
    for option in options.split():
        match = re.fullmatch(r"--(interval|timeout|start-period|retries)=(\d+)(s?)", option)
        if not match or bool(match[3]) == (match[1] == "retries"):
            raise DockerfileError(f"not carried out: {option}")
        found[match[1]] = int(match[2])
    return found


# -- words -----------------------------------------------------------------------------------------


def _names(stage: Stage) -> dict[str, str]:
    return {**stage.args, **stage.env}


def _expand(text: str, names: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1]:
            return match[1]
        return names.get(match[2] or match[3]) or match[4] or ""

    found = _VARIABLE.sub(value, text)
    if re.search(r"\$\{", found):
        raise DockerfileError(f"not carried out: {text}")
    return found


def _unquoted(text: str) -> str:
    return "".join(shlex.split(text))


def _pairs(text: str, stage: Stage) -> dict[str, str]:
    """NAME=VALUE ..., as of ENV and LABEL."""
    words = shlex.split(text)
    if not all("=" in word for word in words):
        raise DockerfileError(f"not carried out: {text}")
    return {
        name: _expand(value, _names(stage)) for name, _, value in (w.partition("=") for w in words)
    }


def _command(text: str) -> list[str]:
    """Of either form: a JSON array, or for a shell."""
    if text.startswith("["):
        return [str(word) for word in json.loads(text)]
    return ["/bin/sh", "-c", text]


def _set(stage: Stage, name: str, value: Any) -> None:
    stage.config[name] = value


def _inside(stage: Stage, path: str) -> pathlib.Path:
    """A path of the stage on this machine: none that a link leads out of."""
    folder = stage.folder
    for part in pathlib.PurePath(path).parts[1:]:
        folder /= part
        if folder.is_symlink():
            raise DockerfileError(f"links on the way are not carried out: {path}")
    return folder


def _make_slim(root: pathlib.Path) -> None:
    for path, text in SLIM.items():
        (root / path).write_text(text)
    for name in ("doc/*/*", "info/*", "lintian/*", "locale/*", "man/*"):
        for path in (root / "usr/share").glob(name):
            if path.name == "copyright":
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for path in (root / "var/cache/apt").rglob("*.*"):
        path.unlink()
