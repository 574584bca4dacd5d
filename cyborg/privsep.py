"""The privsep contexts; operators' sudoers files name this path.

``sys_admin_pctxt`` runs the vendors' tools, ``sysfs_pctxt`` only writes to
kernel files that belong to root, and ``proc_pctxt`` only reads what processes
have open. Packagers configure the first, so the others take their helper
command, user and group from there unless they have their own.
"""

from typing import Any

from oslo_config import cfg
from oslo_privsep import capabilities
from oslo_privsep import priv_context

_SYS_ADMIN = "cyborg_sys_admin"
_SYSFS = "cyborg_sysfs"
_PROC = "cyborg_proc"
_INHERITED = ("helper_command", "user", "group")


class _Section:
    """The options of a section, some of them another's where not set."""

    def __init__(self, own: Any, other: Any) -> None:
        self._own = own
        self._other = other

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._own, name)
        if value is None and name in _INHERITED:
            return getattr(self._other, name)
        return value


class _InheritingContext(priv_context.PrivContext):
    """A context configured like the system administrator's."""

    @property
    def conf(self) -> Any:
        return _Section(super().conf, cfg.CONF[_SYS_ADMIN])


sys_admin_pctxt = priv_context.PrivContext(
    "cyborg",
    cfg_section=_SYS_ADMIN,
    pypath=f"{__name__}.sys_admin_pctxt",
    capabilities=[
        capabilities.CAP_CHOWN,
        capabilities.CAP_DAC_OVERRIDE,
        capabilities.CAP_DAC_READ_SEARCH,
        capabilities.CAP_FOWNER,
        capabilities.CAP_SYS_ADMIN,
    ],
)

sysfs_pctxt = _InheritingContext(
    "cyborg",
    cfg_section=_SYSFS,
    pypath=f"{__name__}.sysfs_pctxt",
    capabilities=[capabilities.CAP_DAC_OVERRIDE],
)

proc_pctxt = _InheritingContext(
    "cyborg",
    cfg_section=_PROC,
    pypath=f"{__name__}.proc_pctxt",
    capabilities=[
        capabilities.CAP_DAC_READ_SEARCH,
        capabilities.CAP_SYS_PTRACE,
    ],
)
