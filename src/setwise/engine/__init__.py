"""Where partitions run: local processes that share memory, or Ray; and selection over shards."""

from setwise.engine.base import Engine, engine_for
from setwise.engine.batches import merge_batches, select_batches
from setwise.engine.shards import Shard, ShardClusters, ShardSelection, select_shards

__all__ = [
    "Engine",
    "Shard",
    "ShardClusters",
    "ShardSelection",
    "engine_for",
    "merge_batches",
    "select_batches",
    "select_shards",
]
