"""``python -m setwise``, and what the ``setwise`` command runs."""

import sys

from setwise.extras import needs


def main() -> None:
    """Run the command line; where its packages are missing, say so in one line and leave with code 2."""
    try:
        with needs("cli", "the command line"):
            from setwise import cli
    except ImportError as error:
        print(f"setwise: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    cli.main()


if __name__ == "__main__":
    main()
