"""Sampled responses in, rows for preference training out: from files larger than memory to files."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, Unpack

import numpy as np
from numpy.typing import NDArray

from setwise import checks, encode
from setwise.encode import Encoder, FittedEncoder
from setwise.extras import require
from setwise.files import check_output, write_atomic
from setwise.files.kinds import check_parquet
from setwise.files.names import ending
from setwise.preference.responses.choose import select_responses_many
from setwise.preference.responses.inputs import encoded_once
from setwise.preference.responses.request import ResponseOptions, ResponseRequest
from setwise.preference.rows.columns import EACH, PoolColumns, find_columns
from setwise.preference.rows.formats import FORMATS, as_rows, left_out, row_schema
from setwise.preference.rows.pools import ResponsePool, read_pools
from setwise.preference.rows.sieve import Sieve
from setwise.preference.rows.sources import open_rows
from setwise.preference.rows.summary import Summary
from setwise.progress import Progress
from setwise.request import taken, takes

if TYPE_CHECKING:
    import datasets
    import pandas
    import polars
    import pyarrow

OUTPUTS = (".jsonl", ".parquet")

#: Prompts that are encoded and selected from at once.
_PROMPTS = 256

#: Responses that an encoder which learns from its texts learns from at most.
_LEARNED_FROM = 50_000


class PreferenceRows:
    """One positive and k informative negatives of each prompt's responses, as rows to train on.

    Rows are made while they are iterated over, some hundred prompts at a time, as often as one likes.
    What is wrong with options or columns is refused at once, what is wrong with a row when it is read.

    Parameters
    ----------
    responses : path-like, datasets.Dataset or iterable of mappings
        Each row has a prompt, its responses and their rewards (UltraFeedback's records, with a score in each,
        too); or is one response, those of a prompt one after the other; or has chosen and rejected responses.
        See `open_rows`. A prompt is a text or a list of messages, and may be repeated in, or be no more than,
        the messages before a response.
    k : int
        Negatives a prompt.
    method : {"opt-select", "coreset", "bottom-k", "sigma", "best-vs-worst", "random"}
    solver : {"swap", "exact", "greedy"}
    positives : int
    split : {"one-vs-k", "mean"}
        These four as in `select_responses`.
    reward_weight : float, default 3
        How much more a bad response counts than a good one, as in `select_responses`, whose default of 1 is
        AMPO's: of AlpacaEval's pools, 3 rejects a third as many of the best quarter at 4 % more distance.
    formulation : {"appendix-e", "equation-8"}
        As in `select_responses`.
    format : {"groups", "pairs", "unpaired", "llama-factory", "openrlhf", "axolotl"}
        One row a prompt (for a loss that compares all at once), one row a pair of chosen and rejected (for
        TRL's DPO and its like), or one row a response with a label (for TRL's KTO and its like). The others
        are pairs in the words of those trainers.
    model : str
        What encodes the responses, as in `setwise.encode.encoder`; not used where there are embeddings.
        "auto" looks for a column of embeddings first.
    prompt, responses_column, rewards, embeddings : str, optional
        Names of columns; by default the first known name that there is. Of responses that are records,
        ``rewards`` may be a path in them, such as "annotations.helpfulness.Rating".
    dataset_split : str, optional
        Which split of a `datasets.DatasetDict`, or of a folder of one.
    prompt_id : str, optional
        Where a row is one response: the column that says which belong together; by default "prompt_id" if
        there is one, else the prompt.
    duplicates : {"drop", "keep"}
        Responses that repeat an earlier one of their prompt word for word: left out, since one of them as
        the positive and the other as a negative would contradict each other; or kept, so that what a policy
        often says counts more in the coverage cost.
    near : float
        Of responses that have at least this share of their words in common, and whose vectors have at least
        this cosine, only the best rewarded is kept, so that no near-copy of a positive becomes a negative.
        Above 1, or with ``duplicates="keep"``, all are.
    ties : {"drop", "keep"}
        Responses as good as a positive that are none: left out, since a policy would be taught against what
        is no worse; with rewards of 0 and 1, these are all the other right ones. Or kept.
    min_gap : float
        How much lower than the worst positive's a negative's reward has to be, in the rewards' own unit.
    unscored : {"drop", "refuse"}
        Responses whose reward is null, NaN or a word such as "N/A", which judges write where they give none:
        left out and counted, or an error.
    too_few : {"refuse", "skip"}
        What to do with prompts that have not enough responses.
    certify : bool or "full"
        Also compute what no choice can cost less than; "full": until that is the least cost.
    time_limit : float
        Seconds for each prompt; see `select_responses`.
    seed : int
    threads : int, optional
    progress : callable, optional
        Called with the rows read and how many there are (0 if unknown).

    Attributes
    ----------
    request : ResponseRequest
        What is asked of each choice.
    sieve : Sieve
        What is left out before it.
    summary : Summary
        What came of the prompts iterated over last.
    encoder : str or None
        What encodes; None where the embeddings were brought.
    replaced : list of str
        Columns of the input that are not handed through, since a column made has their name or TRL would
        take them for something else.

    Raises
    ------
    FileNotFoundError
        There is no such file or folder.
    TypeError
        An option is of another type; while iterating, a cell is.
    ValueError
        An option or a column is unknown; while iterating, a prompt has fewer than k + positives responses and
        ``too_few="refuse"``, a reward or an embedding is not finite, or a prompt's rows are not together.

    Examples
    --------
    >>> rows = [{"prompt": "Hi", "responses": ["Hello!", "No.", "Go away."], "rewards": [1.0, 0.1, 0.0]}]
    >>> [row["chosen"] for row in PreferenceRows(rows, k=1, model="lsa")]
    ['Hello!']
    """

    @takes(ResponseOptions, ResponseRequest, reward_weight=3.0)
    def __init__(
        self,
        responses: Any,
        k: int,
        *,
        format: str = "groups",
        model: str = "auto",
        prompt: str | None = None,
        prompt_id: str | None = None,
        responses_column: str | None = None,
        rewards: str | None = None,
        embeddings: str | None = None,
        dataset_split: str | None = None,
        duplicates: str = "drop",
        near: float = 0.9,
        ties: str = "drop",
        min_gap: float = 0.0,
        unscored: str = "drop",
        too_few: str = "refuse",
        threads: int | None = None,
        progress: Progress | None = None,
        **options: Unpack[ResponseOptions],
    ) -> None:
        self.request = ResponseRequest(**taken(PreferenceRows.__init__, options, k=k))
        self.format = checks.choice("format", format, FORMATS)
        self.sieve = Sieve(
            self.request,
            duplicates=duplicates,
            near=near,
            ties=ties,
            min_gap=min_gap,
            unscored=unscored,
            too_few=too_few,
        )
        self.progress = progress
        encode.parse(model)
        if embeddings is not None and model != "auto":
            raise ValueError("model: embeddings say what the responses' vectors are; leave one of them out")
        self._threads = threads
        self.source = open_rows(responses, dataset_split)
        columns = find_columns(
            self.source,
            prompt=prompt,
            prompt_id=prompt_id,
            responses=responses_column,
            rewards=rewards,
            embeddings=embeddings,
        )
        self._model = model
        if model != "auto":
            columns = columns.without_embeddings()
        self.columns: PoolColumns = columns
        self.several = self.request.positives > 1 or self.request.split == "mean"
        self.summary = Summary()
        self._encoder: Encoder | None = None
        hidden = left_out(format)
        self.replaced = [name for name in self.source.columns if name in hidden and name not in columns.taken]

    @property
    def encoder(self) -> str | None:
        """What encodes the responses; None where embeddings were brought."""
        if self.columns.embeddings is not None:
            return None
        return self._encoder.name if self._encoder is not None else self._model

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for rows in self._batches():
            yield from rows

    def schema(self) -> pyarrow.Schema:
        """Return the rows' Arrow types. Where the source has none, it is read through for them."""
        without = self.columns.taken - {self.columns.prompt}
        first = next(read_pools(self.source, self.columns))
        return row_schema(
            self.source.schema(without),
            self.columns,
            format=self.format,
            several=self.several,
            talks=not isinstance(first.prompt, str),
            each=[] if self.columns.long else [name for name in EACH if name in self.source.columns],
        )

    def write(self, path: str | os.PathLike[str], *, force: bool = False) -> Summary:
        """Write the rows to a .jsonl or .parquet file, whole or not at all; return what came of them.

        Raises
        ------
        FileExistsError
            The file is there and ``force`` is not given.
        FileNotFoundError, IsADirectoryError, PermissionError
            Its folder is missing or not writable, or it is a folder.
        ValueError
            It ends in none of `OUTPUTS`, every prompt was skipped, or JSON cannot hold a cell.
        """
        target = check_output(path, force=force, endings=OUTPUTS)
        if ending(target) == ".parquet":
            write_atomic(target, self._write_parquet, force=force)
        else:
            write_atomic(target, self._write_jsonl, force=force)
        return self.summary

    def to_dataset(self) -> datasets.Dataset:
        """Return the rows as a Hugging Face dataset in memory."""
        return require("datasets", "train", "a dataset").Dataset(self.to_arrow())

    def to_arrow(self) -> pyarrow.Table:
        """Return the rows as an Arrow table in memory."""
        from setwise.extras.arrow import arrow

        schema = self.schema()
        tables = [arrow.Table.from_pylist(rows, schema=schema) for rows in self._batches()]
        return arrow.concat_tables(tables)

    def to_pandas(self) -> pandas.DataFrame:
        """Return the rows as a pandas frame."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> polars.DataFrame:
        """Return the rows as a polars frame."""
        return require("polars", "polars", "a polars frame").from_arrow(self.to_arrow())

    def _write_jsonl(self, stream: IO[bytes]) -> None:
        for row in self:
            try:
                line = json.dumps(row, ensure_ascii=False, allow_nan=False)
            except (TypeError, ValueError):
                raise ValueError(f"out: {_unwritable(row)}, which JSON cannot hold; write .parquet") from None
            stream.write(line.encode() + b"\n")

    def _write_parquet(self, stream: IO[bytes]) -> None:
        from setwise.extras.arrow import arrow, parquet

        schema = self.schema()
        check_parquet(schema, self.source.name)
        with parquet.ParquetWriter(stream, schema) as writer:
            for rows in self._batches():
                writer.write_table(arrow.Table.from_pylist(rows, schema=schema))

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of some prompts at a time."""
        self.summary = Summary()
        total = len(self.source) if self.progress is not None else 0
        self._learn()
        pools = read_pools(self.source, self.columns)
        done = 0
        while batch := list(itertools.islice(pools, _PROMPTS)):
            rows = self._rows_of(batch, done, total)
            done = batch[-1].read
            if self.progress is not None:
                self.progress(done, total)
            if rows:
                yield rows
        if not self.summary.prompts:
            raise ValueError(f"too_few: every prompt was skipped, the first: {self.summary.first_skipped}")

    def _rows_of(self, batch: list[ResponsePool], done: int, total: int) -> list[dict[str, Any]]:
        """Return the rows of some prompts."""
        sieve, summary = self.sieve, self.summary
        pools = [
            kept for pool in batch if sieve.enough(kept := sieve.trainable(pool, summary), len(pool), summary)
        ]

        def tell(texts: int, of: int) -> None:
            if self.progress is not None:
                self.progress(done + (batch[-1].read - done) * texts // max(1, of), total)

        pools, vectors = sieve.distinct(pools, self._vectors(pools, tell), summary)
        if not pools:
            return []
        found = select_responses_many(
            vectors,
            [pool.rewards for pool in pools],
            **vars(replace(self.request, seed=self._seed_of(done))),
            threads=self._threads,
        )
        rows = []
        for pool, selection in zip(pools, found, strict=True):
            made = as_rows(pool, selection, format=self.format, several=self.several)
            self.summary.add(selection, len(made))
            rows += made
        return rows

    def _seed_of(self, rows: int) -> int:
        """Return the seed after so many rows: a new one where prompts draw one after another."""
        if self.request.method != "random" or not rows:
            return self.request.seed
        return int(np.random.SeedSequence([self.request.seed, rows]).generate_state(1)[0])

    def _vectors(self, pools: Sequence[ResponsePool], tell: Progress) -> list[NDArray[Any]]:
        """Return each pool's vectors; equal texts are encoded once."""
        if self._encoder is None:
            return [pool.embeddings for pool in pools if pool.embeddings is not None]
        return encoded_once(self._encoder, [pool.responses for pool in pools], tell)

    def _learn(self) -> None:
        """Make the encoder, if one is needed; one that learns does so from a sample of all responses."""
        if self.columns.embeddings is not None or self._encoder is not None:
            return
        made = encode.encoder(self._model, seed=self.request.seed)
        if isinstance(made, FittedEncoder):
            made.fit(self._sample())
        self._encoder = made

    def _sample(self) -> list[str]:
        """Return responses drawn from the whole source, each as likely as any other (reservoir sampling)."""
        rng = np.random.default_rng(self.request.seed)
        kept: list[str] = []
        seen = 0
        for pool in read_pools(self.source, self.columns):
            for text in pool.responses:
                seen += 1
                if len(kept) < _LEARNED_FROM:
                    kept.append(text)
                elif (place := int(rng.integers(seen))) < _LEARNED_FROM:
                    kept[place] = text
        return kept


def _unwritable(row: dict[str, Any]) -> str:
    """Say which of a row's columns JSON cannot hold."""
    for name, value in row.items():
        try:
            json.dumps(value, allow_nan=False)
        except TypeError:
            return f"column {name!r} has {value!r:.40} ({type(value).__name__})"
        except ValueError:
            return f"column {name!r} has NaN or Inf"
    raise AssertionError("every column of the row can be written")
