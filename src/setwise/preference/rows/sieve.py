"""Which of a prompt's responses can be trained on; what is left out is counted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from setwise import checks
from setwise.preference.responses.choose import TOO_FEW
from setwise.preference.responses.request import ResponseRequest
from setwise.preference.rows.copies import without_near_copies
from setwise.preference.rows.pools import ResponsePool, judged, scored, sift
from setwise.preference.rows.summary import Summary

DUPLICATES = ("drop", "keep")
UNSCORED = ("drop", "refuse")


class Sieve:
    """What is left out of pools before a choice; the parameters are those of `PreferenceRows`.

    Raises TypeError: a number is none; ValueError: a name is unknown, or a number out of range.
    """

    def __init__(
        self,
        request: ResponseRequest,
        *,
        duplicates: str,
        near: float,
        ties: str,
        min_gap: float,
        unscored: str,
        too_few: str,
    ) -> None:
        self.request = request
        self.duplicates = checks.choice("duplicates", duplicates, DUPLICATES)
        self.ties = checks.choice("ties", ties, DUPLICATES)
        self.unscored = checks.choice("unscored", unscored, UNSCORED)
        self.too_few = checks.choice("too_few", too_few, TOO_FEW)
        self.near = checks.positive("near", near)
        self.min_gap = checks.nonnegative("min_gap", min_gap)

    def trainable(self, pool: ResponsePool, summary: Summary) -> ResponsePool:
        """Return a prompt's pool without what cannot or shall not be trained on, having counted it."""
        request, distinct = self.request, self.duplicates == "drop"
        pool = judged(pool)
        known = scored(pool)
        if len(known) < len(pool):
            if self.unscored == "refuse":
                bad = int(np.isnan(pool.rewards).argmax())
                raise ValueError(
                    f"rewards: {pool.place}, response {bad} has no score; score it, or leave such "
                    "responses out (--unscored drop)"
                )
            summary.unscored += len(pool) - len(known)
            pool = pool.only(known)
        worded, first, better = sift(pool, request.positives, request.split, distinct, self.min_gap)
        summary.blank += len(pool) - len(worded)
        summary.duplicates += len(worded) - len(first)
        kept = first if distinct else worded
        if self.ties == "drop" or self.min_gap:
            summary.ties += len(kept) - len(better)
            kept = better
        return pool if len(kept) == len(pool) else pool.only(kept)

    def distinct(
        self, pools: list[ResponsePool], vectors: list[NDArray[Any]], summary: Summary
    ) -> tuple[list[ResponsePool], list[NDArray[Any]]]:
        """Return the pools that have responses enough without near-copies, and their vectors."""
        if self.duplicates == "keep":
            return pools, vectors
        kept_pools, kept_vectors = [], []
        for pool, rows in zip(pools, vectors, strict=True):
            kept = without_near_copies(pool.responses, rows, pool.rewards, self.near)
            summary.near_copies += len(pool) - len(kept)
            one = pool if len(kept) == len(pool) else pool.only(kept)
            if self.enough(one, len(pool), summary):
                kept_pools.append(one)
                kept_vectors.append(rows if one is pool else rows[kept])
        return kept_pools, kept_vectors

    def enough(self, pool: ResponsePool, given: int, summary: Summary) -> bool:
        """Return whether a prompt has responses enough of those given; else count it, or refuse it."""
        if len(pool) >= self.request.needed:
            return True
        reason = f"{pool.place} has {len(pool)} response{'' if len(pool) == 1 else 's'} to choose from"
        mend = "take a smaller k"
        if given > len(pool):
            left = [("empty", True), ("repeated", self.duplicates == "drop"), ("tied", self.ties == "drop")]
            left += [
                ("unscored", summary.unscored > 0),
                ("nearly repeated", summary.near_copies > 0),
            ]
            reason += f" (of {given}, without {' or '.join(word for word, out in left if out)} ones)"
            if self.ties == "drop":
                mend += ", keep ties (--ties keep)"
        reason += f", where {self.request.needed} are needed"
        if self.too_few == "refuse":
            raise ValueError(f"responses: {reason}; {mend}, or skip such prompts (--too-few skip)")
        summary.skip(reason)
        return False
