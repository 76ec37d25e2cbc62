"""What a group of commands does when none of them is named."""

from __future__ import annotations

import typer


def help_when_bare(context: typer.Context) -> None:
    """Show the group's help; to be a callback with ``invoke_without_command``."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
