"""What every run found, kept for later: an embedded SQLite database, or any that SQLAlchemy reaches by its URL."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pipeline.errors import StorageError, UsageError
from pipeline.latency import measured_models

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData, Table

SCHEMA = 1
"""The version of the tables. A newer one is refused, never guessed at."""

LOCKED_S = 10.0
"""How long to wait for another process that is writing."""


@dataclass(frozen=True)
class Record:
    """One run, as far as runs are held against each other.

    Attributes:
        id: its number in the database, from 1, in the order in which runs ended.
        created: when it ended, UTC, `2026-01-31T12:00:00Z`.
        name: the recipe, or the model's file for a bare benchmark.
        kind: `run` or `benchmark`.
        ok: no check failed.
        folder: where its results were written; they may have been moved since.
        sha256, size_bytes, ota_bytes, metric, value: of the artifact; None where a bare benchmark has none.
        measurements: of the int8 model, as in report.json; of one in two files, those that `measured_models` gives.
    """

    id: int
    created: str
    name: str
    kind: str
    ok: bool
    folder: str
    sha256: str | None
    size_bytes: int | None
    ota_bytes: int | None
    metric: str | None
    value: float | None
    measurements: tuple[Mapping[str, Any], ...]


class History:
    """The database, open.

    Args:
        url: an SQLAlchemy URL; None takes `EDGESMITH_HISTORY`, else `~/.local/share/edgesmith/runs.db`.

    Raises:
        UsageError: the URL is none, or its driver is not installed.
        StorageError: the database is locked, damaged, or from a newer version of edgesmith.
    """

    def __init__(self, url: str | None = None) -> None:
        self._url = url or os.environ.get("EDGESMITH_HISTORY") or _own_file()
        self._engine = _engine(self._url)
        self._tables = _tables()

    def __enter__(self) -> Self:
        with self._told():
            self._prepare_once()
        return self

    def __exit__(self, *error: object) -> None:
        self._engine.dispose()

    def add(self, report: Mapping[str, Any], folder: Path) -> int:
        """Keep a run.

        Args:
            report: the document of report.json.
            folder: where it lies.

        Returns:
            its number.
        """
        artifact = report["artifact"]
        keys = ("sha256", "size_bytes", "ota_bytes", "metric", "value")
        facts = {"name": report["recipe"], "kind": "run", "ok": report["ok"], "folder": str(folder.absolute())}
        rows = measured_models(report)
        return self._insert({**facts, "created": report["created"], **{key: artifact[key] for key in keys}}, rows)

    def add_benchmark(self, document: Mapping[str, Any]) -> int:
        """Keep a bare benchmark of a model file.

        Args:
            document: what `benchmark --json` prints.

        Returns:
            its number.
        """
        model = document["model"]
        facts = {"name": model["path"], "kind": "benchmark", "ok": document["ok"], "folder": ""}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        rows = [each["measurement"] for each in document["devices"] if each["measurement"] is not None]
        named = {"created": now, "sha256": model["sha256"], "size_bytes": model["size_bytes"]}
        return self._insert({**facts, **named}, rows)

    def records(self, name: str | None = None, last: int = 50) -> list[Record]:
        """The last runs, oldest first; of one name only where one is given."""
        from sqlalchemy import select

        runs = self._tables["runs"]
        query = select(runs).order_by(runs.c.id.desc()).limit(last)
        if name is not None:
            query = query.where(runs.c.name == name)
        with self._told(), self._engine.connect() as connection:
            return [_record(row) for row in reversed(connection.execute(query).mappings().all())]

    def _insert(self, facts: dict[str, Any], rows: Sequence[Mapping[str, Any]]) -> int:
        with self._told(), self._engine.begin() as connection:
            values = {**facts, "measurements": json.dumps(list(rows))}
            key = connection.execute(self._tables["runs"].insert().values(values)).inserted_primary_key
        assert key is not None
        return int(key[0])

    def _prepare_once(self) -> None:
        """Make the tables, or find those that another process made between our look and our turn."""
        from sqlalchemy.exc import DBAPIError

        try:
            with self._engine.begin() as connection:
                self._prepare(connection)
        except DBAPIError as error:
            if "already exists" not in str(error.orig):
                raise
            with self._engine.begin() as connection:
                self._prepare(connection)

    def _prepare(self, connection: Connection) -> None:
        """Make the tables where there are none; refuse those of a newer edgesmith."""
        from sqlalchemy import select

        meta: Table = self._tables["edgesmith"]
        meta.metadata.create_all(connection)
        version = connection.execute(select(meta.c.schema)).scalar()
        if version is None:
            connection.execute(meta.insert().values(schema=SCHEMA))
        elif version != SCHEMA:
            raise StorageError(
                f"The history {self._shown()} has schema {version}.",
                expected=f"schema {SCHEMA}",
                mend="update edgesmith: it is older than the database; or name another by EDGESMITH_HISTORY",
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What databases raise, told as a StorageError."""
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except SQLAlchemyError as error:
            reason = " ".join(str(getattr(error, "orig", None) or error).split())[:200]
            mend = (
                "move the file away: a new one is made" if "not a database" in reason or "malformed" in reason else ""
            )
            if "locked" in reason:
                mend = "another process holds it; try again when that has ended"
            raise StorageError(
                f"The history {self._shown()} cannot be used: {reason}.",
                mend=mend or "name another database by EDGESMITH_HISTORY, or run with --no-history",
            ) from error

    def _shown(self) -> str:
        """The URL without its password."""
        return self._engine.url.render_as_string(hide_password=True)


def _own_file() -> str:
    home = os.environ.get("XDG_DATA_HOME")
    folder = (Path(home) if home else Path.home() / ".local" / "share") / "edgesmith"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The folder of the history, {folder}, cannot be made: {(error.strerror or str(error)).lower()}.",
            mend="name another database by EDGESMITH_HISTORY, or run with --no-history",
        ) from error
    return f"sqlite:///{folder / 'runs.db'}"


def _engine(url: str) -> Engine:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    options = {"connect_args": {"timeout": LOCKED_S}} if url.startswith("sqlite") else {}
    try:
        return create_engine(url, **options)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        # The URL itself may hold a password, and the driver's message may hold the URL.
        raise UsageError(
            "The URL of the history is none that a database can be reached by.",
            expected="sqlite:////a/file.db or postgresql://user@host/name, its driver installed",
            mend="see EDGESMITH_HISTORY, or --history",
        ) from error


def _tables() -> dict[str, Table]:
    from sqlalchemy import Boolean, Column, Float, Integer, MetaData, String, Table, Text

    every: MetaData = MetaData()
    text = [Column(name, String(400)) for name in ("created", "name", "kind", "folder", "sha256", "metric")]
    whole = [Column(name, Integer) for name in ("size_bytes", "ota_bytes")]
    return {
        "edgesmith": Table("edgesmith", every, Column("schema", Integer, primary_key=True)),
        "runs": Table(
            "runs",
            every,
            Column("id", Integer, primary_key=True),
            *text,
            Column("ok", Boolean),
            *whole,
            Column("value", Float),
            Column("measurements", Text),
        ),
    }


def _record(row: Mapping[Any, Any]) -> Record:
    """A row, whose text another program may have written: SQLite holds columns to no type.

    Raises:
        StorageError: it is no run.
    """
    facts = {name: row[name] for name in Record.__dataclass_fields__ if name != "measurements"}
    try:
        measurements = json.loads(row["measurements"])
    except (TypeError, ValueError, RecursionError):
        measurements = None
    if not _is_run(facts, measurements):
        raise StorageError(
            f"Row {facts['id']} of the history is no run that edgesmith wrote.",
            mend="move the database away: a new one is made; or delete that row of its table runs",
        )
    return Record(**facts, measurements=tuple(measurements))


def _is_run(facts: Mapping[str, Any], measurements: Any) -> bool:
    texts = all(isinstance(facts[name], str) for name in ("created", "name", "kind"))
    numbers = all(
        facts[name] is None or isinstance(facts[name], int | float) for name in ("size_bytes", "ota_bytes", "value")
    )
    return texts and numbers and isinstance(measurements, list) and all(isinstance(one, dict) for one in measurements)
