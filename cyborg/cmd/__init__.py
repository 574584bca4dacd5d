"""Entry points: parse options, start, return."""

import warnings

# Libraries look whether eventlet is in use by importing it, and it then warns
# whoever reads the terminal. No service of ours runs on it.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

from oslo_service import backend  # noqa: E402

backend.init_backend(backend.BackendType.THREADING)
