"""What the message bus is told of a process."""

from collections.abc import Iterator
import pathlib

import pytest

from cyborg.common import rpc
from cyborg.conf import CONF

GROUP = "oslo_messaging_rabbit"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    rpc.cleanup()
    yield
    rpc.cleanup()
    CONF.clear_default("processname", GROUP)


@pytest.mark.parametrize(
    ("option", "name"),
    [("", "cyborg-conductor"), ("processname = mine", "mine")],
)
def test_queues_have_the_name_of_the_program(
    tmp_path: pathlib.Path, option: str, name: str
) -> None:
    config = tmp_path / "cyborg.conf"
    config.write_text(
        "[DEFAULT]\ntransport_url = rabbit://127.0.0.1:1/\n"
        f"[{GROUP}]\nuse_queue_manager = true\n{option}\n"
    )
    rpc.set_defaults("cyborg-conductor")
    CONF([], default_config_files=[str(config)])
    driver = rpc.get_transport()._driver
    assert driver._q_manager.processname == name
