"""Makes Pecan look at the signature of a handler only once.

Pecan asks ``pecan.util.getargspec`` for the arguments of the same functions
several times a request, which was 80 % of the time that it takes. The name is
private; where it is not what is expected, things stay as they are.
"""

import functools
import inspect

import pecan.core
import pecan.decorators
import pecan.rest
import pecan.routing
import pecan.util

# Each of them holds the name.
MODULES = (
    pecan.util,
    pecan.core,
    pecan.decorators,
    pecan.rest,
    pecan.routing,
)


def install() -> bool:
    """Cache signatures; returns whether they are cached now."""
    original = getattr(pecan.util, "getargspec", None)
    if isinstance(original, functools._lru_cache_wrapper):
        return True
    if not inspect.isfunction(original) or [
        *inspect.signature(original).parameters
    ] != ["method"]:
        return False
    cached = functools.lru_cache(maxsize=1024)(original)
    for module in MODULES:
        if getattr(module, "getargspec", None) is original:
            module.getargspec = cached
    return True
