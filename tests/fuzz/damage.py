"""Damaged files of every kind, read by everything that reads them.

    python -m tests.fuzz.damage TIMES [FIRST [KIND ...]]

A case is a whole file, changed as its seed says: bits flipped, bytes overwritten, cut, repeated or moved,
numbers in it made huge, or another kind's file under its name. It is read in a forked process, which may not
die, hang or take gigabytes; what it raises is what the command line makes one line of. A damaged cache entry
is made anew, with the vectors it had.
"""

from __future__ import annotations

import faulthandler
import gzip
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

#: What a case may take, beside what the process has that it is forked from.
SECONDS, BYTES = 60, 6 << 30

#: Cases a process: a decompressor that loses some hundred kilobytes a broken stream is not the case's fault.
TOGETHER = 500

TEXTS = ["red glass", "blue glass and stone", "green paper", "a round stone", "north of town", "glass"] * 4


# ---------------------------------------------------------------------- whole files


def _rows(n: int = 24) -> list[dict]:
    rng = np.random.default_rng(0)
    return [
        {
            "id": f"é{row}",
            "text": TEXTS[row],
            "prompt": TEXTS[row],
            "responses": [f"{word} {row}" for word in ("a", "b", "c")],
            "rewards": rng.random(3).tolist(),
            "v": rng.standard_normal(4).tolist(),
            "group": row % 3,
            "score": row / 7,
        }
        for row in range(n)
    ]


def _parquet(path: Path) -> None:
    from setwise.extras.arrow import arrow, parquet

    parquet.write_table(arrow.Table.from_pylist(_rows()), path, row_group_size=10)


def _arrow(path: Path) -> None:
    from setwise.extras.arrow import arrow

    table = arrow.Table.from_pylist(_rows())
    with arrow.OSFile(str(path), "wb") as sink, arrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _feather(path: Path) -> None:
    from setwise.extras.arrow import arrow

    table = arrow.Table.from_pylist(_rows())
    with arrow.OSFile(str(path), "wb") as sink, arrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _lines() -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in _rows()).encode()


def _zstd(path: Path) -> None:
    from setwise.extras.arrow import arrow

    path.write_bytes(arrow.Codec("zstd").compress(_lines(), asbytes=True))


def _csv(path: Path) -> None:
    lines = [f'{row["id"]},"{row["text"]}",{row["score"]},"{row["v"]}"' for row in _rows()]
    path.write_text("\n".join(["id,text,score,v", *lines]))


def _npz(path: Path) -> None:
    with path.open("wb") as stream:
        np.savez(stream, vectors=np.eye(4), more=np.arange(3))


def _docx(path: Path) -> None:
    import docx

    document = docx.Document()
    for text in TEXTS[:6]:
        document.add_paragraph(text)
    document.save(str(path))


def _pdf(path: Path) -> None:
    stream = b"BT /F1 12 Tf 72 720 Td (red glass and stone) Tj ET"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R"
        b" /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    data, places = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % place for place in places)
    data += b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, start)
    path.write_bytes(data)


MARKUP = "# Glass\n\nred *glass*\n\n## Stone\n\n- a\n- b\n\n```py\nx = 1\n```\n"
PAGE = "<html><body><h1>Glass</h1><p>red &amp; blue</p><table><tr><td>1</td></tr></table></body></html>"


def _index(folder: Path, kind: str = "array") -> None:
    from setwise import encode
    from setwise.index.saving import save

    encoder = encode.encoder("lsa")
    encoder.fit(TEXTS)
    options = {"texts": TEXTS, "groups": [row % 3 for row in range(24)], "encoder": encoder, "model": "lsa"}
    save(folder, encoder.encode(TEXTS), kind=kind, **options)


def _catalog(folder: Path) -> None:
    import setwise

    rng = np.random.default_rng(0)
    ids = [f"é{row}" for row in range(40)]
    setwise.Catalog.build(rng.standard_normal((40, 4)), rng.random(40), clusters=4, ids=ids).save(folder)


def _entry(folder: Path) -> None:
    from setwise import encode
    from setwise.encode.cache import encode_texts

    encode_texts(TEXTS, encode.encoder("lsa"), folder)


# ---------------------------------------------------------------------- readers


def _read_table(path: Path) -> None:
    from setwise.files import column_types, read_table

    types = column_types(path)
    table = read_table(path, types)
    for name, kind in types.items():
        for read in (table.texts, table.labels, table.numbers, table.vectors):
            if kind != "string" or read in (table.texts, table.labels):
                _refused(lambda read=read, name=name: read(name, "column"))


def _read_corpus(path: Path) -> None:
    from setwise.files import read_corpus

    read_corpus(path)


def _read_repository(path: Path) -> None:
    from setwise.finetuning.rows.repository import Repository

    rows = Repository(path)
    for part in rows.texts(7):
        assert all(isinstance(text, str) for text in part)
    list(rows.take(np.arange(0, len(rows), 3)))


def _read_responses(path: Path) -> None:
    from setwise.preference.rows.rows import PreferenceRows

    for row in PreferenceRows(path, k=1, model="lsa", too_few="skip"):
        json.dumps(row, allow_nan=False)


def _read_array(path: Path) -> None:
    from setwise.files import read_array

    array = read_array(path, "vectors")
    assert array.dtype.hasobject is False
    _refused(lambda: __import__("setwise").select(array, 1))


def _read_index(folder: Path) -> object:
    import setwise
    from setwise.index.saved import open_index

    saved = open_index(folder)
    query = saved.encode("red glass")
    hits = setwise.retrieve(query, saved.index, 3, groups="group", max_per_group=2)
    return [saved.ids[row] for row in hits.ids.tolist()], [saved.texts[row] for row in hits.ids.tolist()]


def _read_catalog(folder: Path) -> object:
    import setwise

    return setwise.Catalog.load(folder).select(5, clusters=2, method="muss").ids.tolist()


def _read_entry(folder: Path) -> object:
    from setwise import encode
    from setwise.encode.cache import encode_texts

    return encode_texts(TEXTS, encode.encoder("lsa"), folder).vectors.tobytes()


def _refused(read: Callable[[], object]) -> None:
    """Read what may be refused: the file has been taken, a column of it need not fit."""
    from setwise.cli import REFUSED, _refusal

    try:
        read()
    except Exception as error:
        code, told = _refusal(error)
        if code != REFUSED or not told:
            raise


@dataclass(frozen=True)
class Kind:
    """A kind of file, or of saved folder.

    make : writes a whole one; read : what reads it; folder : whether it is a folder, of whose files one is
    changed; same : whether it reads the same as before wherever it is not refused (checksums are compared);
    whole : whether it is never refused.
    """

    make: Callable[[Path], object]
    read: tuple[Callable[[Path], object], ...]
    folder: bool = False
    same: bool = False
    whole: bool = False


TABLE = (_read_table, _read_corpus, _read_repository, _read_responses)
KINDS = {
    ".parquet": Kind(_parquet, TABLE),
    ".arrow": Kind(_arrow, TABLE[:3]),
    ".feather": Kind(_feather, TABLE[:3]),
    ".jsonl": Kind(lambda path: path.write_bytes(_lines()), TABLE),
    ".jsonl.gz": Kind(lambda path: path.write_bytes(gzip.compress(_lines())), TABLE),
    ".jsonl.zst": Kind(_zstd, TABLE),
    ".json": Kind(lambda path: path.write_text(json.dumps(_rows())), TABLE),
    ".csv": Kind(_csv, TABLE[:3]),
    ".npy": Kind(lambda path: np.save(path, np.eye(8, 4)), (_read_array, _read_corpus)),
    ".npz": Kind(_npz, (_read_array, _read_corpus)),
    ".md": Kind(lambda path: path.write_text(MARKUP), (_read_corpus,)),
    ".html": Kind(lambda path: path.write_text(PAGE), (_read_corpus,)),
    ".docx": Kind(_docx, (_read_corpus,)),
    ".pdf": Kind(_pdf, (_read_corpus,)),
    "index": Kind(_index, (_read_index,), folder=True),
    "faiss": Kind(lambda folder: _index(folder, "faiss"), (_read_index,), folder=True),
    "catalog": Kind(_catalog, (_read_catalog,), folder=True),
    "cache": Kind(_entry, (_read_entry,), folder=True, same=True, whole=True),
}


# ---------------------------------------------------------------------- damage

DEEP = b"[" * 100_000
BITS = [
    *(b"NaN", b"null", b"1e999", b"\\ud800", b'"\xff"', b"-1", b"9" * 400),
    *(b"9223372036854775808", b"{}", b"\x1b[2J"),
]

#: Ways to change bytes that leave a file its size, which the readers of saved folders compare.
IN_PLACE = (0, 1, 2, 3, 7)


def damaged(data: bytes, rng: np.random.Generator, *, in_place: bool = False) -> bytes:
    """Return a file's bytes, changed."""
    changed, size = bytearray(data), len(data)

    def place(width: int = 1) -> int:
        near = rng.random() < 0.5  # headers and footers tell most
        at = rng.integers(0, min(size, 400)) if near else rng.integers(0, size)
        return int(min(at if rng.random() < 0.7 else size - 1 - at, max(0, size - width)))

    for _ in range(int(rng.choice([1, 1, 1, 2, 5]))):
        size = len(changed)
        if size == 0:
            return bytes(changed)
        how = int(rng.choice(IN_PLACE)) if in_place else int(rng.integers(0, 10))
        at, length = place(), int(rng.integers(1, 40))
        if how <= 2:
            changed[at] ^= 1 << int(rng.integers(8))
        elif how == 3:
            length = min(length, size - at)
            changed[at : at + length] = rng.bytes(length)
        elif how == 4:
            del changed[at:]
        elif how == 5:
            del changed[at : at + length]
        elif how == 6:
            changed[at:at] = changed[place() :][: int(rng.integers(1, 2000))]
        elif how == 7:
            width = int(rng.choice([2, 4, 8]))
            number = int(rng.choice([0, 1, 2**15, 2**31, 2**62, 2**64 - 1])) % 2 ** (8 * width)
            at = place(width)
            changed[at : at + width] = number.to_bytes(width, "little")
        elif how == 8:
            changed[at : at + (length if rng.random() < 0.5 else 0)] = BITS[rng.integers(len(BITS))]
        else:
            digits = [found.span() for found in re.finditer(rb"\d+", bytes(changed[:100_000]))]
            if digits:
                start, stop = digits[rng.integers(len(digits))]
                changed[start:stop] = [b"0", b"-5", b"18446744073709551616", b"4294967297"][rng.integers(4)]
    if rng.random() < 0.02 and not in_place:
        changed[place() :] = DEEP
    return bytes(changed)


@cache
def whole(kind: str, folder: str) -> Path:
    """Return a whole file or folder of a kind, made once."""
    path = Path(folder, "whole", f"a{kind}" if kind.startswith(".") else kind)
    path.parent.mkdir(exist_ok=True)
    KINDS[kind].make(path)
    return path


def made(kind: str, seed: int, folder: str) -> tuple[Path, str]:
    """Write the case of a seed; return where it is, and what was changed."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    source = whole(kind, folder)
    target = Path(folder, "case", source.name)
    shutil.rmtree(target.parent, ignore_errors=True)
    target.parent.mkdir()
    if KINDS[kind].folder:
        shutil.copytree(source, target)
        files = sorted(
            each for each in target.rglob("*") if each.is_file() and not each.name.endswith(".lock")
        )
        changed = files[rng.integers(len(files))]
        if rng.random() < 0.05:
            changed.unlink()
            return target, f"no {changed.name}"
    else:
        shutil.copy(source, target)
        changed = target
    if rng.random() < 0.04:
        others = [each for each in KINDS if not KINDS[each].folder and each != kind]
        other = whole(str(rng.choice(others)), folder)
        shutil.copy(other, changed)
        return target, f"{changed.name} is {other.name}"
    in_place = KINDS[kind].folder and rng.random() < 0.8
    changed.write_bytes(damaged(changed.read_bytes(), rng, in_place=in_place))
    return target, changed.name


# ---------------------------------------------------------------------- cases


def outcome(kind: str, seed: int, folder: str, before: object) -> str:
    """Return "read", "refused", or what is wrong."""
    from setwise.cli import REFUSED, _refusal

    path, changed = made(kind, seed, folder)
    found = "refused"
    for read in KINDS[kind].read:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = read(path)
        except BaseException as error:
            code, told = _refusal(error)
            if code != REFUSED or not told or isinstance(error, AssertionError):
                return f"{read.__name__}, {changed}: {type(error).__name__}: {error!s:.300}"
            if len(told) > 700 or "\n" in told.strip():
                return f"{read.__name__}, {changed}: more than a line: {told:.300}"
            if KINDS[kind].whole:
                return f"{read.__name__}, {changed}: refused: {told:.300}"
            continue
        found = "read"
        if KINDS[kind].same and value != before:
            return f"{read.__name__}, {changed}: reads as something else"
    return found


def _answer(kind: str, folder: str) -> object:
    """Return what a whole one reads as."""
    if not KINDS[kind].same:
        return None
    spare = Path(folder, "spare")
    shutil.copytree(whole(kind, folder), spare)
    value = KINDS[kind].read[0](spare)
    shutil.rmtree(spare)
    return value


def _work(kind: str, seeds: range, folder: str, before: object, pipe: int) -> None:
    """Do cases in a process of their own, and tell of each before and after."""
    pages = Path("/proc/self/statm")
    most = BYTES + (int(pages.read_text().split()[0]) * resource.getpagesize() if pages.exists() else 0)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what native libraries print
    for seed in seeds:
        signal.alarm(SECONDS)
        os.write(pipe, f"{seed}\t".encode())
        told = outcome(kind, seed, folder, before).replace("\n", " ").replace("\t", " ")
        os.write(pipe, f"{told}\n".encode())


def run(kind: str, times: int, first: int, folder: str) -> tuple[Counter, list[str]]:
    """Return how the cases of a kind went, and the faults among them."""
    counts: Counter = Counter()
    faults: list[str] = []
    whole(kind, folder)  # here, so that each process has it
    before = _answer(kind, folder)
    seed = first
    while seed < first + times:
        reading, writing = os.pipe()
        process = os.fork()
        if not process:
            try:
                _work(kind, range(seed, min(seed + TOGETHER, first + times)), folder, before, writing)
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as stream:
            told = stream.read().decode(errors="replace").splitlines()
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        for line in told:
            number, _, how = line.partition("\t")
            seed = int(number) + 1
            if not how:
                how = f"died: {signal.Signals(-status).name if status < 0 else status}"
            counts[how if how in ("read", "refused") else "fault"] += 1
            if how not in ("read", "refused"):
                faults.append(f"{kind} seed {number}: {how}")
        if not told:
            raise RuntimeError(f"{kind} seed {seed}: nothing was told, {status}")
    return counts, faults


def main() -> None:
    """Run cases of every kind, and say what was wrong."""
    times, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for kind in sys.argv[3:] or KINDS:
            counts, faults = run(kind, times, first, folder)
            print(f"{kind}: {dict(counts)}", *faults, sep="\n  ", flush=True)
            wrong += len(faults)
    raise SystemExit(wrong > 0)


if __name__ == "__main__":
    main()
