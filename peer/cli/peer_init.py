"""`tidings peer init`: a new peer with a key of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .kinds import Kind

_TEMPLATE = """\
# One peer's own choices. What all members of a network do alike (rounds, topology, compression)
# is in the network file, and is not set here.

name = "{name}"

# Where other peers reach this one. 127.0.0.1 is this machine alone, 0.0.0.0 all its network cards;
# better, name the address of one card. Port 0 takes any free port.
listen = "{preset.listen}"

# Neighbours whose addresses are known, each with its peer id (`tidings peer status` shows it).
peers = [
    # "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...",
]

# What is learned, and from which data. Names are "package.module:object".
[learner]
{learner}
# How much is trained in a round.
[training]
local_steps = 5
batch_size = {preset.batch_size}
learning_rate = 0.5

# Who is protected ("record": each training example; "peer": all data of this peer together;
# "none"), and the budget for everything that this peer ever releases.
[privacy]
mode = "record"
epsilon = 8.0
delta = 1e-5
clip_norm = 1.0
sampling_rate = 0.25

# The event log: a part of this many megabytes, and so many older ones, compressed.
[log]
part_mb = {preset.log.part_mb}
parts = {preset.log.parts}

# Health and Prometheus metrics, off unless an address is named.
[metrics]
# listen = "127.0.0.1:9464"
"""

_LEARNER = """\
kind = "softmax"
features = 64
classes = 10
dataset = "tidings.peer.learners.data:npz"

[learner.dataset_args]
path = "data.npz"  # arrays train_x, train_y, test_x, test_y
"""


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make for the peer.")],
    name: Annotated[str, typer.Option(help="The peer's name: letters, digits, '.', '_', '-'.")],
    config: Annotated[
        Path | None,
        typer.Option(help="Settings to start from (TOML, as peer.toml), instead of a preset's."),
    ] = None,
    preset: Annotated[
        Kind, typer.Option(help="What kind of machine the new settings are for.")
    ] = Kind.laptop,
    sets: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one setting.")
    ] = None,
) -> None:
    """Make a peer: a secret key, its settings, and a request to join a network."""
    from ...crypto.identity import Identity, short_id
    from ..config import PeerConfig
    from ..folder import PeerFolder
    from ..presets import PRESETS
    from ..settings_files import apply_sets, check_settings, parse_toml, read_toml, to_toml

    where = str(config) if config is not None else "the new peer.toml"
    text = _TEMPLATE.format(name=name, learner=_LEARNER, preset=PRESETS[preset]())
    given = read_toml(config) if config is not None else parse_toml(text, where=where)
    overridden = apply_sets({**given, "name": name}, sets or [])
    settings = check_settings(PeerConfig, overridden, where=where)
    if config is not None or sets:
        text = to_toml(settings)

    identity = Identity.generate()
    made = PeerFolder.create(folder, settings, identity, text=text)
    request = made.request_file(settings.name)

    typer.echo(
        f"Made the peer '{settings.name}' ({short_id(identity.verify_key)}) in {folder}\n"
        f"  {made.config_file}: its settings; look at [learner] first\n"
        f"  {made.identity_file}: its secret key; never give it away, never copy it\n"
        "Next:\n"
        f"  1. send {request} to the owner of the network, who runs\n"
        f"       tidings network admit NETWORK-FOLDER {request.name}\n"
        f"     and sends back {settings.name}.admission\n"
        f"  2. tidings peer join {folder} {settings.name}.admission\n"
        f"  3. tidings peer run {folder}"
    )
