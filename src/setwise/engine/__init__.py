"""Where partitions run: local processes that share memory, or Ray."""

from setwise.engine.base import Engine, engine_for
from setwise.engine.shards import Shard, ShardSelection, merge_batches, select_batches, select_shards

__all__ = [
    "Engine",
    "Shard",
    "ShardSelection",
    "engine_for",
    "merge_batches",
    "select_batches",
    "select_shards",
]
