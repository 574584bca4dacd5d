"""What peers answer, read without trust in its shape."""

import json
from typing import Any

import requests

# Of a text that is no more than shown, in bytes; more is not even decoded.
_SHOWN = 2000

# A type or types, ``[shape]`` for a list, ``{str: shape}`` for an object with
# any members, or ``{"name": shape}`` for one that has these and maybe others.
# Members that may be missing are those that may be None.
Shape = Any


def read(response: requests.Response, shape: Shape) -> Any:
    """Return the JSON of an answer, which has ``shape``.

    :raises ValueError: it is something else; one line that says where
    """
    try:
        # requests would guess the encoding of garbage, for seconds.
        value = json.loads(response.content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:
        raise ValueError("it is not JSON") from error
    _check(value, shape, "it")
    return value


def _check(value: Any, shape: Shape, where: str) -> None:
    if isinstance(shape, list):
        _check_type(value, list, where)
        for index, item in enumerate(value):
            _check(item, shape[0], f"{where}[{index}]")
    elif isinstance(shape, dict):
        _check_type(value, dict, where)
        for name, inner in shape.items():
            for key in value if name is str else (name,):
                _check(value.get(key), inner, f"{where}.{key}"[:200])
    else:
        _check_type(value, shape, where)


def _check_type(value: Any, wanted: Any, where: str) -> None:
    # To Python, but not to JSON, true is a number.
    if isinstance(value, bool) or not isinstance(value, wanted):
        name = getattr(wanted, "__name__", wanted)
        raise ValueError(
            f"{where} has to be {name}, and is {type(value).__name__}"
        )


def text(response: requests.Response) -> str:
    """Return in one short line what an answer that is no good says."""
    try:
        data = response.content[:_SHOWN]
    except (requests.RequestException, RuntimeError):
        # It broke off, or was read as a stream.
        return ""
    return " ".join(data.decode(errors="replace").split())[:500]
