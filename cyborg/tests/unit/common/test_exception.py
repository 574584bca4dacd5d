"""Errors: their texts, their codes, and their way over RPC."""

import inspect
import string
import sys

from oslo_messaging._drivers import common as driver_common
import pytest

from cyborg.common import exception


def _all() -> list[type[exception.CyborgException]]:
    return [
        member
        for _name, member in inspect.getmembers(exception, inspect.isclass)
        if issubclass(member, exception.CyborgException)
    ]


def _names(template: str) -> dict[str, str]:
    """Return a value for each name in a template."""
    names = [part.split(")")[0] for part in template.split("%(")[1:]]
    return dict(zip(names, string.ascii_lowercase, strict=False))


@pytest.mark.parametrize("kind", _all())
def test_every_error_has_a_text_of_its_own(
    kind: type[exception.CyborgException],
) -> None:
    error = kind(**_names(str(kind.template)))
    assert "%(" not in error.faultstring
    assert error.faultstring
    assert 400 <= kind.code <= 599


def test_a_template_without_its_values_is_an_error() -> None:
    with pytest.raises(KeyError):
        exception.DeviceNotFound()


def test_an_error_crosses_rpc_as_itself() -> None:
    sent = exception.NoFreeHandle(rp_uuid="rp", wanted=2, free=1)
    try:
        raise sent
    except exception.NoFreeHandle:
        text = driver_common.serialize_remote_exception(sys.exc_info())
    got = driver_common.deserialize_remote_exception(
        text, ["cyborg.common.exception"]
    )
    assert isinstance(got, exception.NoFreeHandle)
    assert got.code == sent.code
    assert got.faultstring == sent.faultstring
    assert "Traceback" not in got.faultstring
