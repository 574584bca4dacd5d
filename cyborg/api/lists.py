"""Lists: filters, order and pages, the same for every resource."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import json
from typing import Any
import urllib.parse

from oslo_config import cfg

from cyborg.api import request as api_request
from cyborg.api import text
from cyborg.api import versions
from cyborg.common import exception
from cyborg.common.i18n import _
from cyborg.db import paging

CONF = cfg.CONF

Rows = Sequence[Any]
Find = Callable[[paging.Page], Rows]
Render = Callable[[Rows], list[dict[str, Any]]]

# Names that the paging arguments have in the query.
ARGUMENTS = ("limit", "marker", "sort_key", "sort_dir")
# Of one argument, each looked up in an index.
MOST_VALUES = 1000
FIELD = "filters.field"
VALUE = "filters.value"


def split(value: str | None, name: str) -> list[str] | None:
    """Return the items of ``a,b``; None for None.

    Spaces, empty items and repetitions count for nothing.

    :param name: of the argument
    :raises Invalid: there are too many
    """
    if value is None:
        return None
    if value.count(",") >= MOST_VALUES:
        raise exception.Invalid(
            _("query.%(name)s: %(most)d values are the most.")
            % {"name": name, "most": MOST_VALUES}
        )
    items = (item.strip() for item in value.split(","))
    return list(dict.fromkeys(item for item in items if item))


def merge_filters(query: dict[str, list[str]]) -> dict[str, str]:
    """Return the query with its ``filters.field=F&filters.value=V`` resolved.

    :param query: a valid query: only the array's parameters are repeated
    :raises Invalid: fields and values do not pair, or one is given twice
    """
    fields, values = query.get(FIELD, []), query.get(VALUE, [])
    if len(fields) != len(values):
        raise exception.Invalid(
            _(
                "filters.field is given %(fields)d times, filters.value "
                "%(values)d times."
            )
            % {"fields": len(fields), "values": len(values)}
        )
    merged = {
        name: items[0]
        for name, items in query.items()
        if name not in (FIELD, VALUE)
    }
    for field, value in zip(fields, values, strict=True):
        if field in merged:
            raise exception.Invalid(_("%s is given twice.") % field)
        merged[field] = value
    return merged


def page_of(query: dict[str, str], sort_keys: Sequence[str]) -> paging.Page:
    """Return the page that a merged query asks for, without the cap.

    The schema has seen to the plain parameters; this is for those that come
    by the filter array.

    :raises Invalid: naming the argument
    """
    limit = query.get("limit")
    if limit is not None and not (limit.isascii() and limit.isdigit()):
        raise exception.Invalid(_("limit: %s is not a number.") % limit)
    # So that no number is too long to be one.
    size = None if limit is None else int(limit[:18])
    if size == 0:
        raise exception.Invalid(_("limit: has to be 1 or more."))
    direction = query.get("sort_dir", "asc")
    if direction not in ("asc", "desc"):
        raise exception.Invalid(
            _("sort_dir: %s is neither asc nor desc.") % direction
        )
    sort_key = query.get("sort_key", "id")
    if sort_key not in sort_keys:
        raise exception.Invalid(
            _("sort_key: %(key)s is none of %(keys)s.")
            % {"key": sort_key, "keys": ", ".join(sort_keys)}
        )
    marker = query.get("marker")
    if marker and text.canonical_uuid(marker) is None:
        raise exception.Invalid(_("marker: %s is not a UUID.") % marker)
    return paging.Page(
        limit=size,
        marker=text.canonical_uuid(marker),
        sort_key=sort_key,
        descending=direction == "desc",
    )


def respond(
    request: api_request.Request,
    key: str,
    query: dict[str, str],
    sort_keys: Sequence[str],
    find: Find,
    render: Render,
) -> bytes:
    """Return the body of a list; from 2.5 on it says where a cut list goes on.

    Below 2.5 there is no ``Link`` header either: openstacksdk fails on any
    that comes without links in the body (``KeyError: 'uri'``), and asks for
    the next page by itself.

    :param key: name of the list in the body
    :param query: as :func:`merge_filters` returns it
    :param sort_keys: what the list can be sorted by
    :param find: reads a page
    :param render: makes the rows of a page what clients see
    """
    page = page_of(query, sort_keys)
    cap = CONF.api.max_limit
    if page.limit is None and request.version < versions.LISTS:
        # Clients of these versions do not page, and must lose nothing.
        parts = _whole(page, cap, find, render)
        return b'{"%s": [%s]}' % (key.encode(), b", ".join(parts))
    size = min(page.limit or cap, cap)
    rows = find(dataclasses.replace(page, limit=size + 1))
    body = b'{"%s": %s' % (
        key.encode(),
        json.dumps(render(rows[:size])).encode(),
    )
    if len(rows) > size and request.version >= versions.LISTS:
        url = _next_url(request, rows[size - 1].uuid, size)
        request.link_header = f'<{url}>; rel="next"'
        links = json.dumps([{"rel": "next", "href": url}])
        body += b', "%s_links": %s' % (key.encode(), links.encode())
    return body + b"}"


def _whole(
    page: paging.Page, size: int, find: Find, render: Render
) -> list[bytes]:
    """Read and render a list of any length in pages of ``size``."""
    parts = []
    rows = find(dataclasses.replace(page, limit=size))
    while rows:
        parts.append(json.dumps(render(rows))[1:-1].encode())
        if len(rows) < size:
            break
        # Whose last record somebody may delete meanwhile.
        rows = find(dataclasses.replace(page, limit=size, after=rows[-1]))
    return parts


def _next_url(request: api_request.Request, marker: str, limit: int) -> str:
    """Return the URL of the page after the record ``marker``."""
    pairs = list(request.GET.items())
    fields = [value for name, value in pairs if name == FIELD]
    values = [value for name, value in pairs if name == VALUE]
    kept = [
        (name, value)
        for name, value in pairs
        if name not in (FIELD, VALUE, "marker", "limit")
    ]
    for field, value in zip(fields, values, strict=True):
        if field not in ("marker", "limit"):
            kept += [(FIELD, field), (VALUE, value)]
    kept += [("limit", str(limit)), ("marker", marker)]
    path = "/".join((request.base_url, *request.segments))
    return f"{path}?{urllib.parse.urlencode(kept)}"
