"""The tree of hosts, and how it is printed."""

import html.parser
import json
from typing import Any

import pytest

from cyborg.conf import CONF
from cyborg.manage import topology
from cyborg.tests.fixtures import topology as fixture


@pytest.fixture(autouse=True)
def configured() -> None:
    CONF([], default_config_files=[])


def _tree(rows: Any) -> topology.Tree:
    return topology.build(rows, fixture.NOW)


def test_text() -> None:
    tree = _tree(fixture.cloud(1))
    assert list(topology.lines(tree)) == [
        "compute-1: up",
        "├─ GPU 10de GA100 0000:3b:00.0, dddddddd-0000-4000-8000-000000000001",
        "│  └─ compute-1_0000:3b:00.0: PGPU, 1 of 2 in use",
        "│     ├─ PCI 0000:3b:00.1: Bound, server "
        "cccccccc-0000-4000-8000-000000001000, project project-1",
        "│     └─ PCI 0000:3b:00.2: free",
        "└─ FPGA 8086 Arria 10 0000:3c:00.0, "
        "dddddddd-0000-4000-8000-000000000002",
        "   └─ compute-1_0000:3c:00.0: FPGA, 1 of 2 in use",
        "      ├─ PCI 0000:3c:00.1: Bound, server "
        "cccccccc-0000-4000-8000-000000002000, project project-1",
        "      └─ PCI 0000:3c:00.2: free",
        "1 host, 2 devices, 4 handles, 2 in use, 0 problems",
    ]


def test_what_is_wrong_is_said_where_it_is() -> None:
    tree = _tree(fixture.troubled_cloud())
    first, second, third = tree["hosts"]
    assert (first["state"], first["problems"]) == (
        "up",
        [
            "driver nvidia_gpu_driver: no such file",
            "Placement: Placement is away",
        ],
    )
    assert (second["state"], second["problems"]) == (
        "down",
        [
            "its agent is silent since 2026-11-20T12:00:00",
            "Placement is behind",
        ],
    )
    assert (third["state"], third["problems"]) == ("down", ["forced down"])
    disabled, missing = first["devices"]
    assert disabled["problems"] == ["disabled: its fan is broken"]
    assert missing["problems"] == ["missing since 2026-11-20T12:00:00"]
    assert missing["deployables"][0]["problems"] == missing["problems"]
    (unpublished,) = second["devices"][0]["deployables"]
    assert unpublished["problems"] == ["has no provider in Placement"]
    (handle, _free) = missing["deployables"][0]["handles"]
    assert handle["problems"] == ["in use by no request"]
    assert handle["request"] is None
    shown = [line for line in topology.lines(tree) if "!" in line]
    assert len(shown) == 9
    assert "! disabled: its fan is broken" in shown[1]
    assert tree["summary"]["problems"] == 11


def test_hosts_that_an_earlier_release_reported() -> None:
    rows = fixture.cloud(1)
    rows.hosts.clear()
    (host,) = _tree(rows)["hosts"]
    assert (host["host"], host["state"]) == ("compute-1", "unknown")
    assert len(host["devices"]) == 2


def test_hosts_without_devices() -> None:
    rows = fixture.cloud(1, devices=0)
    rows.hosts[0].last_seen_at = None
    tree = _tree(rows)
    assert next(topology.lines(tree)) == (
        "compute-1: down; ! its agent is silent"
    )


def test_hosts_are_sorted_as_people_do() -> None:
    hosts = [host["host"] for host in _tree(fixture.cloud(12))["hosts"]]
    assert hosts == [f"compute-{number}" for number in range(1, 13)]


def test_other_terminals() -> None:
    text = list(
        topology.lines(_tree(fixture.cloud(1, 1)), topology._PLAIN_BRANCHES)
    )
    assert text[1].startswith("`- GPU")
    assert text[3].startswith("      |- PCI")


def test_addresses_that_are_none() -> None:
    for text in ("fake", "[1]", '{"bus": "0c"}'):
        assert topology.address(text) == text


class _Page(html.parser.HTMLParser):
    """Collects what a page refers to, and the data in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.data = ""
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        values = dict(attrs)
        self.references += [
            value
            for name, value in attrs
            if name in ("src", "href", "srcset", "action")
        ]
        self._inside = values.get("id") == "data"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.data += data


def test_a_page_is_whole() -> None:
    rows = fixture.cloud(1, 1)
    rows.devices[0].model = "</script><!-- <b>"
    text = topology.page(_tree(rows))
    page = _Page(text)
    assert page.references == []
    assert "url(" not in text and "import " not in text
    assert "default-src 'none'" in text
    data = json.loads(page.data)
    (host,) = data["nodes"]
    (device,) = host[4]
    assert device[:3] == [
        "device",
        "GPU 10de </script><!-- <b>",
        "0000:3b:00.0 dddddddd-0000-4000-8000-000000000001",
    ]
    ((_kind, name, detail, problems, (used, free)),) = device[4]
    assert (name, detail) == (
        "compute-1_0000:3b:00.0",
        "PGPU ffffffff-0000-4000-8000-000000000001",
    )
    assert used[:3] == [
        "used",
        "PCI 0000:3b:00.1",
        "Bound server cccccccc-0000-4000-8000-000000001000 project project-1 "
        "request bbbbbbbb-0000-4000-8000-000000001000",
    ]
    assert free == ["free", "PCI 0000:3b:00.2", "free", [], []]
    assert problems == []
