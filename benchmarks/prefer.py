"""Negatives by bottom-k, coreset, opt-select and at random: what they cover, and what that costs in time.

    python benchmarks/prefer.py                       # 200 prompts of AlpacaEval, and generated pools
    python benchmarks/prefer.py --only quality --model sentence
    python benchmarks/prefer.py --only picture        # docs/images/prefer-choice.png
    python benchmarks/prefer.py --only speed

Each prompt's pool is 32 of the responses of 55 models, the logit of its win probability being the reward;
where that data is absent, generated pools alone are measured.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A neighbor bears the name of a standard module: this folder must not be where modules are looked for.
sys.path[:] = [str(HERE.parent), *[entry for entry in sys.path if Path(entry or ".").resolve() != HERE]]

import argparse

from benchmarks import prefer_picture, prefer_pools, prefer_quality
from benchmarks.reporting import heading

PARTS = ("quality", "picture", "speed")
PICTURE = HERE.parent / "docs" / "images" / "prefer-choice.png"


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("-k", type=int, default=7)
    parser.add_argument("--model", default="static", help="encoder of the responses: static, sentence, lsa")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where the picture goes")
    given = parser.parse_args()
    parts = [given.only] if given.only else list(PARTS)
    if parts != ["speed"]:
        heading()
        sets = {"generated pools": prefer_pools.generated(given.prompts, seed=given.seed)}
        try:
            found = prefer_pools.alpaca_eval(given.data, given.prompts, given.model, given.seed)
            sets = {f"AlpacaEval, 32 of 55 models a prompt, {given.model} vectors": found, **sets}
        except FileNotFoundError as missing:
            print(f"\nreal responses are left out: {Path(missing.args[0]).name} is not here")
        if "quality" in parts:
            for title, pools in sets.items():
                prefer_quality.report(title, pools, given.k, given.seed)
                prefer_quality.report_splits(title, pools, given.k)
        if "picture" in parts:
            pools = next(iter(sets.values()))
            given.picture.parent.mkdir(exist_ok=True)
            prefer_picture.draw(prefer_picture.typical(pools, given.k), given.k, given.picture, given.seed)
            print(f"\nwrote {given.picture.name}")
    if "speed" in parts:
        from benchmarks import prefer_speed

        prefer_speed.main([])


if __name__ == "__main__":
    main()
