"""cyborg-conductor: the only writer of Cyborg's state."""

import sys

from oslo_config import cfg

from cyborg.common import constants
from cyborg.common import service
from cyborg.conductor import manager
from cyborg.conductor import rpcapi

CONF = cfg.CONF


def main() -> int:
    """Run a conductor until it is told to stop."""
    service.prepare()
    daemon = service.Service(
        manager.ConductorManager(),
        constants.CONDUCTOR_TOPIC,
        [CONF.host],
        rpcapi.VERSION,
    )
    return service.serve(daemon.start, daemon.stop)


if __name__ == "__main__":
    sys.exit(main())
