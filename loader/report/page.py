"""A run as one HTML page that stands alone: nothing is loaded from elsewhere, no scripts, and it prints well.

Every value of the data and of a provider's answer is escaped; long lists are cut and say how much is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from loader.report.rejects import Group
from loader.report.summary import STATUS
from loader.report.totals import DestinationTotals, RunTotals
from loader.report.words import duration, one_line, plural, size

# Chunks that are shown of all destinations and statuses together, files, groups of rejections: a page stays small.
MOST_CHUNKS = 100
MOST_FILES = 40
MOST_GROUPS = 40
# Characters of a cell.
MOST_CELL = 160

# What a person has to look at comes first.
_CHUNKS = {
    "in_doubt": "in doubt",
    "sending": "being sent",
    "pending": "pending",
    "rejected": "rejected",
    "sent": "sent",
}
_PARTS = ("already delivered", "rejected", "sent", "in doubt", "pending")


@dataclass(frozen=True)
class Page:
    """What a page shows.

    `rows`: destination (or '') and reason → the first row numbers of a group. `record`, `chunks`, `files`: rows of the
    checkpoint. `following`: what is left to do, commands on lines of their own. `holder`: who works on it.
    `written`: when the page was made. `pruned`: when the plan and the rows were removed.
    """

    run: RunTotals
    record: Mapping[str, Any]
    groups: Sequence[Group]
    rows: Mapping[tuple[str, str], Sequence[int]]
    chunks: Sequence[Mapping[str, Any]]
    files: Sequence[Mapping[str, Any]]
    following: str | None
    holder: str | None
    written: str
    pruned: str | None = None


def page(shown: Page) -> str:
    """The page as HTML."""
    run = shown.run
    status = "under way" if shown.holder is not None and run.pending else STATUS.get(run.status, run.status)
    parts = [
        f"<h1>{_text(run.mapping)} <small>{_text(status)}</small></h1>",
        _about(shown),
        _following(shown),
        _totals(run),
        *_rejections(shown),
        *_chunks(shown),
        *_files(shown),
        f"<footer>Written {_text(shown.written)} by loader from the checkpoint of the run.</footer>",
    ]
    title = _text(f"{run.mapping}: run {run.run}")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body>\n</html>\n"
    )


def _text(value: object, most: int = 300) -> str:
    return escape(one_line(str(value), most))


def _about(shown: Page) -> str:
    run, record = shown.run, shown.record
    sent = sum(d.events.sent for d in run.destinations)
    speed = f", {plural(round(sent / run.seconds), 'event')}/s" if sent and run.seconds else ""
    entries = [
        ("run", run.run),
        ("planned", record["created"]),
        ("finished", record["finished"] or "not yet"),
        ("took", f"{duration(run.seconds)}{speed}"),
        ("mapping", f"SHA-256 {record['mapping_digest']}"),
        ("cursor", record["cursor"]),
        ("taken again", "all rows, those delivered before too" if record["again"] else None),
        ("state held by", shown.holder),
        ("pruned", shown.pruned and f"{shown.pruned}; the rows are gone, so that rejections have no examples"),
    ]
    listed = "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in entries if value)
    return f"<dl>{listed}</dl>"


def _following(shown: Page) -> str:
    if shown.following is None:
        return '<p class="next">Nothing is left to do.</p>'
    lines = [
        f"<code>{escape(line)}</code>" if line.startswith("loader ") else f"<p>{_text(line)}</p>"
        for line in shown.following.splitlines()
    ]
    return f'<div class="next"><h2>How to go on</h2>{"".join(lines)}</div>'


def _totals(run: RunTotals) -> str:
    rows = {"filtered": run.rows.filtered, "rejected": run.rows.rejected, "events": run.rows.events}
    parts = ["<h2>It adds up</h2>", "<h3>rows</h3>", _equation("rows", {"read": run.rows.read}, rows)]
    parts += [_destination(destination) for destination in run.destinations]
    return "\n".join(parts)


def _destination(destination: DestinationTotals) -> str:
    e = destination.events
    counts = dict(zip(_PARTS, (e.already_delivered, e.rejected, e.sent, e.in_doubt, e.pending), strict=True))
    bars = "".join(
        f'<span class="{name.replace(" ", "-")}" style="width:{100 * count / e.total:.3f}%"></span>'
        for name, count in counts.items()
        if count
    )
    d = destination
    made = [plural(d.chunks, "chunk"), plural(d.requests, "request"), plural(d.tokens, "token")]
    return (
        f"<h3>{_text(d.name)} <small>{_text(d.provider)}, route {_text(d.route)}</small></h3>\n"
        + _equation("events", {"events": e.total}, counts)
        + (f'\n<div class="bar">{bars}</div>' if bars else "")
        + f"\n<p>{', '.join(made)}, {size(d.bytes)} as planned</p>"
    )


def _equation(caption: str, whole: Mapping[str, int], parts: Mapping[str, int]) -> str:
    """The sum as a table: names above, numbers below, signs between."""
    names = [f"<th>{name}</th>" for name in [*whole, *parts]]
    numbers = [f"<td>{count:,}</td>" for count in [*whole.values(), *parts.values()]]
    head, body = "<th></th>".join(names), ""
    for at, number in enumerate(numbers):
        sign = "" if at == 0 else "=" if at == 1 else "+"
        body += (f'<td class="sign">{sign}</td>' if sign else "") + number
    return f'<table class="sum" aria-label="{caption}"><tr>{head}</tr><tr>{body}</tr></table>'


def _rejections(shown: Page) -> list[str]:
    if not shown.groups:
        return []
    parts = [f"<h2>Rejected: {shown.run.rejected:,}</h2>"]
    for group in shown.groups[:MOST_GROUPS]:
        to = f" to {group.destination}" if group.destination else ""
        what = plural(group.count, "event" if to else "row") + to
        parts.append(f"<h3>{_text(group.reason)} <small>{_text(what)}</small></h3>\n<p>{_text(group.meaning)}</p>")
        if group.example is not None:
            parts.append(_example(group))
        numbers = shown.rows.get((group.destination, group.reason), ())
        if len(numbers) > 1:
            more = group.count - len(numbers)
            listed = ", ".join(f"{number:,}" for number in numbers) + (f" and {more:,} more" if more > 0 else "")
            parts.append(f"<p>rows {listed}</p>")
    return [*parts, *_cut(len(shown.groups) - MOST_GROUPS, "reason")]


def _example(group: Group) -> str:
    example = group.example
    if example is None:
        return ""
    value = ""
    if example.field is not None:
        shown = "nothing" if example.value is None else f"<code>{_text(example.value)}</code>"
        value = f"<br>{_text(example.field)} is {shown}"
    record = "" if example.record is None else f"<pre>{_text(example.record, 600)}</pre>"
    return f"<blockquote>e.g. {_text(example.words())}{value}{record}</blockquote>"


def _chunks(shown: Page) -> list[str]:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for chunk in shown.chunks:
        groups.setdefault((chunk["destination"], chunk["status"]), []).append(chunk)
    if not groups:
        return []
    most = max(3, MOST_CHUNKS // len(groups))
    parts = ["<h2>Chunks</h2>"]
    for destination in dict.fromkeys(chunk["destination"] for chunk in shown.chunks):
        for status, word in _CHUNKS.items():
            found = groups.get((destination, status), [])
            if not found:
                continue
            counts = plural(len(found), "chunk"), plural(sum(c["events"] - c["refused"] for c in found), "event")
            parts.append(f"<h3>{_text(destination)}: {word} <small>{', '.join(counts)}</small></h3>")
            parts.append(_chunk_table(found[:most]))
            parts += _cut(len(found) - most, "chunk")
    return parts


def _chunk_table(chunks: Sequence[Mapping[str, Any]]) -> str:
    head = ("chunk", "among rows", "events", "refused", "tries", "token", "said", "time")
    lines = [
        (
            f"{chunk['number']:,}",
            f"{chunk['first_row']:,}–{chunk['last_row']:,}",
            f"{chunk['events']:,}",
            f"{chunk['refused']:,}",
            f"{chunk['attempts']:,}",
            chunk["token"] or "",
            chunk["message"] or "",
            chunk["changed"] or "",
        )
        for chunk in chunks
    ]
    # A column that says nothing of any chunk is left out.
    kept = [at for at in range(len(head)) if any(line[at] not in ("", "0") for line in lines)]
    return _table([head[at] for at in kept], [[line[at] for at in kept] for line in lines])


def _files(shown: Page) -> list[str]:
    # A file stands there once for each destination.
    files = list({(file["path"], file["digest"]): file for file in shown.files}.values())
    if not files:
        return []
    lines = [
        (file["path"], f"{file['first_row']:,}", f"{file['rows']:,}", size(file["size"]), file["digest"])
        for file in files[:MOST_FILES]
    ]
    table = _table(("file", "first row", "rows", "size", "SHA-256"), lines)
    return ["<h2>Files</h2>", table, *_cut(len(files) - MOST_FILES, "file")]


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    names = "".join(f"<th>{_text(name)}</th>" for name in head)
    cells = ("".join(f"<td>{_text(cell, MOST_CELL)}</td>" for cell in line) for line in lines)
    body = "\n".join(f"<tr>{line}</tr>" for line in cells)
    return f"<table><thead><tr>{names}</tr></thead><tbody>\n{body}\n</tbody></table>"


def _cut(more: int, noun: str) -> list[str]:
    return [f'<p class="cut">and {plural(more, f"more {noun}")}</p>'] if more > 0 else []


_STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2430; background: #fff; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #d8dee6; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
small { font-weight: normal; color: #5b6675; }
p { margin: .3rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .5rem 0; }
dt { color: #5b6675; }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: .3rem 0; font-size: .9rem; }
th { text-align: left; font-weight: normal; color: #5b6675; padding: .15rem .6rem .15rem 0; white-space: nowrap; }
td { padding: .15rem .6rem .15rem 0; border-top: 1px solid #e8ecf1; vertical-align: top; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; }
.sum td { border: 0; font-size: 1.15rem; padding-right: .5rem; }
.sum .sign { color: #5b6675; }
.bar { display: flex; height: .6rem; border-radius: .3rem; overflow: hidden; background: #e8ecf1; max-width: 40rem; }
.sent { background: #2e8b57; }
.already-delivered { background: #8fbfa5; }
.rejected { background: #c2452d; }
.in-doubt { background: #e0a100; }
.pending { background: #9aa7b8; }
blockquote { margin: .3rem 0; padding: .3rem .8rem; border-left: 3px solid #d8dee6; overflow-wrap: anywhere; }
pre, code { font: .85rem/1.4 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
pre { margin: .2rem 0 0; }
.next { background: #f4f6f9; border-radius: .4rem; padding: .6rem 1rem; margin: 1rem 0; }
.next h2 { border: 0; margin: 0; font-size: 1rem; }
.next code { display: block; }
.cut, footer { color: #5b6675; font-size: .85rem; }
footer { margin-top: 2rem; }
@media print {
  body { margin: 0; max-width: none; font-size: 11px; }
  h2, h3 { break-after: avoid; }
  tr, blockquote { break-inside: avoid; }
  .bar, .bar span { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
