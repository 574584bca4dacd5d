# What commands do first, for those who start a test with an import of its own.
import cyborg.cmd  # noqa: F401
