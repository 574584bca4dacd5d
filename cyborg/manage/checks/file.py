"""Are the files that operators write those of this release?"""

from collections.abc import Iterator
from importlib import metadata
import pathlib
from typing import Any

from oslo_config import cfg
from oslo_upgradecheck import common_checks

from cyborg import conf
from cyborg.manage.checks import base

CONF = conf.CONF

# Cyborg's own, whatever a library says that registers them, too.
_OWN = ("ssl",)
# Whose options Cyborg's configuration files hold.
_NAMESPACES = ("cyborg", "keystonemiddleware.", "oslo.", "osprofiler")


class FileChecks(base.Checks):
    """Look at configuration and policy."""

    def policy_file(self) -> base.Result:
        """Is the policy file YAML?"""
        return common_checks.check_policy_json(self, CONF)

    def options(self) -> base.Result:
        """Are options in use that have other names now, or go away?"""
        try:
            found = list(_old_options())
        except (cfg.Error, OSError) as error:
            return base.Result(base.Code.WARNING, f"Not checked: {error}")
        if not found:
            return base.Result(base.Code.SUCCESS)
        return base.Result(base.Code.WARNING, "; ".join(found))


def _config_files() -> list[str]:
    """Return the files that were read, in their order."""
    files = [str(name) for name in CONF.config_file or ()]
    for directory in CONF.config_dir or ():
        files += sorted(map(str, pathlib.Path(directory).glob("*.conf")))
    return files


def _old_options() -> Iterator[str]:
    """Yield what to change in the configuration files."""
    # (group, name): what to do about it
    advice: dict[tuple[str, str], str] = {}
    current: set[tuple[str, str]] = set()
    for entry in metadata.entry_points(group="oslo.config.opts"):
        if not entry.name.startswith(_NAMESPACES):
            continue
        for listed, options in entry.load()():
            group = str(listed or "DEFAULT")
            if group in _OWN:
                continue
            for option in options:
                current.add((group, option.dest))
                new = f"[{group}] {option.dest}"
                if option.deprecated_for_removal:
                    advice[group, option.dest] = _going(option)
                for old in option.deprecated_opts:
                    name = (old.name or option.dest).replace("-", "_")
                    advice[old.group or group, name] = (
                        _going(option)
                        if option.deprecated_for_removal
                        else f"is {new} now"
                    )
    for path in _config_files():
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(path, sections).parse()
        for group, values in sections.items():
            for name in values:
                key = (group, name.replace("-", "_"))
                if key in advice and (
                    key not in current or "goes" in advice[key]
                ):
                    yield f"[{group}] {name} in {path} {advice[key]}"


def _going(option: Any) -> str:
    reason = " ".join((option.deprecated_reason or "").split())
    return f"goes away. {reason}".rstrip(". ")
