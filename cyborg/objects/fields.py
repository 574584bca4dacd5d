"""Field types that oslo.versionedobjects does not have."""

from oslo_versionedobjects import fields

# The API and the wire take this for a list of flat maps.
ListOfDictOfNullableStringsField = fields.ListOfDictOfNullableStringsField
