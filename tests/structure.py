"""The rooms of the house, what each imports, circles, and arrows that point up.

    python -m tests.structure [SRC]

``SRC`` is the folder that holds the package, by default this repository's. Layers are those of the import
contract in pyproject.toml. Imports inside functions count; those for type checkers alone do not.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from collections.abc import Mapping, Set
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]

#: The package itself: above all of its rooms.
HOUSE = "(setwise)"


def layers() -> dict[str, int]:
    """Return each room's layer, counted from the top."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    listed = next(each["layers"] for each in contracts if each["type"] == "layers")
    found = {room.strip(): place for place, line in enumerate(listed) for room in line.split("|")}
    return {HOUSE: -1, **found}


def room_of(module: str) -> str:
    """Return the room that a module is in."""
    return module.split(".")[1] if "." in module else HOUSE


def circles(graph: Mapping[str, Set[str]]) -> list[list[str]]:
    """Return the sets of names that can all be reached from each other (Tarjan), larger ones first."""
    number: dict[str, int] = {}
    least: dict[str, int] = {}
    open_: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        number[name] = least[name] = len(number)
        open_.append(name)
        for other in sorted(graph[name]):
            if other not in number:
                visit(other)
                least[name] = min(least[name], least[other])
            elif other in open_:
                least[name] = min(least[name], number[other])
        if least[name] == number[name]:
            start = open_.index(name)
            found.append(sorted(open_[start:]))
            del open_[start:]

    for name in sorted(graph):
        if name not in number:
            visit(name)
    return sorted((each for each in found if len(each) > 1), key=len, reverse=True)


def main() -> None:
    """Print the rooms, the circles and the arrows."""
    source = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "src").resolve()
    sys.path.insert(0, str(source))
    graph = grimp.build_graph("setwise", exclude_type_checking_imports=True, cache_dir=None)
    modules = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    lines: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for file in (source / "setwise").rglob("*.py"):
        room = file.relative_to(source / "setwise").parts[0].removesuffix(".py")
        lines[room] += len(file.read_text(encoding="utf-8").splitlines())
        files[room] += 1
    order = layers()
    rooms: dict[str, set[str]] = {room_of(name): set() for name in modules}
    arrows = []
    for name, imported in sorted(modules.items()):
        for other in sorted(imported):
            here, there = room_of(name), room_of(other)
            if here != there:
                rooms[here].add(there)
                if here in order and order.get(there, len(order)) <= order[here]:
                    arrows.append(f"{name} -> {other}")
    print(f"{sum(lines.values()):,} lines in {sum(files.values())} modules of {len(rooms)} rooms\n")
    for room in sorted(rooms, key=lambda room: (order.get(room, len(order)), room)):
        print(f"{room:13} {files[room]:3} {lines[room]:6,}  {' '.join(sorted(rooms[room]))}")
    for title, found in (
        ("circles of rooms", [" ".join(each) for each in circles(rooms)]),
        ("circles of modules", [" ".join(each) for each in circles(modules)]),
        ("arrows that point up or aside", arrows),
        ("rooms outside the layers", [room for room in sorted(rooms) if room not in order]),
    ):
        print(f"\n{title}: {len(found)}")
        for each in found:
            print(f"  {each}")


if __name__ == "__main__":
    main()
