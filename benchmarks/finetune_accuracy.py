"""The shape of TSDS's Table 2: what each selection teaches a language model, by accuracy on held-out tasks.

    python -m benchmarks.finetune_accuracy --seeds 5    # minutes on a GPU, a night on two processors
    python -m benchmarks.finetune_page                  # the table of docs/finetune-measured.md

From a repository of instructions without GSM8K's, rows are selected for MMLU (its dev questions), BBH (three
questions of each of its 27 tasks) and, where asked for, GSM8K (100 of its test questions). LoRA on
SmolLM2-135M-Instruct for as many tokens of each method's choice ("full" is one pass over all rows), then
held-out questions: MMLU by the likeliest of the four letters, BBH and GSM8K by exact match of what is
generated. RDS+, KNN-Uniform and KNN-KDE look at hidden states of the model that is trained, LESS at its
gradients (``gradients:``; MMLU's subjects and BBH's tasks are its subtasks), DSIR at n-grams.
A line a measurement is added to ``--rows``, and what is there is not measured again; with ``--work`` the
representations go on where they stopped, too.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.data import SHARED
from numpy.typing import NDArray

from setwise.encode.base import Encoder
from setwise.encode.cache import encode_texts
from setwise.encode.ngrams import counts
from setwise.finetuning import baselines, match

ROWS = Path(__file__).resolve().parent / "results" / "finetune-accuracy.jsonl"

#: The model, the tokens of a question or an answer that are read.
MODEL, READ = "smollm2", 256

#: Tokens that an answer may have, by target; GSM8K's are a calculation.
LONGEST = {"BBH": 12, "GSM8K": 160}

#: Those whose choice is the same for every target.
BLIND = ("base", "full", "random")

METHODS = ("base", "full", "random", "DSIR", "LESS", "RDS+", "KNN-Uniform", "KNN-KDE")

#: The regularizers of those that match.
WAYS = {"KNN-Uniform": "uniform", "KNN-KDE": "kde"}


class Questions:
    """A target's examples and held-out questions.

    Parameters
    ----------
    name : {"MMLU", "BBH", "GSM8K"}
    table : dict of str to ndarray
        instruct_mix's columns.
    held : int
        Held-out questions at most, the same for every seed.
    """

    def __init__(self, name: str, table: dict[str, NDArray], held: int) -> None:
        self.name = name
        prefix = {"MMLU": "mmlu_", "BBH": "bbh_", "GSM8K": "gsm8k"}[name]
        mine = np.char.startswith(table["task"], prefix)
        rng = np.random.default_rng(7)
        test = rng.permutation(np.flatnonzero(mine & (table["split"] == "test")))
        if name == "MMLU":
            examples = np.flatnonzero(mine & (table["split"] == "dev"))
        elif name == "BBH":
            examples = np.concatenate(
                [test[table["task"][test] == task][:3] for task in np.unique(table["task"][test])]
            )
        else:
            examples = test[:100]
        rest = test[~np.isin(test, examples)]
        self.examples = ["\n".join((ask(table, row), table["output"][row])) for row in examples]
        self.subtasks = table["task"][examples]
        self.held = [(ask(table, row), table["output"][row]) for row in rest[:held]]


def ask(table: dict[str, NDArray], row: int) -> str:
    """Return the question of a row."""
    return "\n".join(part for part in (table["instruction"][row], table["input"][row]) if part)


class Trained:
    """SmolLM2, an adapter that is trained and taken off again, and what it answers.

    Parameters
    ----------
    device : str
    """

    def __init__(self, device: str) -> None:
        from setwise.preference import load_model

        self.model, self.words = load_model(MODEL, dtype="float32", device=device)
        self.words.padding_side = "left"
        self.device = device
        self._end = self.words.eos_token_id

    def ids(self, question: str) -> list[int]:
        """Return a question's tokens, up to where the answer begins."""
        said = self.words.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_dict=True
        )
        return list(said["input_ids"])[-600:]

    def batch(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tokens and mask, padded in front."""
        width = max(map(len, rows))
        ids = [[self._end] * (width - len(row)) + list(row) for row in rows]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in rows]
        return torch.tensor(ids, device=self.device), torch.tensor(mask, device=self.device)

    def train(
        self, rows: Sequence[tuple[str, str]], *, tokens: int, rate: float, batch: int, seed: int
    ) -> Any:
        """Return the model with an adapter trained on rows for some tokens, and how many they were."""
        from peft import LoraConfig, get_peft_model

        torch.manual_seed(seed)
        tuned = get_peft_model(
            self.model,
            LoraConfig(
                r=32,
                lora_alpha=64,
                target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
                task_type="CAUSAL_LM",
            ),
        )
        tuned.train()
        decoder, head = tuned.get_base_model().get_decoder(), tuned.get_base_model().get_output_embeddings()
        optimizer = torch.optim.AdamW([one for one in tuned.parameters() if one.requires_grad], lr=rate)
        rng, seen, queue = np.random.default_rng([seed, 5]), 0, []
        while seen < tokens:
            if len(queue) < batch:
                queue += rng.permutation(len(rows)).tolist()
            drawn, queue = queue[:batch], queue[batch:]
            parts = [self._tokens(rows[row]) for row in drawn]
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1.0, 1.05 - seen / tokens)
            counted = sum(said for _, said in parts)
            # A processor has no memory for all of them at once.
            parts.sort(key=lambda part: len(part[0]))
            few = batch if self.device == "cuda" else 4
            for start in range(0, len(parts), few):
                some = parts[start : start + few]
                (self._loss(decoder, head, some) / counted).backward()
                seen += sum(len(ids) for ids, _ in some)
            optimizer.step()
            optimizer.zero_grad()
        return tuned.eval(), seen

    def _tokens(self, row: tuple[str, str]) -> tuple[list[int], int]:
        """Return a row's tokens, and how many of them, at the end, are its answer's."""
        said = self.words(row[1], add_special_tokens=False)["input_ids"]
        said = [*said[:READ], self._end]
        return self.ids(row[0])[-READ:] + said, len(said)

    def _loss(self, decoder: Any, head: Any, parts: Sequence[tuple[list[int], int]]) -> Any:
        """Return the summed negative log-likelihood of answers."""
        ids, mask = self.batch([tokens for tokens, _ in parts])
        truth = ids.masked_fill(mask == 0, -100)
        for place, (_, length) in enumerate(parts):
            truth[place, : ids.shape[1] - length] = -100
        counted = truth[:, 1:] != -100
        with torch.autocast(self.device, torch.bfloat16):
            states = decoder(input_ids=ids, attention_mask=mask).last_hidden_state[:, :-1]
            logits = head(states[counted])
        return torch.nn.functional.cross_entropy(logits.float(), truth[:, 1:][counted], reduction="sum")

    @torch.no_grad()
    def accuracy(self, model: Any, target: Questions) -> float:
        """Return the share of held-out questions that are answered right."""
        order = sorted(range(len(target.held)), key=lambda one: len(target.held[one][0]))
        right = 0
        few = 128 if self.device == "cuda" else 32
        for start in range(0, len(order), few):
            chosen = [target.held[one] for one in order[start : start + few]]
            ids, mask = self.batch([self.ids(question) for question, _ in chosen])
            with torch.autocast(self.device, torch.bfloat16):
                if target.name == "MMLU":
                    letters = [self.words(one, add_special_tokens=False)["input_ids"][0] for one in "ABCD"]
                    last = model(input_ids=ids, attention_mask=mask, logits_to_keep=1).logits[:, -1]
                    said = ["ABCD"[one] for one in last[:, letters].argmax(dim=1).tolist()]
                else:
                    made = model.generate(
                        input_ids=ids,
                        attention_mask=mask,
                        do_sample=False,
                        max_new_tokens=LONGEST[target.name],
                        pad_token_id=self._end,
                    )
                    said = self.words.batch_decode(made[:, ids.shape[1] :], skip_special_tokens=True)
            right += sum(
                same(target.name, text, truth) for text, (_, truth) in zip(said, chosen, strict=True)
            )
        return right / len(order)


def same(target: str, said: str, truth: str) -> bool:
    """Return whether an answer is right: GSM8K's by its last number, others by all their letters."""
    if target == "GSM8K":
        numbers = [re.findall(r"-?\d+(?:\.\d+)?", text.replace(",", "")) for text in (said, truth)]
        return bool(numbers[0]) and float(numbers[0][-1]) == float(numbers[1][-1])
    short = [" ".join(text.replace(".", " ").split()).strip("() ").lower() for text in (said, truth)]
    return short[0] == short[1]


class Repository:
    """The rows that may be chosen, and their representations.

    Parameters
    ----------
    table : dict of str to ndarray
    rows : int
    folder : Path
        Where representations are kept.
    trained : Trained
    """

    def __init__(self, table: dict[str, NDArray], rows: int, folder: Path, trained: Trained) -> None:
        own = ["gsm8k", "cot_gsm8k"]
        usable = np.flatnonzero((table["split"] == "train") & ~np.isin(table["task"], own))
        usable = np.array([row for row in usable if table["output"][row].strip() and ask(table, row).strip()])
        self.origin = np.sort(np.random.default_rng(3).permutation(usable)[:rows])
        self.rows = [(ask(table, row), str(table["output"][row])) for row in self.origin]
        self.texts = ["\n".join(row) for row in self.rows]
        measured = trained.words(self.texts, add_special_tokens=False)["input_ids"]
        self.lengths = np.array([min(len(one), 2 * READ) for one in measured])
        self.counts = counts(self.texts)
        self._folder, self._device = folder, trained.device

    @cached_property
    def hidden(self) -> Encoder:
        """The encoder of hidden states."""
        from setwise.encode.hidden import Hidden

        return Hidden(MODEL, max_tokens=READ, dtype="bfloat16", device=self._device)

    @cached_property
    def gradients(self) -> Encoder:
        """The encoder of gradients."""
        from setwise.encode.gradients.texts import Gradients

        return Gradients(MODEL, max_tokens=READ, dtype="bfloat16", device=self._device)

    def encoded(self, texts: Sequence[str], reader: Encoder) -> NDArray:
        """Return the vectors of texts, which are kept."""
        began = time.perf_counter()
        found = encode_texts(texts, reader, self._folder).vectors
        taken = time.perf_counter() - began
        print(f"{reader.name}: {len(texts)} texts in {taken:.0f} s", file=sys.stderr, flush=True)
        return found

    def chosen(self, method: str, target: Questions, tokens: int, seed: int) -> list[int]:
        """Return the rows that a method takes for a target, of so many tokens in all."""
        many = min(len(self.rows), round(2.5 * tokens / self.lengths.mean()))
        rng = np.random.default_rng([seed, 9])
        if method == "full":
            return list(range(len(self.rows)))
        if method == "random":
            order = rng.permutation(len(self.rows))
        elif method == "DSIR":
            found = baselines.dsir_counts(self.counts, counts(target.examples))
            order = found.sample(min(many, len(found)), seed=seed, replace=False)
        else:
            reader = self.gradients if method == "LESS" else self.hidden
            vectors, examples = (self.encoded(texts, reader) for texts in (self.texts, target.examples))
        if method == "LESS":
            order = baselines.less(vectors, examples, many, subtasks=target.subtasks).order
        elif method == "RDS+":
            order = baselines.nearest(vectors, examples, many).order
        elif method in WAYS:
            order = match(
                vectors,
                examples,
                regularizer=WAYS[method],
                neighbors=min(2_000, len(self.rows)),
                kernel_width=0.1,
            ).sample(many, seed=seed)
        last = int(np.searchsorted(np.cumsum(self.lengths[order]), tokens)) + 1
        return [int(row) for row in order[:last]]


def main(words: Sequence[str] | None = None) -> None:
    """Measure what is missing."""
    from pyarrow import parquet

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--work", type=Path, help="folder of the representations, kept for other seeds")
    parser.add_argument("--repository", type=int, default=10_000, help="rows that may be chosen")
    parser.add_argument(
        "--share", type=float, default=0.05, help="of the repository's tokens that are chosen"
    )
    parser.add_argument("--epochs", type=float, default=2.0, help="passes over what is chosen, in tokens")
    parser.add_argument("--held", type=int, default=1_000, help="questions of a target that are judged")
    parser.add_argument("--rate", type=float, default=2e-4, help="learning rate")
    parser.add_argument("--batch", type=int, default=32, help="rows an update")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--targets", nargs="+", default=["MMLU", "BBH"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    given = parser.parse_args(words)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    columns = ["task", "split", "instruction", "input", "output"]
    read = parquet.read_table(given.data / "instruct_mix" / "instruct_mix.parquet", columns=columns)
    kinds = {"task": str, "split": str}  # texts as wide as the longest would take gigabytes
    table = {name: np.array(read.column(name).to_pylist(), kinds.get(name, object)) for name in columns}
    trained = Trained(device)
    targets = [Questions(name, table, given.held) for name in given.targets]
    lines = given.rows.read_text(encoding="utf-8").splitlines() if given.rows.exists() else []
    known = {(one["seed"], one["target"], one["method"]) for one in map(json.loads, lines)}
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        every = Repository(table, given.repository, work, trained)
        tokens = round(given.share * int(every.lengths.sum()))
        for seed in range(given.first_seed, given.first_seed + given.seeds):
            for method in given.methods:
                due = [one for one in targets if (seed, one.name, method) not in known]
                if method == "base" and seed:
                    continue
                # What does not look at the target is trained once.
                for judged in [due] if method in BLIND else [[one] for one in due]:
                    if judged:
                        for line in measured(trained, every, method, judged, seed, tokens, given):
                            with given.rows.open("a", encoding="utf-8") as file:
                                file.write(json.dumps(line) + "\n")
                            print(line, flush=True)


def measured(
    trained: Trained,
    every: Repository,
    method: str,
    targets: Sequence[Questions],
    seed: int,
    tokens: int,
    given: argparse.Namespace,
) -> list[dict[str, Any]]:
    """Train on a method's choice for the first of the targets, and judge it on all of them."""
    began = time.perf_counter()
    model: Any = trained.model.eval()
    found: dict[str, Any] = {"rows": 0, "different": 0, "tokens": 0, "trained_tokens": 0}
    if method != "base":
        chosen = every.chosen(method, targets[0], tokens, seed)
        found["rows"], found["different"] = len(chosen), len(set(chosen))
        found["tokens"] = int(every.lengths[chosen].sum())
        whole = found["tokens"] if method == "full" else round(given.epochs * tokens)
        model, found["trained_tokens"] = trained.train(
            [every.rows[row] for row in chosen],
            tokens=whole,
            rate=given.rate,
            batch=given.batch,
            seed=seed,
        )
    lines = [
        {
            "seed": seed,
            "target": target.name,
            "method": method,
            "accuracy": round(trained.accuracy(model, target), 5),
            "questions": len(target.held),
            **found,
        }
        for target in targets
    ]
    if method != "base":
        trained.model = model.unload()
    return [{**line, "s": round(time.perf_counter() - began, 1)} for line in lines]


if __name__ == "__main__":
    main()
