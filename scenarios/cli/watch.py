"""``tidings watch FOLDER``: a run or a peer while it runs."""

from __future__ import annotations

import json as json_format
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..watching.server import LiveServer
from ..watching.tui import watch_in_terminal
from ..watching.watched import Watched


def watch(
    folder: Annotated[Path, typer.Argument(help="A run's folder, or a peer's.")],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="On the loopback address; 0: any.")
    ] = 0,
    tui: Annotated[
        bool, typer.Option("--tui", help="In this terminal, as over ssh, instead of a browser.")
    ] = False,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in the default browser.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the page's address as a JSON object.")
    ] = False,
) -> None:
    """Look at a scenario or a peer while it runs: the page of its report, live.

    Ctrl-C stops it. The address works on this machine alone and holds a token: whoever has it sees
    the run. From elsewhere, forward the port with ssh -L.
    """
    watched = Watched(folder)
    watched.look()
    console = Console()
    if tui:
        watch_in_terminal(watched, console)
        return
    server = LiveServer(watched, port)
    with server.running():
        if json:
            typer.echo(json_format.dumps({"url": server.url}))
        else:
            console.print(Text(f"Live at {server.url}"), soft_wrap=True)
            console.print(Text("Ctrl-C to stop.", style="dim"))
        if open_page:
            webbrowser.open(server.url)
        while True:
            time.sleep(1.0)
