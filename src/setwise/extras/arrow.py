"""Arrow, for all that reads or writes its tables: Arrow and Parquet files, and CSV."""

from setwise.extras import needs

with needs("arrow", "a table of Parquet, Arrow or CSV"):
    import pyarrow as arrow
    from pyarrow import compute, csv, parquet, types

__all__ = ["arrow", "compute", "csv", "parquet", "types"]
