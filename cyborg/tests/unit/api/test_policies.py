"""Who may do what: persona by operation."""

from collections.abc import Iterator
import pathlib
import re
from typing import Any

from oslo_policy import policy as oslo_policy
import pytest

from cyborg import policies
from cyborg.api import app
from cyborg.api import routing
from cyborg.common import exception
from cyborg.common import policy
from cyborg.conf import CONF
from cyborg.context import RequestContext

# What each rule admits, besides whom its column stands for:
# admin with the roles Keystone implies, admin alone, manager, member, reader,
# a user with the role service.
PERSONAS = {
    "admin": ["admin", "manager", "member", "reader"],
    "bare admin": ["Admin"],
    "manager": ["manager", "member", "reader"],
    "member": ["member", "reader"],
    "reader": ["reader"],
    "service": ["service"],
    "nobody": [],
}
ADMINS = {"admin", "bare admin"}
MANAGERS = ADMINS | {"manager"}
READERS = MANAGERS | {"member", "reader"}
ARQ_WRITERS = {"admin", "manager", "member", "service"}

ADMITTED = {
    "cyborg:device:get_all": MANAGERS,
    "cyborg:device:get_one": MANAGERS,
    "cyborg:device:enable": ADMINS,
    "cyborg:device:disable": ADMINS,
    "cyborg:device:update": ADMINS,
    "cyborg:device:get_stats": ADMINS,
    "cyborg:device:get_history": ADMINS,
    "cyborg:deployable:get_all": MANAGERS,
    "cyborg:deployable:get_one": MANAGERS,
    "cyborg:deployable:program": ADMINS,
    "cyborg:deployable:update": ADMINS,
    "cyborg:attribute:get_all": MANAGERS,
    "cyborg:attribute:get_one": MANAGERS,
    "cyborg:attribute:create": ADMINS,
    "cyborg:attribute:update": ADMINS,
    "cyborg:attribute:delete": ADMINS,
    "cyborg:attribute:delete_all": ADMINS,
    "cyborg:device_profile:get_all": READERS,
    "cyborg:device_profile:get_one": READERS,
    "cyborg:device_profile:create": ADMINS,
    "cyborg:device_profile:update": ADMINS,
    "cyborg:device_profile:delete": ADMINS,
    "cyborg:arq:get_all": READERS,
    "cyborg:arq:get_all:all_projects": ADMINS,
    "cyborg:arq:get_one": READERS,
    "cyborg:arq:create": ARQ_WRITERS,
    "cyborg:arq:update": ARQ_WRITERS,
    "cyborg:arq:delete": ARQ_WRITERS,
    "cyborg:arq:report_fault": ARQ_WRITERS,
    "cyborg:service:get_all": ADMINS,
    "cyborg:service:discover": ADMINS,
    "cyborg:service:update": ADMINS,
    "cyborg:quota:get": READERS,
}


@pytest.fixture(autouse=True)
def enforcer() -> Iterator[None]:
    CONF([], project="cyborg", default_config_files=[])
    policy.reset()
    yield
    policy.reset()


def admits(rule: str, **caller: Any) -> bool:
    try:
        RequestContext(overwrite=False, **caller).can(rule)
    except exception.PolicyNotAuthorized as error:
        assert rule in error.faultstring
        return False
    return True


@pytest.mark.parametrize("rule", ADMITTED)
def test_rule_admits_exactly_these(rule: str) -> None:
    admitted = {
        persona
        for persona, roles in PERSONAS.items()
        if admits(rule, roles=roles, project_id="p", user_id="u")
    }
    assert admitted == ADMITTED[rule]


@pytest.mark.parametrize("rule", ADMITTED)
@pytest.mark.parametrize(
    "scope", [{"system_scope": "all"}, {"domain_id": "default"}]
)
def test_only_project_scoped_tokens(rule: str, scope: dict[str, str]) -> None:
    assert not admits(rule, roles=PERSONAS["admin"], user_id="u", **scope)


def test_every_rule_is_in_the_table_and_documented() -> None:
    rules = {
        rule.name: rule
        for rule in policies.list_rules()
        if rule.name.startswith("cyborg:")
    }
    assert rules.keys() == ADMITTED.keys()
    for rule in rules.values():
        assert rule.description
        assert isinstance(rule, oslo_policy.DocumentedRuleDefault)
        assert rule.operations
        assert rule.scope_types == ["project"]


def test_every_operation_has_a_rule_except_the_version_documents() -> None:
    public = set()
    for controller in app.CONTROLLERS:
        for operation, _handler in routing.operations(controller):
            if operation.rule is None:
                public.add(operation.paths)
            else:
                assert operation.rule in ADMITTED
    assert public == {("/",), ("/v2",)}


def test_rules_name_the_operations_that_they_are_for() -> None:
    served: dict[str, set[tuple[str, str]]] = {
        # Of those that other rules admit to.
        "cyborg:arq:get_all:all_projects": {
            ("GET", "/v2/accelerator_requests"),
            ("GET", "/v2/accelerator_requests/{}"),
        }
    }
    for controller in app.CONTROLLERS:
        for operation, _handler in routing.operations(controller):
            if operation.rule is not None and operation.status < 400:
                served.setdefault(operation.rule, set()).add(
                    (operation.method, _shape(operation.paths[0]))
                )
    told = {
        rule.name: {
            (one["method"], _shape(one["path"].partition("?")[0]))
            for one in rule.operations
        }
        for rule in policies.list_rules()
        if isinstance(rule, oslo_policy.DocumentedRuleDefault)
    }
    assert told == served


def _shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


@pytest.mark.parametrize(
    ("check", "admitted"),
    [
        ("is_admin:True", ADMINS),
        ("rule:is_admin", ADMINS),
        ("not is_admin:True", PERSONAS.keys() - ADMINS),
        ("rule:admin_or_owner", PERSONAS.keys()),
        ("rule:admin_or_user", PERSONAS.keys()),
        ("rule:public_api", set()),
        ("rule:allow", PERSONAS.keys()),
        ("rule:deny", set()),
    ],
)
def test_checks_of_files_of_earlier_releases(
    tmp_path: pathlib.Path, check: str, admitted: set[str]
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(f'"cyborg:device:enable": "{check}"\n')
    policy.get_enforcer()
    CONF.set_override("policy_file", str(file), "oslo_policy")
    policy.reset()
    try:
        assert {
            persona
            for persona, roles in PERSONAS.items()
            if admits(
                "cyborg:device:enable",
                roles=roles,
                project_id="p",
                user_id="u",
            )
        } == admitted
    finally:
        CONF.clear_override("policy_file", "oslo_policy")


def test_base_rules_that_policy_files_refer_to() -> None:
    names = {rule.name for rule in policies.list_rules()}
    assert names >= {
        "admin_api",
        "admin_or_owner",
        "admin_or_user",
        "allow",
        "default",
        "deny",
        "is_admin",
        "project_admin_api",
        "project_manager_api",
        "project_manager_or_admin",
        "project_member_api",
        "project_member_or_admin",
        "project_member_or_service",
        "project_reader_api",
        "project_reader_or_admin",
        "public_api",
        "service_api",
    }
