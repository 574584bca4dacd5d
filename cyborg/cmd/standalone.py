"""cyborg-standalone: everything in one process, to try Cyborg out."""

import argparse
import os
import pathlib
import sys
from typing import Any

from cyborg.common import exception
from cyborg.common import service

_EXTRA = (
    "cyborg-standalone needs openstack-placement: "
    "pip install 'openstack-cyborg[standalone]'"
)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="cyborg-standalone",
        description="Run Cyborg's API, conductor and agent, with the fake "
        "driver, and a real Placement in one process. No Keystone: everyone "
        "on this machine is an administrator.",
    )
    parser.add_argument(
        "--state-dir",
        type=pathlib.Path,
        default=pathlib.Path(".state"),
        help="where the databases are kept (default: .state)",
    )
    parser.add_argument(
        "--port",
        type=int,
        help="port of the API on 127.0.0.1 (default: 6666; with --demo a "
        "free one)",
    )
    parser.add_argument(
        "--demo",
        action="store_true",
        help="walk the main job, tell each step, and end",
    )
    parser.add_argument(
        "--version",
        action="version",
        version=service.Version().version_string_with_package(),
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Serve until stopped, or walk the main job."""
    arguments = _arguments(argv)
    try:
        from cyborg.standalone import cloud as cloud_module
        from cyborg.standalone import http
    except ImportError as error:
        if error.name in ("placement", "openstack"):
            print(_EXTRA, file=sys.stderr)
            return 1
        raise
    port = arguments.port
    if port is None:
        port = http.free_port() if arguments.demo else 6666
    # Its databases, log and settings are its user's.
    os.umask(0o077)
    cloud = cloud_module.Cloud(arguments.state_dir.resolve(), port)
    try:
        if arguments.demo:
            return _demo(cloud)
        return service.serve(lambda: _start(cloud), cloud.stop)
    except exception.CyborgException as error:
        print(f"cyborg-standalone: {error.faultstring}", file=sys.stderr)
        cloud.stop()
        return 1


def _demo(cloud: Any) -> int:
    from cyborg.standalone import demo

    print("Starting Placement, the conductor, the agent and the API ...")
    cloud.start()
    try:
        return 0 if demo.Demo(cloud).run() else 1
    finally:
        cloud.stop()


def _start(cloud: Any) -> None:
    cloud.start()
    print(f"Cyborg serves {cloud.endpoint}, Placement {cloud.placement_url}")
    print("Its state and log are in", cloud.state)
    print("Try, in another terminal:")
    print(
        "  openstack --os-auth-type none --os-endpoint "
        f"{cloud.endpoint} accelerator device list"
    )
    print("Ctrl-C stops it.", flush=True)


if __name__ == "__main__":
    sys.exit(main())
