"""The command line: one module a command, one line an error."""

from __future__ import annotations

import _thread
import contextlib
import logging
import os
import re
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from setwise._version import __version__
from setwise.asked import watched
from setwise.cli import streams
from setwise.cli.cache import app as cache_app
from setwise.cli.catalog import app as catalog_app
from setwise.cli.compare import compare, tune
from setwise.cli.config import named, settings
from setwise.cli.demo import demo
from setwise.cli.doctor import doctor
from setwise.cli.encode import encode
from setwise.cli.explore import explore
from setwise.cli.finetune import finetune
from setwise.cli.index import app as index_app
from setwise.cli.mcp import mcp
from setwise.cli.options import described, option
from setwise.cli.prefer import app as prefer_app
from setwise.cli.retrieve import retrieve
from setwise.cli.serve import serve

app = typer.Typer(
    name="setwise",
    help="Select sets: relevant and diverse, of exactly k, with a proof of how good they are.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(retrieve)
app.add_typer(index_app, name="index")
app.add_typer(catalog_app, name="catalog")
app.command()(finetune)
app.add_typer(prefer_app, name="prefer")
app.add_typer(cache_app, name="cache")
app.command()(compare)
app.command()(tune)
app.command()(encode)
app.command()(explore)
app.command()(demo)
app.command()(serve)
app.command()(mcp)
app.command()(doctor)

#: Exit codes: bad input or a missing package, a defect, and Ctrl-C or a signal like it.
REFUSED, DEFECT, INTERRUPTED = 2, 70, 130

#: Columns of a terminal from which on help stands in boxes.
_BOXES = 80

#: Where nobody reads on what is printed; what the parser's package leaves with, too.
READ_ENOUGH = 1

#: What messages say to those who call from Python alone.
_PYTHON_ALONE = re.compile(r", as groups=setwise\..*| \([a-z_]+=True\)", re.DOTALL)

#: Signals that end a command as Ctrl-C does: of ``kill`` and service managers, and of a closed terminal.
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"setwise {__version__}")
        raise typer.Exit


@app.callback()
@described("""
    --verbose -v  Say on stderr what the library does: what it reads, encodes, searches.
    --config FILE.toml  Read settings from this file (tune --out writes one), or none, instead of
            setwise.toml.
""")
def _options(
    version: Annotated[
        bool,
        option("--version -V", "Print the version and leave.", None, callback=_print_version, is_eager=True),
    ] = False,
    verbose: bool = False,
    config: str | None = None,
) -> None:
    if verbose:
        _log_to_stderr()


def _log_to_stderr() -> None:
    """Print what the library logs, a line each."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger("setwise")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.DEBUG)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code; whatever ends it early is one line on stderr.

    The code is 0, 2 for bad input, 70 for an error that nobody foresaw, or 130 after Ctrl-C, which SIGTERM
    and SIGHUP are like: what was begun is taken back. With SETWISE_TRACEBACK=1 in the environment the line
    follows where the error arose.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default the process's own.
    """
    words = sys.argv[1:] if arguments is None else arguments
    streams.opened()
    with watched() as written:
        try:
            with _signals_as_interrupts():
                with streams.replaced(words) as given:
                    code = _run(given)
                sys.stdout.flush()
        except (KeyboardInterrupt, typer.Abort):
            code = INTERRUPTED
        except BrokenPipeError:  # who reads what is printed has seen enough
            code = READ_ENOUGH
            _drop_unwritten()
        except SystemExit:
            raise
        except BaseException as error:  # also what native libraries raise beside Exception
            if os.environ.get("SETWISE_TRACEBACK", "0") not in ("", "0"):
                traceback.print_exc()
            code, message = _refusal(error)
            if message:
                # Where another run has taken the name, what stands there is that one's.
                own = [] if isinstance(error, FileExistsError) else written()
                _complain("; ".join([message, *_told(own)]))
            if code != INTERRUPTED:
                _drop_unwritten()
        if code == INTERRUPTED:
            far = streams.how_far()
            nothing = f"{'no file' if far else 'nothing'} was written"
            _complain("; ".join([f"interrupted {far}".rstrip(), *(_told(written()) or [nothing])]))
    raise SystemExit(code if isinstance(code, int) else 0)


def _run(words: list[str]) -> object:
    """Run a command, with a file's settings where the command line has none."""
    # Help in boxes cuts the options' names where the terminal is narrow; without boxes it cuts nothing.
    app.rich_markup_mode = "rich" if shutil.get_terminal_size().columns >= _BOXES else None
    command = typer.main.get_command(app)
    completing = "_SETWISE_COMPLETE" in os.environ
    defaults = {} if completing else settings(command, file=named(words))
    return command.main(args=words, prog_name="setwise", standalone_mode=False, default_map=defaults)


def _told(written: Sequence[Path]) -> list[str]:
    """Return what to say of outputs that were finished before a command ended early."""
    return [f"{str(path)!r} was written before that, whole" for path in written]


@contextlib.contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Let `_ENDING` raise KeyboardInterrupt, where they would end the process without a clean-up.

    One that is ignored (``nohup``) or that the caller handles stays as it is, and only a main thread can be
    interrupted.
    """
    taken = []
    if threading.current_thread() is threading.main_thread():
        taken = [number for number in _ENDING if signal.getsignal(number) == signal.SIG_DFL]
    before = sys.unraisablehook

    def once_more(lost: sys.UnraisableHookArgs) -> None:
        """Interrupt again, where Python drops an interrupt: while an object is being destroyed."""
        if not isinstance(lost.exc_value, KeyboardInterrupt):
            before(lost)
            return
        again = threading.Timer(0.01, _thread.interrupt_main, [*taken, signal.SIGINT][:1])
        again.daemon = True
        again.start()

    sys.unraisablehook = once_more
    try:
        for number in taken:
            signal.signal(number, signal.default_int_handler)
        yield
    finally:
        sys.unraisablehook = before
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _refusal(error: BaseException) -> tuple[int, str]:
    """Return the exit code for an error, and what to say of it."""
    cause = error.__cause__
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__
    if cause is not None:  # Python itself wraps what comes while a class is being made
        return INTERRUPTED, ""
    # What the parser raises is told apart by duck typing: typer has changed its base class.
    if hasattr(error, "format_message"):
        return REFUSED, error.format_message()
    if isinstance(error, (ValueError, TypeError, ImportError, OSError, FloatingPointError)):
        return REFUSED, _PYTHON_ALONE.sub("", str(error))
    if isinstance(error, KeyError) and ": " in str(error.args[0] if error.args else ""):
        return REFUSED, str(error.args[0])  # of an id that is not there; a defect's has the key alone
    told = f"{type(error).__name__}: {error}".removesuffix(": ")
    return DEFECT, f"unexpected {told}; run it again with SETWISE_TRACEBACK=1 to see where"


def _drop_unwritten() -> None:
    """Drop what stdout cannot take (a full disk), which Python would complain of on leaving."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> None:
    """Write one red line to stderr."""
    from setwise.cli.output import plain

    line = f"setwise: {plain(streams.shown(message))}"
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        line = typer.style(line, fg="red")
    typer.echo(line, err=True)
