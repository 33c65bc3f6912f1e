"""What a person sees of ``setwise prefer``: what came of the prompts, and what was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from setwise.certificate import percent
from setwise.cli import output

if TYPE_CHECKING:
    from setwise.preference.rows.rows import PreferenceRows


def tell_notes(made: PreferenceRows) -> None:
    """Say on stderr which prompts and columns were left out."""
    summary = made.summary
    if summary.skipped:
        count = f"{summary.skipped:,} prompt{'' if summary.skipped == 1 else 's'}"
        output.note(f"{count} skipped for too few responses, the first: {summary.first_skipped}")
    if summary.unscored:
        verb = "response has" if summary.unscored == 1 else "responses have"
        output.note(f"{summary.unscored:,} {verb} no score, left out (--unscored refuse stops there)")
    if summary.blank:
        count = f"{summary.blank:,} response{' says' if summary.blank == 1 else 's say'} nothing, left out"
        output.note(f"{count}: no model can be trained on {'it' if summary.blank == 1 else 'them'}")
    if made.replaced:
        names = ", ".join(made.replaced)
        output.note(
            f"left out of the rows: the input's {names}; {made.format} have columns of "
            f"{'that name' if len(made.replaced) == 1 else 'those names'}, or TRL would take them for such"
        )


def print_summary(name: str, made: PreferenceRows, seconds: float) -> None:
    """Print what came of the prompts, some lines."""
    summary = made.summary
    noun = {"groups": "group", "unpaired": "labeled response"}.get(made.format, "pair")
    lines = {
        "prompts": f"{summary.prompts:,}, of {summary.responses:,} responses"
        + (f"; {summary.skipped:,} skipped" if summary.skipped else "")
    }
    if summary.duplicates:
        what = "left out" if made.sieve.duplicates == "drop" else "kept"
        told = _responses(summary.duplicates, "repeats", "repeat")
        lines["repeated"] = f"{told} another of their prompt, {what}"
    if summary.near_copies:
        told = _responses(summary.near_copies)
        lines["near-copies"] = f"{told} {made.sieve.near:.0%} a better one, left out"
    if summary.ties:
        lines["ties"] = f"{_responses(summary.ties)} as good as a chosen one, left out"
    lines["reward"] = f"chosen {summary.chosen_reward:.4g} · rejected {summary.rejected_reward:.4g}, means"
    proof = "not compared with the best possible choice"
    if summary.gap is not None:
        proof = f"proven the best possible for {summary.optimal:,} of {summary.prompts:,} prompts"
        if summary.gap:
            proof = f"within {percent(summary.gap)} of the best possible; {proof}"
    lines["coverage"] = f"cost {summary.cost:.4g} on average; {proof}"
    columns = made.columns
    named = {"prompt": columns.prompt, "responses": columns.responses, "rewards": columns.rewards}
    lines["columns"] = " · ".join(f"{what} {name}" for what, name in named.items() if name is not None)
    encoder = made.encoder
    lines["vectors"] = f"your own, column {made.columns.embeddings}" if encoder is None else encoder
    rows = f"{summary.rows:,} {noun}{'' if summary.rows == 1 else 's'}"
    output.print_facts(name, f"{rows} by {made.request.method} in {output.milliseconds(seconds)}", lines)


def _responses(count: int, one: str = "is", several: str = "are") -> str:
    """Return how many responses do what is said next."""
    return f"{count:,} response {one}" if count == 1 else f"{count:,} responses {several}"
