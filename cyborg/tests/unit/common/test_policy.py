from collections.abc import Iterator
import os
import pathlib
import time

from oslo_policy import opts as policy_opts
import pytest

from cyborg import context
from cyborg.common import exception
from cyborg.common import policy
from cyborg.conf import CONF
from cyborg.policies import arq as policies
from cyborg.tests.fixtures import process


@pytest.fixture(autouse=True)
def _fresh_enforcer() -> Iterator[None]:
    CONF([], project="cyborg", default_config_files=[])
    # It registers the options.
    policy.get_enforcer()
    policy.reset()
    yield
    policy.reset()
    CONF.reset()


@pytest.fixture
def member() -> context.RequestContext:
    return context.RequestContext(project_id="p", roles=["member", "reader"])


@pytest.fixture
def file(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The policy file, empty."""
    # Its option is there once an enforcer was made.
    policy.get_enforcer()
    policy.reset()
    file = tmp_path / "policy.yaml"
    file.write_text("{}")
    # Which other tests may not have done yet.
    policy_opts.set_defaults(CONF)
    CONF.set_override("policy_file", str(file), "oslo_policy")
    yield file
    CONF.clear_override("policy_file", "oslo_policy")


def change(
    file: pathlib.Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Change the policy file, and have it looked at."""
    file.write_text(text)
    # The file system may be too coarse to tell the two moments apart.
    os.utime(file, (time.time() + 10,) * 2)
    later = time.monotonic() + 2
    monkeypatch.setattr(policy.time, "monotonic", lambda: later)


def test_changed_file_is_noticed(
    member: context.RequestContext,
    monkeypatch: pytest.MonkeyPatch,
    file: pathlib.Path,
) -> None:
    member.can(policies.CREATE)
    change(file, f'"{policies.CREATE}": "!"', monkeypatch)
    with pytest.raises(exception.PolicyNotAuthorized):
        member.can(policies.CREATE)


UNREADABLE = ["a: [b", "- a", "text"]


@pytest.mark.parametrize("text", UNREADABLE)
def test_file_that_became_unreadable_changes_nothing(
    member: context.RequestContext,
    monkeypatch: pytest.MonkeyPatch,
    file: pathlib.Path,
    text: str,
) -> None:
    file.write_text(f'"{policies.CREATE}": "!"')
    for change_it in (False, True):
        if change_it:
            change(file, text, monkeypatch)
        with pytest.raises(exception.PolicyNotAuthorized):
            member.can(policies.CREATE)
        member.can(policies.GET_ALL)


@pytest.mark.parametrize("text", UNREADABLE)
def test_file_that_cannot_be_read_is_named(
    file: pathlib.Path, text: str
) -> None:
    policy.check()
    file.write_text(text)
    policy.reset()
    with pytest.raises(exception.ConfigInvalid, match=str(file)):
        policy.check()


def test_file_of_the_package_changes_nothing(
    member: context.RequestContext,
) -> None:
    path = process.REPOSITORY / "etc/cyborg/policy.yaml"
    policy.get_enforcer()
    CONF.set_override("policy_file", str(path), "oslo_policy")
    policy.reset()
    policy.check()
    assert not policy.get_enforcer().file_rules
    member.can(policies.GET_ALL)
    with pytest.raises(exception.PolicyNotAuthorized):
        member.can(policies.ALL_PROJECTS)


@pytest.mark.parametrize(
    ("rule", "refusal"),
    [
        # Round and round.
        ('"a": "rule:b"\n"b": "rule:a"\n"%s": "rule:a"', exception.Forbidden),
        # Nothing listens on the port that is for nothing.
        ('"%s": "http://127.0.0.1:9/"', exception.ServiceUnavailable),
        ('"%s": "https://127.0.0.1:9/"', exception.ServiceUnavailable),
    ],
)
def test_rules_that_cannot_be_decided(
    member: context.RequestContext,
    file: pathlib.Path,
    rule: str,
    refusal: type[Exception],
) -> None:
    file.write_text(rule % policies.CREATE)
    with pytest.raises(refusal):
        member.can(policies.CREATE)


def test_number_for_a_rule_is_refused_at_start(file: pathlib.Path) -> None:
    file.write_text(f'"{policies.CREATE}": 5')
    with pytest.raises(exception.ConfigInvalid, match="policy_file"):
        policy.check()
