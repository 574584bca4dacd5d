"""Errors as clients see them."""

from cyborg.api import versions
from cyborg.api.types import base


class Fault(base.Part):
    """What went wrong."""

    _from_dict = True

    faultcode = base.member(
        base.Choice("Client", "Server"), "Whose mistake it is."
    )
    faultstring = base.member(base.TEXT, "What is wrong.")
    debuginfo = base.member(
        base.Scalar("null", type(None), type="null"), "Nothing."
    )


_FAULT = base.schema(Fault)
ERRORS: base.Schemas = {
    versions.BASE: {
        "title": "Error-2.0",
        "description": "error_message is JSON text.",
        **base.closed(
            {
                "error_message": {
                    **base.JSON_TEXT.schema,
                    "contentSchema": _FAULT,
                }
            }
        ),
    },
    versions.STRICT: {
        "title": "Error",
        "description": "error_message is an object.",
        **base.closed({"error_message": _FAULT}),
    },
}
# From the filter that checks tokens, which is Keystone's.
UNAUTHORIZED: base.Schema = {
    "title": "Unauthorized",
    **base.closed(
        {
            "error": base.closed(
                {
                    "code": {"const": 401},
                    "title": base.TEXT.schema,
                    "message": base.TEXT.schema,
                }
            )
        }
    ),
}
