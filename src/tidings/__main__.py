"""The command line: `tidings`, or `python -m tidings`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from . import __version__, one_thread  # noqa: F401 - before anything that loads NumPy
from .peer.cli.bare import help_when_bare
from .peer.cli.failures import report
from .peer.cli.network import network
from .peer.cli.peer import peer

# These need the libraries of the simulator and the reports, which take a second to load, so
# they are loaded when they are called for; until then the list of commands has this to show.
SCENARIO_VERBS = {
    "run": "Run a scenario: peers with data of their own learn one model together.",
    "sweep": "Run a scenario with many settings and seeds, and compare what comes out.",
    "compare": "Several runs side by side: figures, curves, and the settings in which they differ.",
    "topology": "How good a graph is: degrees, spectral gap, rounds to consensus, exactness.",
    "inspect": "Who spoke to whom, what was refused and why, accuracy, bytes, privacy spent.",
    "export": "Curves for TensorBoard, the graph for Gephi, figures for Prometheus.",
    "report": "Write a page that shows a run: the network through time, curves, what went wrong.",
    "watch": "Look at a scenario or a peer while it runs: the page of its report, live.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (docs/exit-codes.md)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # `module = "my_models:Net"` in a settings file may stand beside the user; last, so that
    # nothing there takes the place of an installed package
    sys.path.append(str(Path.cwd()))
    try:
        command = typer.main.get_command(_app(given))
        result = command(args=given, prog_name="tidings", standalone_mode=False)
    except SystemExit:  # typer's own, when the reader of a pipe has gone
        raise
    except BaseException as error:
        return report(error, as_json="--json" in given)
    return result if isinstance(result, int) else 0


def _app(arguments: Sequence[str]) -> typer.Typer:
    """All commands; of the scenario verbs only the one that ``arguments`` name is loaded."""
    app = typer.Typer(add_completion=False, callback=_root, invoke_without_command=True)
    called = next((each for each in arguments if not each.startswith("-")), None)
    for verb, summary in SCENARIO_VERBS.items():
        if verb == called:
            app.command(verb)(_loaded(verb))
        else:
            app.command(verb, help=summary)(lambda: None)
    app.add_typer(network, name="network")
    app.add_typer(peer, name="peer")
    return app


def _loaded(verb: str) -> Callable[..., Any]:
    module = importlib.import_module(f".scenarios.cli.{verb}", package=__package__)
    function: Callable[..., Any] = getattr(module, verb)
    return function


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tidings {__version__}")
        raise typer.Exit


def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Peer-to-peer federated learning: private models, shared news, nobody in charge."""
    help_when_bare(context)


if __name__ == "__main__":
    sys.exit(main())
