"""Pictures of a set by matplotlib, an optional package."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from setwise.extras import require
from setwise.pictures import Frontier, Likeness, Map

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colors that remain apart for readers who see few (Okabe and Ito).
BLUE, ORANGE, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#999999"

#: Members that are called by name in a picture.
_NAMED = 30


def _panels(axes: Any, count: int, size: tuple[float, float]) -> list[Any]:
    """Return the axes to draw in: those given, or those of a new figure."""
    if axes is not None:
        given: list[Any] = np.atleast_1d(axes).ravel().tolist()
        if len(given) != count:
            raise ValueError(f"axes: expected {count} to draw in, got {len(given)}")
        return given
    pyplot = require("matplotlib.pyplot", "plot", "a plot")
    figure, made = pyplot.subplots(1, count, figsize=size, layout="constrained")
    pyplot.close(figure)  # what shows it is who asked for it, once
    panels: list[Any] = np.atleast_1d(made).tolist()
    return panels


def draw_map(shown: Map, axes: Any = None) -> Figure:
    """Draw candidates, the set and the most relevant among them, with arrows to what came instead."""
    [panel] = _panels(axes, 1, (7.0, 5.5))
    panel.scatter(*shown.places.T, s=8, color=GRAY, alpha=0.5, linewidths=0, label="candidates")
    gone = np.setdiff1d(shown.ranked, shown.chosen)
    panel.scatter(
        *shown.places[gone].T, s=60, facecolors="none", edgecolors=ORANGE, label="top-k, not in the set"
    )
    new = np.isin(shown.chosen, shown.ranked, invert=True)
    for which, color, label in (
        (~new, BLUE, "in the set and top-k"),
        (new, GREEN, "in the set, not top-k"),
    ):
        panel.scatter(*shown.places[shown.chosen[which]].T, s=60, color=color, label=label, zorder=3)
    for came, left in shown.came:
        panel.annotate(
            "",
            shown.places[came],
            shown.places[left],
            arrowprops={"arrowstyle": "->", "color": GREEN, "alpha": 0.7},
        )
    for name, place in list(zip(shown.names, shown.chosen.tolist(), strict=True))[:_NAMED]:
        # No text is read as mathematics.
        panel.annotate(
            str(name)[:24],
            shown.places[place],
            (5, 5),
            textcoords="offset points",
            fontsize="small",
            parse_math=False,
        )
    first, second = shown.share
    panel.set(xlabel=f"first axis: {first:.0%} of the variance", ylabel=f"second axis: {second:.0%}")
    panel.legend(fontsize="small")
    return _figure(panel)


def draw_likeness(shown: Likeness, axes: Any = None) -> Figure:
    """Draw how alike the members are to each other: of the most relevant, and of the set."""
    panels = _panels(axes, 2, (9.0, 4.2))
    both = np.concatenate([shown.before.ravel(), shown.after.ravel()])
    off = [one[~np.eye(len(one), dtype=bool)] for one in (shown.before, shown.after)]
    lows, highs = float(both.min(initial=0.0)), 1.0 if shown.metric == "cosine" else 0.0
    end = len(shown.after) + 0.5
    for panel, title, matrix, others in zip(
        panels, ("top-k", "the set"), (shown.before, shown.after), off, strict=True
    ):
        image = panel.imshow(matrix, vmin=lows, vmax=highs, cmap="cividis", extent=(0.5, end, end, 0.5))
        mean = f", mean {others.mean():.2f}" if len(others) else ""
        panel.set(title=f"{title}{mean}", xlabel="place", ylabel="place")
    label = "cosine" if shown.metric == "cosine" else "minus the distance"
    _figure(panels[0]).colorbar(image, ax=panels, label=label)
    return _figure(panels[0])


def draw_frontier(shown: Frontier, axes: Any = None) -> Figure:
    """Draw the two terms of the sets of several diversities, and the set itself among them."""
    [panel] = _panels(axes, 1, (6.5, 4.5))
    panel.plot(shown.spread, shown.relevance, marker="o", color=BLUE, label="sets of other diversities")
    for diversity, x, y in zip(shown.diversities, shown.spread, shown.relevance, strict=True):
        panel.annotate(f"{diversity:g}", (x, y), (4, 4), textcoords="offset points", fontsize="small")
    diversity, relevance, spread = shown.here
    panel.scatter([spread], [relevance], s=90, color=ORANGE, zorder=3, label=f"this set: {diversity:g}")
    panel.set(xlabel=f"diversity term of {shown.objective}", ylabel="relevance term")
    panel.legend(fontsize="small")
    return _figure(panel)


def _figure(panel: Any) -> Figure:
    figure: Figure = panel.figure
    return figure


#: What draws each kind of picture, by the name of what knows its numbers.
KINDS: dict[str, Callable[[Any, Any], Figure]] = {
    "map": draw_map,
    "similarity": draw_likeness,
    "frontier": draw_frontier,
}
