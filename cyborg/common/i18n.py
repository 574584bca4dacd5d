"""Marks texts that users read; logs stay untranslated."""

import oslo_i18n

_translators = oslo_i18n.TranslatorFactory(domain="cyborg")

_ = _translators.primary
