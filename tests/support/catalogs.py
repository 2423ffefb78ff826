"""schema/catalog: what each version of the schema is made of, asked of a database that has it.

Written anew by `cd tests && python3 -m support.catalogs`.
"""

from __future__ import annotations

import pathlib

from support.postgres import MIGRATIONS, REPOSITORY, Postgres

FOLDER = REPOSITORY / "schema" / "catalog"
QUERY = (FOLDER / "catalog.sql").read_text().rstrip().rstrip(";")


def catalog(server: Postgres, db: str, table: str = "public.outbox") -> str:
    """The lines of what is installed there: kind, name and definition, with tabs between."""
    connection = server.connect(db)
    try:
        cursor = connection.cursor()
        cursor.execute("SET LOCAL search_path = pg_catalog")
        cursor.execute(f"PREPARE catalog (text) AS {QUERY}")
        cursor.execute("EXECUTE catalog (%s)", (table,))
        return "".join("\t".join(row) + "\n" for row in cursor.fetchall())
    finally:
        connection.close()


def of_each_version(server: Postgres) -> dict[str, str]:
    """What the files are to be: name and text."""
    db = server.createdb(migrated=False)
    texts = {}
    for number, up in enumerate(sorted(MIGRATIONS.glob("*.up.sql")), start=1):
        server.psql(db, up.read_text())
        texts[f"{number}.txt"] = catalog(server, db)
    return texts


def committed() -> dict[str, str]:
    return {path.name: path.read_text() for path in FOLDER.glob("*.txt")}


def write(folder: pathlib.Path = FOLDER) -> None:
    with Postgres() as server:
        for name, text in of_each_version(server).items():
            (folder / name).write_text(text)


if __name__ == "__main__":
    write()
