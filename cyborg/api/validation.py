"""Checks documents against JSON Schema, and says what is wrong with them."""

from collections.abc import Mapping
from typing import Any

import jsonschema
from jsonschema import exceptions

from cyborg.api import text
from cyborg.api import versions
from cyborg.common import exception
from cyborg.common.i18n import _

Schema = Mapping[str, Any]
# The schema that holds from each microversion on.
Schemas = Mapping[versions.Version, Schema]

_FORMATS = jsonschema.FormatChecker(formats=())


@_FORMATS.checks("uuid")
def _is_uuid(value: Any) -> bool:
    return not isinstance(value, str) or text.canonical_uuid(value) is not None


class Validator:
    """Checks documents of one kind, by microversion.

    :param name: what error messages call the document
    """

    def __init__(self, name: str, schemas: Schemas) -> None:
        self.schemas = schemas
        self._name = name
        self._validators = [
            (
                version,
                jsonschema.Draft202012Validator(
                    schema, format_checker=_FORMATS
                ),
            )
            for version, schema in sorted(schemas.items(), reverse=True)
        ]
        # Most queries are empty, which need not be looked at each time.
        self._takes_nothing = {
            version
            for version, validator in self._validators
            if validator.is_valid({})
        }

    def schema(self, version: versions.Version) -> Schema | None:
        """Return the schema that holds at a version, None if none does."""
        since, validator = self._at(version)
        return None if since is None else validator.schema

    def _at(
        self, version: versions.Version
    ) -> tuple[versions.Version | None, Any]:
        for since, validator in self._validators:
            if since <= version:
                return since, validator
        return None, None

    def check(self, document: Any, version: versions.Version) -> None:
        """Pass if ``document`` is valid.

        :param version: one for which there is a schema
        :raises Invalid: naming the member and the rule it breaks
        """
        since, validator = self._at(version)
        assert since is not None
        if document == {} and since in self._takes_nothing:
            return
        error = exceptions.best_match(validator.iter_errors(document))
        if error is not None:
            raise exception.Invalid(self._describe(error))

    def _describe(self, error: exceptions.ValidationError) -> str:
        where = self._name + "".join(
            f"[{step}]" if isinstance(step, int) else f".{step}"
            for step in error.absolute_path
        )
        if (
            isinstance(error.schema, Mapping)
            and "errorMessage" in error.schema
        ):
            return _("%(where)s: %(rule)s") % {
                "where": where,
                "rule": error.schema["errorMessage"],
            }
        rule = error.message
        if len(rule) > 300:
            # It quotes what the client sent.
            rule = f"{rule[:140]} … {rule[-140:]}"
        return f"{where}: {rule}"
