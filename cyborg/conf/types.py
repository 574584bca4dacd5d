"""Types of options that oslo.config has not."""

from typing import Any

from oslo_config import types


class Positive(types.Integer):
    """A number from 1 on; a smaller one stands for the default.

    OpenStack Cyborg had no limit for such options, and files with a 0 or a
    negative number, which had no use, are in the field.

    :param fallback: the option's default
    """

    def __init__(self, fallback: int | None) -> None:
        super().__init__()
        self.fallback = fallback

    def __call__(self, value: Any) -> Any:
        number: Any = super().__call__(value)
        if number is None or number >= 1:
            return number
        return self.fallback
