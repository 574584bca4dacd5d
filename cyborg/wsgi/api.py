"""``cyborg.wsgi.api:application``, for WSGI servers."""

from cyborg.api import wsgi_app

application = wsgi_app.init_application()
