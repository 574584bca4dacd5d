"""``cyborg.wsgi.api:application``, for WSGI servers.

Some of them run the file itself, and nothing of the package before.
"""

from cyborg import wsgi  # noqa: F401
from cyborg.api import wsgi_app

application = wsgi_app.init_application()
