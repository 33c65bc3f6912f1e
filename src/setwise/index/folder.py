"""The folder that a saved index is: what its files are, and what ``meta.json`` says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from setwise.files.folder import FolderFormat, FolderInfo

#: Every file that may stand beside ``meta.json``.
VECTORS, ROWS, FAISS, ENCODER = FILES = ("vectors.npy", "rows.parquet", "index.faiss", "encoder.npz")


@dataclass(frozen=True, kw_only=True)
class IndexInfo(FolderInfo):
    """What ``meta.json`` says of a saved index, besides what it says of every folder.

    Attributes
    ----------
    source : str or None
        Name of the file or folder it was made from, without its path.
    kind : {"array", "faiss"}
    n, d : int
        Number of vectors, and their width.
    metric : {"cosine", "euclidean"}
    dtype : {"float32", "float16"}
        Of the stored vectors.
    exact : bool
        Whether its searches find the true best.
    ids : {"integers", "large integers", "strings", "json"}
        What ids are: "large integers" where one is beyond 64 bits, "json" where some are strings.
    texts, groups : bool
        Whether each vector has a text, a group.
    columns : mapping of str to str
        Type of each further column, by name.
    reading : mapping
        How the corpus was read, for who reads it again; empty where it was not read.
    encoder : mapping or None
        What encodes queries: its ``name``, ``model`` (as `setwise.encode.encoder` takes it, or None) and
        ``key``.
    faiss : mapping or None
        The ``factory`` string, ``lists``, ``nprobe`` and ``ef`` where it has them.
    """

    source: str | None
    kind: str
    n: int
    d: int
    metric: str
    dtype: str
    exact: bool
    ids: str
    texts: bool
    groups: bool
    columns: Mapping[str, str]
    reading: Mapping[str, Any]
    encoder: Mapping[str, Any] | None
    faiss: Mapping[str, Any] | None


FORMAT = FolderFormat(
    noun="index",
    version=3,
    info=IndexInfo,
    files=FILES,
    make="make one with setwise index build",
    again="build it again",
)
