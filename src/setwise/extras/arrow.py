"""Arrow, for all that reads or writes its tables: Arrow and Parquet files, CSV, saved indexes, drawn rows."""

from setwise.extras import needs

with needs("arrow", "a table (Parquet, Arrow, CSV, a saved index, drawn rows)"):
    import pyarrow as arrow
    from pyarrow import compute, csv, parquet, types

__all__ = ["arrow", "compute", "csv", "parquet", "types"]
