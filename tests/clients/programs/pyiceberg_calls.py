"""pyiceberg: a table on S3 (catalog in SQLite): created, appended to, evolved, overwritten, deleted from, travelled through."""

from __future__ import annotations

import pyarrow as pa
import pyiceberg
from fresh import fresh_bucket
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import EqualTo
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import StringType
from report import Report


def main():
    """Make the calls."""
    report = Report("pyiceberg", pyiceberg.__version__)
    place, call = report.place, report.call
    fresh_bucket(place)
    keys = {
        "s3.access-key-id": place.access_key,
        "s3.secret-access-key": place.secret_key,
        "s3.session-token": place.token,
    }
    catalog = SqlCatalog(
        "matrix", uri=f"sqlite:///{place.folder}/catalog.db", warehouse=f"s3://{place.bucket}/warehouse",
        **{"s3.endpoint": place.endpoint, "s3.region": "us-east-1"} | {n: v for n, v in keys.items() if v},
    )  # fmt: skip
    rows = pa.table({"day": [f"d{i % 3}" for i in range(1000)], "n": list(range(1000))})
    call("create_namespace", lambda: catalog.create_namespace("ns"))
    call("create_table", lambda: bool(catalog.create_table("ns.t", schema=rows.schema)))

    def table():
        return catalog.load_table("ns.t")

    call("append", lambda: table().append(rows))
    call("scan", lambda: table().scan().to_arrow().num_rows)
    call(
        "scan filtered",
        lambda: table().scan(row_filter=EqualTo("day", "d1"), selected_fields=("n",)).to_arrow().num_rows,
    )
    call("update_schema", lambda: evolve(table()))
    call("update_spec", lambda: partition(table()))
    call("append after evolution", lambda: table().append(rows.append_column("extra", pa.array(["x"] * 1000))))
    call("delete", lambda: table().delete("n < 100"))
    call(
        "overwrite",
        lambda: table().overwrite(
            rows.append_column("extra", pa.array(["y"] * 1000)), overwrite_filter=EqualTo("day", "d0")
        ),
    )
    call("count", lambda: table().scan().count())
    call("time travel", lambda: table().scan(snapshot_id=table().history()[0].snapshot_id).to_arrow().num_rows)
    call("files", lambda: len(table().inspect.files()))
    call("snapshots", lambda: len(table().inspect.snapshots()))
    call("rename_table", lambda: bool(catalog.rename_table("ns.t", "ns.u")))
    call("purge_table", lambda: catalog.purge_table("ns.u"))
    call("list_tables", lambda: catalog.list_tables("ns"))


def evolve(table):
    """Add a column."""
    with table.update_schema() as update:
        update.add_column("extra", StringType())


def partition(table):
    """Partition by day."""
    with table.update_spec() as update:
        update.add_field("day", IdentityTransform(), "day")


if __name__ == "__main__":
    main()
