"""A run's report: one HTML file that needs nothing else and loads nothing from anywhere.

Everything in it comes from the event logs. Texts from logs are escaped, and the page forbids
scripts and foreign sources, so a report of somebody else's run can be opened without trust.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from ..crypto.errors import ConfigError
from ..crypto.files import write_atomic
from . import plots
from .formats import MISSING, number, percent, shown, size
from .run_log import arms
from .summary import summarise
from .summary_values import RunSummary
from .tables import privacy_line, summary_rows, trouble_rows

REPORT_NAME = "report.html"

CAPTIONS = {
    "learning": "Test accuracy of the peers' own models: mean, and from worst to best.",
    "consensus": "Distance of the models from their mean, estimated from linear sketches.",
    "epsilon": "Privacy spent: the largest epsilon of any one peer, over its life.",
    "topology": "Who spoke to whom. Width: bytes. Colour: the peer's last accuracy.",
    "bytes": "Bytes from each peer (row) to each other (column).",
    "comparison-accuracy": "Mean test accuracy of each arm.",
    "comparison-consensus": "Distance of the models from their mean in each arm.",
}

_STYLE = """
:root { color-scheme: light; --ink: #2b2f36; --faint: #e4e8ee; --soft: #f6f8fa; --accent: #0072b2 }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); margin: 0 auto; padding: 2rem;
       max-width: 68rem }
h1 { font-size: 1.6rem; margin: 0 } h2 { font-size: 1.2rem; margin: 2.5rem 0 .75rem }
.lead { color: #5b6472; margin: .25rem 0 1.5rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem }
th, td { padding: .3rem .9rem .3rem 0; text-align: left; border-bottom: 1px solid var(--faint);
         overflow-wrap: anywhere }
th { font-weight: 600 }
.card { background: var(--soft); border-left: 4px solid var(--accent); padding: 1rem 1.25rem;
        border-radius: 4px; max-width: 48rem } .card p { margin: .3rem 0 }
.bad { border-left-color: #d55e00 }
.pictures { display: grid; gap: 1.5rem; margin: 1.5rem 0;
            grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)) }
figure { margin: 0 } img { width: 100%; height: auto }
figcaption { font-size: .85rem; color: #5b6472 }
code { font-size: .8rem; overflow-wrap: anywhere }
"""


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into a run's folder, or into that of a comparison; gives its path.

    Without matplotlib the report has no pictures and says so. Raises ConfigError for a folder
    without logs, StorageError when it cannot be read or written.
    """
    summaries = {name: summarise(path) for name, path in arms(folder).items()}
    if len(summaries) == 1:
        summaries = {run.name: run for run in summaries.values()}
    try:
        images = {name: plots.pictures(run) for name, run in summaries.items()}
        joint = plots.comparison_pictures(summaries) if len(summaries) > 1 else {}
        note = ""
    except ConfigError as error:
        images, joint, note = {}, {}, str(error)
    file = folder / REPORT_NAME
    title = folder.resolve().name
    write_atomic(file, report_html(title, summaries, images, joint, note=note).encode())
    return file


def report_html(
    title: str,
    summaries: Mapping[str, RunSummary],
    images: Mapping[str, Mapping[str, bytes]],
    joint: Mapping[str, bytes],
    *,
    note: str = "",
) -> str:
    """The page for one run or several; ``images`` holds each run's PNGs, ``joint`` those of all."""
    body = [f"<h1>{_text(title)}</h1>", '<p class="lead">Report of a Tidings run</p>']
    rows = [[label, *values] for label, values in summary_rows(summaries)]
    body.append(_table(["", *summaries], rows))
    if note:
        body.append(f'<p class="card bad">No pictures: {_text(note)}</p>')
    body.append(_figures(joint))
    for name, summary in summaries.items():
        if len(summaries) > 1:
            body.append(f"<h2>{_text(name)}</h2>")
        body += [
            _figures(images.get(name, {})),
            _privacy_card(summary),
            _troubles_card(summary),
            _peers(summary),
            _refusals(summary),
            _proofs(summary),
        ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def _privacy_card(summary: RunSummary) -> str:
    if summary.epsilon_max is None:
        words = [
            "<strong>No differential privacy.</strong> Whoever received this run's deltas may "
            "learn about single records from them."
        ]
    else:
        words = [
            f"<strong>{_text(privacy_line(summary))}</strong>: the most that any one peer spent, "
            "all its releases together.",
            f"Neighbouring relation: {_text(summary.neighbouring_relation)}.",
            f"Trust model: {_text(summary.trust_model)}.",
            f"Accountant: {_text(summary.accountant)}.",
        ]
    return '<h2>Privacy</h2><div class="card">' + "".join(f"<p>{w}</p>" for w in words) + "</div>"


def _troubles_card(summary: RunSummary) -> str:
    troubles = [f"{what}: {which}" for what, which in trouble_rows(summary)]
    if summary.corrupt_lines:
        first = summary.bad_lines[0]
        troubles.append(
            f"{summary.corrupt_lines} lines of the logs could not be read, the first being "
            f"{shown(first.file)}, line {first.line}: {first.why}"
        )
    if not troubles:
        return ""
    lines = "".join(f"<p>{_text(trouble, limit=400)}</p>" for trouble in troubles)
    return f'<h2>Troubles</h2><div class="card bad">{lines}</div>'


def _peers(summary: RunSummary) -> str:
    rows = [
        [
            peer.name,
            str(peer.rounds),
            percent(peer.accuracy),
            number(peer.epsilon),
            size(peer.bytes_sent),
            size(peer.bytes_received),
            str(peer.refused),
            str(peer.starts),
        ]
        for peer in summary.by_peer
    ]
    columns = ["peer", "rounds", "accuracy", "ε", "sent", "received", "refused", "starts"]
    return "<h2>Peers</h2>" + _table(columns, rows) if rows else ""


def _refusals(summary: RunSummary) -> str:
    rows = [
        [row.reason, str(row.count), row.peer, row.sender or MISSING, row.detail]
        for row in summary.refusals[:200]
    ]
    columns = ["reason", "frames", "refused by", "sent by", "last one"]
    return "<h2>Refused frames</h2>" + _table(columns, rows) if rows else ""


def _proofs(summary: RunSummary) -> str:
    verdict = {True: "valid", False: "proves nothing", None: "not checked"}
    parts = [
        f"<p>{_text(row.author)} at entry {row.sequence} ({verdict[row.verified]}):<br>"
        f"<code>{_text(row.proof, limit=4096)}</code></p>"
        for row in summary.proofs[:20]
    ]
    return "<h2>Proofs of equivocation</h2>" + "".join(parts) if parts else ""


def _figures(images: Mapping[str, bytes]) -> str:
    figures = [
        f'<figure><img alt="{_text(CAPTIONS.get(name, name))}" '
        f'src="data:image/png;base64,{base64.b64encode(image).decode("ascii")}">'
        f"<figcaption>{_text(CAPTIONS.get(name, name))}</figcaption></figure>"
        for name, image in images.items()
    ]
    return f'<div class="pictures">{"".join(figures)}</div>' if figures else ""


def _table(columns: Iterable[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(text: str, *, limit: int = 120) -> str:
    return escape(shown(text, limit=limit))
