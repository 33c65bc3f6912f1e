"""What the tests of this folder need."""

from optional import installed

#: Clusters and neighbors are FAISS's, tables are Arrow's.
collect_ignore_glob = [] if installed("faiss", "pyarrow") else ["test_*.py"]
