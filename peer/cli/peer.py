"""`tidings peer ...`: the commands of one peer."""

from __future__ import annotations

import typer

from .bare import help_when_bare
from .peer_doctor import doctor
from .peer_init import init
from .peer_join import join
from .peer_move import move
from .peer_run import run
from .peer_service import service
from .peer_status import status

peer = typer.Typer(
    callback=help_when_bare,
    invoke_without_command=True,
    help="Make, run and look at one peer.",
)
for verb in (init, join, run, status, doctor, move, service):
    peer.command()(verb)
