import warnings

# oslo.service depends on eventlet, and so futurist imports it; nothing here
# uses it, and a warning about it would only puzzle who starts a service.
warnings.filterwarnings("ignore", message=r"\s*Eventlet is deprecated")

from oslo_service import backend  # noqa: E402

backend.init_backend(backend.BackendType.THREADING)
