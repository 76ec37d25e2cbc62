"""`tidings network create`: a new network, its rules, its model and its root key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def create(
    folder: Annotated[Path, typer.Argument(help="Folder to make for the network's owner.")],
    config: Annotated[
        Path, typer.Option(help="TOML with name, seed, [rules] and the [learner]'s model.")
    ],
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one setting.")
    ] = None,
) -> None:
    """Make a network: the file that describes it, and the key that admits its members."""
    from ...crypto.network import NetworkAdmin
    from ..assembly import describe_model, with_shapes
    from ..config import NetworkConfig
    from ..graphs import with_edges
    from ..learners.spec import build_model
    from ..settings_files import read_settings

    settings = read_settings(NetworkConfig, config, sets or [])
    trained = build_model(settings.learner)
    rules = with_shapes(with_edges(settings.rules, config.parent), trained)
    model = describe_model(trained, settings.seed, rules)
    admin = NetworkAdmin.create(folder, settings.name, rules.model_dump(mode="json"), model)
    network = admin.network
    typer.echo(
        f"Made the network '{network.name}' ({network.network_id.hex()}) in {folder}\n"
        f"  a model of {model['parameters']:,} parameters, "
        f"{rules.topology.nodes} nodes, {rules.rounds} rounds\n"
        f"  {folder / 'network.json'}: its description, for everybody\n"
        f"  {folder / 'root.key'}: the key that admits and revokes; keep it offline\n"
        "Next: for each peer, with the request that `tidings peer init` made,\n"
        f"  tidings network admit {folder} NAME.request"
    )
