"""Checks documents against JSON Schema, and says what is wrong with them."""

from collections.abc import Mapping
import functools
import itertools
from typing import Any

import fastjsonschema
import jsonschema
from jsonschema import exceptions

from cyborg.api import text
from cyborg.api import versions
from cyborg.common import exception
from cyborg.common.i18n import _

Schema = dict[str, Any]
# The schema that holds from each microversion on.
Schemas = Mapping[versions.Version, Schema]

# A body may be wrong thousands of times; the worst of the first will do.
_MOST_ERRORS = 100

_FORMATS = jsonschema.FormatChecker(formats=())


@_FORMATS.checks("uuid")
def _is_uuid(value: Any) -> bool:
    return not isinstance(value, str) or text.canonical_uuid(value) is not None


class Rules:
    """A schema, ready to hold documents against.

    Most documents are valid. Compiled code says so in a tenth of the time
    that it takes to find what is wrong with the others.
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    @functools.cached_property
    def _compiled(self) -> Any:
        return fastjsonschema.compile(
            self.schema, formats={"uuid": _is_uuid}, use_default=False
        )

    @functools.cached_property
    def _explaining(self) -> Any:
        return jsonschema.Draft202012Validator(
            self.schema, format_checker=_FORMATS
        )

    def hold(self, document: Any) -> bool:
        """Tell whether ``document`` is valid."""
        try:
            self._compiled(document)
        except fastjsonschema.JsonSchemaException:
            return False
        return True

    def broken_by(self, document: Any) -> exceptions.ValidationError | None:
        """Return what is wrong with ``document``, None if nothing is."""
        errors = self._explaining.iter_errors(document)
        return exceptions.best_match(itertools.islice(errors, _MOST_ERRORS))


class Validator:
    """Checks documents of one kind, by microversion.

    :param name: what error messages call the document
    """

    def __init__(self, name: str, schemas: Schemas) -> None:
        self.schemas = schemas
        self._name = name
        self._rules = [
            (version, Rules(schema))
            for version, schema in sorted(schemas.items(), reverse=True)
        ]

    def rules(self, version: versions.Version) -> Rules | None:
        """Return what holds at a version, None if nothing does."""
        for since, rules in self._rules:
            if since <= version:
                return rules
        return None

    def schema(self, version: versions.Version) -> Schema | None:
        """Return the schema that holds at a version, None if none does."""
        rules = self.rules(version)
        return None if rules is None else rules.schema

    def check(self, document: Any, version: versions.Version) -> None:
        """Pass if ``document`` is valid.

        :param version: one for which there is a schema
        :raises Invalid: naming the member and the rule it breaks
        """
        rules = self.rules(version)
        assert rules is not None
        if rules.hold(document):
            return
        error = rules.broken_by(document)
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
        # It quotes what the client sent.
        return f"{where}: {text.short(error.message)}"
