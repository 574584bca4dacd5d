"""The points at which a process may be made to die, read from the source."""

import functools
import pathlib
import re

import cyborg
from cyborg.common import constants

_CALL = re.compile(r'faults\.point\(\s*f?"([^"]+)"')
_KIND = "{job.kind}"


@functools.cache
def names() -> tuple[str, ...]:
    """Return all names that cyborg passes to ``faults.point()``."""
    package = pathlib.Path(cyborg.__file__).parent
    found = {
        name
        for path in package.rglob("*.py")
        if "tests" not in path.relative_to(package).parts
        for name in _CALL.findall(path.read_text(encoding="utf-8"))
    }
    return tuple(
        sorted(
            name.replace(_KIND, kind)
            for name in found
            for kind in (constants.JobKind if _KIND in name else [""])
        )
    )
