"""Selection over shards that no machine holds at once: DGDS and MUSS where the items lie."""

from setwise.catalog.shards.batches import merge_batches, select_batches
from setwise.catalog.shards.clusters import ShardClusters
from setwise.catalog.shards.reading import Shard
from setwise.catalog.shards.select import ShardSelection, select_shards

__all__ = [
    "Shard",
    "ShardClusters",
    "ShardSelection",
    "merge_batches",
    "select_batches",
    "select_shards",
]
