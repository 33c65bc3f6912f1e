"""Groups that are tokenized when they are trained on, out of rows that are never held whole."""
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from setwise import checks
from setwise.preference.training.config import PreferenceConfig
from setwise.preference.training.groups import Group, Unusable, open_pools


class StreamedGroups(IterableDataset[Group]):
    """Groups in the order of their rows, over and over: `max_steps` says when it is enough.

    Of n processes (and loading workers) each tokenizes every n-th row. What is wrong with a row is said when
    it is reached; the first row is read at once.

    Parameters
    ----------
    rows : iterable of mapping, datasets.IterableDataset or path-like
        As in `as_groups`, but readable more than once.
    tokenizer : transformers.PreTrainedTokenizerBase
    name : str
        What the rows are called in messages.

    Attributes
    ----------
    end : int or None
        The token that ends a response.

    Raises TypeError, ValueError: `as_groups` would refuse the rows by their columns or by the first of them;
    ValueError: ``max_steps`` is not set, or the loss compares with a reference, which needs all rows before
    training.
    """

    def __init__(self, rows: Any, tokenizer: Any, config: PreferenceConfig, name: str) -> None:
        if config.max_steps < 1:
            raise ValueError("max_steps: needed by streaming=True; say after how many steps training ends")
        if config.needs_reference:
            raise ValueError(
                f"streaming: loss={config.loss!r} takes a reference model's log-probabilities of all rows "
                "before training; leave one of them out"
            )
        self._pools, self._reader = open_pools(rows, tokenizer, config, name)
        self._config, self._name = config, name
        self._told: set[str] = set()
        next(self._groups(0, 1))
        self.end = self._reader.end

    def __iter__(self) -> Iterator[Group]:
        worker = get_worker_info()
        within, workers = (0, 1) if worker is None else (worker.id, worker.num_workers)
        share = self._config.process_index * workers + within
        while True:
            yield from self._groups(share, self._config.world_size * workers)

    def _groups(self, share: int, shares: int) -> Iterator[Group]:
        """Yield a share of one pass' groups."""
        found = False
        told = {
            "unscored": "responses without a reward; such are left out",
            "truncated": f"responses cut off at max_length={self._config.max_length}; such have no end",
            "copies": "negatives with the tokens of their positive; such are left out",
        }
        for row, pool in enumerate(self._pools()):
            if row % shares != share:
                continue
            before = {name: getattr(self._reader, name) for name in told}
            try:
                group = self._reader.group(pool)
            except Unusable as reason:
                if self._config.unusable == "error":
                    raise ValueError(
                        f"{self._name}: {pool.place} {reason}, or pass unusable='drop'"
                    ) from None
                self._tell("unusable", f"{pool.place} {reason} (dropped, as others like it will be)")
                continue
            for kind, what in told.items():
                if getattr(self._reader, kind) > before[kind]:
                    self._tell(kind, f"{pool.place} has {what}")
            found = True
            yield group
        if not found:
            raise ValueError(f"{self._name}: there are none left that can be trained on by process {share}")

    def _tell(self, kind: str, what: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            checks.warn(f"{self._name}: {what}")
