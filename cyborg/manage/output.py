"""Tables and JSON on standard output."""

from collections.abc import Mapping
from collections.abc import Sequence
import datetime
import json
import sys
from typing import Any

from cyborg.common import text as texts


def line(text: str) -> None:
    """Write one line, whatever those who sent its parts put into them."""
    sys.stdout.write(f"{texts.visible(text)}\n")


def as_json(value: Any) -> None:
    text = json.dumps(value, indent=2, sort_keys=True, default=_plain)
    sys.stdout.write(f"{text}\n")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return sorted(value)


def table(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    use_json: bool,
) -> None:
    """Write rows below their column names, or as a JSON list."""
    if use_json:
        as_json([{name: row[name] for name in columns} for row in rows])
        return
    cells = [list(columns)]
    cells += [
        [texts.visible(_text(row[name])) for name in columns] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row_cells in cells:
        padded = [
            cell.ljust(width)
            for cell, width in zip(row_cells, widths, strict=True)
        ]
        line("  ".join(padded).rstrip())


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime.datetime):
        return value.isoformat(timespec="seconds")
    return str(value)
