from collections.abc import Iterator
import functools
import inspect
import os
import pathlib
import time
from typing import Any

from oslo_policy import _checks
import pytest

from cyborg import context
from cyborg.common import exception
from cyborg.common import policy
from cyborg.conf import CONF
from cyborg.policies import arq as policies


@pytest.fixture(autouse=True)
def _fresh_enforcer() -> Iterator[None]:
    CONF([], project="cyborg", default_config_files=[])
    policy.reset()
    yield
    policy.reset()
    CONF.reset()


@pytest.fixture
def member() -> context.RequestContext:
    return context.RequestContext(project_id="p", roles=["member", "reader"])


def test_signatures_of_checks_are_looked_at_once(
    member: context.RequestContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = []

    def note(function: Any) -> inspect.FullArgSpec:
        looked_at.append(function)
        return inspect.getfullargspec(function)

    policy.get_enforcer()
    monkeypatch.setattr(policy, "_signature", functools.lru_cache(note))
    for _ in range(3):
        member.can(policies.CREATE)
    assert looked_at
    assert len(looked_at) == len(set(looked_at))
    assert set(looked_at) <= {
        check.__call__
        for check in vars(_checks).values()
        if isinstance(check, type)
    }


def test_changed_file_is_noticed(
    member: context.RequestContext,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text("{}")
    CONF.set_override("policy_file", str(file), "oslo_policy")
    try:
        member.can(policies.CREATE)
        file.write_text(f'"{policies.CREATE}": "!"')
        # The file system may be too coarse to tell the two moments apart.
        os.utime(file, (time.time() + 10,) * 2)
        later = time.monotonic() + 2
        monkeypatch.setattr(policy.time, "monotonic", lambda: later)
        with pytest.raises(exception.PolicyNotAuthorized):
            member.can(policies.CREATE)
    finally:
        CONF.clear_override("policy_file", "oslo_policy")
