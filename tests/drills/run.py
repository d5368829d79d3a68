"""Runs drills and prints what they saw: `python -m tests.drills.run [NAME ...]`.

All but the soak, if none is named. Needs Linux with GStreamer's RTSP server and its Python binding
(gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-good, -bad and -ugly), mosquitto and
Ray.
"""

from __future__ import annotations

import argparse
import sys

from . import drills
from .scene import scene

ALL = {
    drill.__name__: drill
    for drill in (
        drills.worker_killed,
        drills.worker_stopped,
        drills.camera_stalled,
        drills.camera_absent,
        drills.kinds_of_cameras,
        drills.reconnects,
        drills.node_lost,
        drills.broker_down,
        drills.disk_full,
        drills.state_damaged,
        drills.stopped_with_viewers,
        drills.slow_viewers,
        drills.latency,
        drills.soak,
    )
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *ALL], metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--minutes", type=float, default=30, help="of the soak")
    given = parser.parse_args()
    failed = 0
    for name in given.names or [name for name in ALL if name != "soak"]:
        with scene() as stage:
            more = {"minutes": given.minutes} if name == "soak" else {}
            said, good = ALL[name](stage, **more)
        failed += not good
        print(f"{'pass' if good else 'FAIL'}  {name}: {said}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
