"""``python -m setwise``, and what the ``setwise`` command runs."""

import io
import os
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
    _keep_stdout()
    cli.main()


def _keep_stdout() -> None:
    """Leave standard output to what the commands print: native libraries' own words go to standard error.

    SciPy's HiGHS prints a line of its own now and then, whatever it is told; in the middle of JSON it would
    spoil it. For the process's whole life, since C writes its buffers at the very end.
    """
    old = sys.stdout
    try:
        if not isinstance(old, io.TextIOWrapper) or old.fileno() != 1:
            return
        own = os.dup(1)
        os.dup2(2, 1)
    except (OSError, ValueError):  # it is closed, or stderr is
        return
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(  # type: ignore[misc]
        os.fdopen(own, "wb"),
        encoding=old.encoding,
        errors=old.errors,
        line_buffering=old.line_buffering,
        write_through=old.write_through,
    )


if __name__ == "__main__":
    main()
