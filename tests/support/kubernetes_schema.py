"""Objects, a JSON list on standard input, against the schemas of the versions of Kubernetes that
are named: a line for each that is refused. A program, since what it needs is among the tools."""

from __future__ import annotations

import functools
import json
import sys

from kubernetes_validate import utils

# They are read anew for each object otherwise.
utils.schema_contents = functools.cache(utils.schema_contents)


def main(versions: list[str]) -> None:
    for each in json.load(sys.stdin):
        for version in versions:
            where = f"{each['kind']} {each['metadata']['name']}, Kubernetes {version}"
            try:
                utils.validate(each, version, strict=True)
            except utils.ValidationError as error:
                print(f"{where}: {'.'.join(map(str, error.path))}: {error.message}")
            except utils.SchemaNotFoundError:
                print(f"{where}: there is no {each['apiVersion']} {each['kind']}")


main(sys.argv[1:])
