"""Are the files that operators write those of this release?"""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
import functools
from importlib import metadata
import pathlib
import re
from typing import Any

from keystoneauth1 import loading
from oslo_config import cfg
from oslo_upgradecheck import common_checks

from cyborg import conf
from cyborg.accelerator import nvme_spec
from cyborg.accelerator import pci
from cyborg.accelerator import whitelist
from cyborg.clients import auth
from cyborg.common import exception
from cyborg.common import policy
from cyborg.conf import devices as conf_devices
from cyborg.manage.checks import base

CONF = conf.CONF

_Key = tuple[str, str]

# Cyborg's own, whatever a library says that registers them, too.
_OWN = ("ssl",)
# Whose options Cyborg's configuration files hold.
_NAMESPACES = ("cyborg", "keystonemiddleware.", "oslo.", "osprofiler")
# Where a number below 1 was taken, and is the default now.
_POSITIVE = {
    ("DEFAULT", "bind_timeout"),
    ("DEFAULT", "periodic_interval"),
    ("DEFAULT", "thread_pool_size"),
    ("api", "api_workers"),
}
# The one group whose device_addresses OpenStack Cyborg's NIC driver read.
_READ_BEFORE = "x710_static"


class FileChecks(base.Checks):
    """Look at configuration and policy."""

    def policy_file(self) -> base.Result:
        """Is the policy file YAML?"""
        return common_checks.check_policy_json(self, CONF)

    def options(self) -> base.Result:
        """Are options in use that have other names now, or go away?"""
        return _result(_old_options, "; ".join)

    def unknown_options(self) -> base.Result:
        """Are there options that nobody reads?"""
        return _result(
            _unknown_options,
            lambda found: (
                f"Nothing reads these: {base.shown(found)}. They are "
                "misspelt, or of a release that had them, and may be removed."
            ),
        )

    def changed_meanings(self) -> base.Result:
        """Do options mean something else than in the release before?"""
        return _result(_changed_meanings, "; ".join)

    def unknown_rules(self) -> base.Result:
        """Are there rules in the policy files that nobody asks for?"""
        return _result(
            _unknown_rules,
            lambda found: (
                f"[oslo_policy] policy_file: {base.shown(found)}: no such "
                "rules, so what they should allow or forbid is as by default. "
                "'oslopolicy-sample-generator --namespace cyborg.api' names "
                "all."
            ),
        )


def _result(
    find: Callable[[], Iterable[str]], tell: Callable[[list[str]], str]
) -> base.Result:
    """Return a warning with what is found, success if that is nothing."""
    try:
        found = list(find())
    except exception.ConfigInvalid as error:
        return base.Result(
            base.Code.WARNING, f"Not checked: {error.faultstring}"
        )
    except (cfg.Error, OSError) as error:
        return base.Result(base.Code.WARNING, f"Not checked: {error}")
    if not found:
        return base.Result(base.Code.SUCCESS)
    return base.Result(base.Code.WARNING, tell(found))


def _config_files() -> list[str]:
    """Return the files that were read, in their order."""
    files = [str(name) for name in CONF.config_file or ()]
    for directory in CONF.config_dir or ():
        files += sorted(map(str, pathlib.Path(directory).glob("*.conf")))
    return files


class _Known:
    """The options that somebody reads, and what to do about old ones."""

    def __init__(self) -> None:
        # (group, name): what to do about it
        self.advice: dict[_Key, str] = {}
        self.current: set[_Key] = set()
        for entry in metadata.entry_points(group="oslo.config.opts"):
            if entry.name.startswith(_NAMESPACES):
                for group, options in entry.load()():
                    self._add(str(group or "DEFAULT"), options)

    def _add(self, group: str, options: Iterable[Any]) -> None:
        for option in options:
            self.current.add((group, option.dest))
            if group in _OWN:
                continue
            new = f"[{group}] {option.dest}"
            if option.deprecated_for_removal:
                self.advice[group, option.dest] = _going(option)
            for old in option.deprecated_opts:
                name = (old.name or option.dest).replace("-", "_")
                self.advice[old.group or group, name] = (
                    _going(option)
                    if option.deprecated_for_removal
                    else f"is {new} now"
                )

    def is_read(self, key: _Key) -> bool:
        """Return whether a process of Cyborg's, or a library, reads it."""
        group, name = key
        if key in self.current or key in self.advice:
            return True
        if group == "DEFAULT":
            return name in CONF
        return (group in CONF and name in CONF[group]) or (
            name in self._by_group(group)
        )

    def _by_group(self, group: str) -> Iterable[str]:
        """Return options of a group whose name, or kind, options give."""
        if group in CONF.nic_devices.enabled_nic_types:
            return [option.dest for option in conf_devices.NIC_TYPE_OPTS]
        if group.startswith("vgpu_"):
            return [option.dest for option in conf_devices.VGPU_OPTS]
        if group == auth.AUTHTOKEN or (
            group in CONF and "auth_type" in CONF[group]
        ):
            return _credentials()
        return ()


@functools.cache
def _credentials() -> frozenset[str]:
    """Return the options of all kinds of credentials."""
    found: set[str] = set()
    loaders: dict[str, Any] = loading.get_available_plugin_loaders()
    for loader in loaders.values():
        for option in loader.get_options():
            names = [option.name, *(old.name for old in option.deprecated)]
            found.update(name.replace("-", "_") for name in names)
    return frozenset(found)


def _values() -> Iterator[tuple[str, _Key, list[str]]]:
    """Yield file, group and name, and values of what the files have."""
    for path in _config_files():
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(path, sections).parse()
        for group, values in sections.items():
            for name, texts in values.items():
                yield path, (group, name.replace("-", "_")), texts


def _old_options() -> Iterator[str]:
    """Yield what to change in the configuration files."""
    known = _Known()
    for path, key, _texts in _values():
        advice = known.advice.get(key)
        if advice and (key not in known.current or "goes" in advice):
            yield f"[{key[0]}] {key[1]} in {path} {advice}"


def _unknown_options() -> Iterator[str]:
    """Yield what nobody reads."""
    known = _Known()
    for path, (group, name), _texts in _values():
        if not known.is_read((group, name)):
            yield f"[{group}] {name} in {path}"


def _changed_meanings() -> Iterator[str]:
    """Yield values that mean something else here than in 17.0.0."""
    for path, (group, name), texts in _values():
        option = f"[{group}] {name} in {path}"
        if (group, name) in _POSITIVE:
            yield from (
                f"{option}: {text} is below 1, the default is used"
                for text in texts[-1:]
                if re.fullmatch(r"\s*(0+|-\d+)\s*", text)
            )
        elif (group, name) == ("nvme", "device_spec"):
            try:
                nvme_spec.parse(texts)
            except exception.ConfigInvalid as error:
                yield f"{error.faultstring} ({path})"
        elif (group, name) == ("pci", "passthrough_whitelist"):
            yield from _whitelist(path, texts)
        elif name == "device_addresses":
            yield from _addresses(option, group, texts[-1])


def _whitelist(path: str, texts: list[str]) -> Iterator[str]:
    """Yield what is wrong with each entry; 17.0.0 starts with many."""
    for text in texts:
        try:
            whitelist.parse([text])
        except exception.ConfigInvalid as error:
            yield f"{error.faultstring} ({path}) The agent does not start"


def _addresses(option: str, group: str, text: str) -> Iterator[str]:
    """Yield what is to know of the addresses of a group."""
    is_nic = group in CONF.nic_devices.enabled_nic_types
    if not is_nic and not group.startswith("vgpu_"):
        return
    addresses = [each.strip() for each in text.split(",") if each.strip()]
    for address in addresses:
        try:
            kernels = pci.normalise_address(address)
        except exception.PciDeviceWrongAddressFormat as error:
            yield f"{option}: {error.faultstring} The agent does not start"
            continue
        if kernels != address:
            change = (
                "it is offered"
                if is_nic
                else "what was offered whole, as PGPU, becomes VGPU"
            )
            yield (
                f"{option}: {address} meant no card, and is {kernels} now, so "
                f"{change}"
            )
    if addresses and is_nic and group != _READ_BEFORE:
        yield (
            f"{option} was not read, and keeps from guests now what it does "
            "not list"
        )


def _unknown_rules() -> Iterator[str]:
    """Yield rules of the policy files that nobody asks for.

    :raises ConfigInvalid: the files cannot be read
    """
    policy.check()
    enforcer = policy.get_enforcer()
    written = enforcer.file_rules
    registered = enforcer.registered_rules
    old = {
        rule.deprecated_rule.name
        for rule in registered.values()
        if rule.deprecated_rule
    }
    used = {
        name
        for rule in written.values()
        for name in re.findall(r"rule:([^\s()]+)", str(rule.check))
    }
    yield from sorted(written.keys() - registered.keys() - used - old)


def _going(option: Any) -> str:
    reason = " ".join((option.deprecated_reason or "").split())
    return f"goes away. {reason}".rstrip(". ")
