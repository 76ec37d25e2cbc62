"""`tidings network ...`: the commands of a network's owner, who need not be online."""

from __future__ import annotations

import typer

from .bare import help_when_bare
from .network_admit import admit
from .network_broker import broker_config
from .network_create import create
from .network_revoke import revoke

network = typer.Typer(
    callback=help_when_bare,
    invoke_without_command=True,
    help="Make a network, admit peers and revoke them, prepare its broker.",
)
for verb in (create, admit, revoke, broker_config):
    network.command()(verb)
