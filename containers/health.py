"""Exit status 0 when this container's service answers. Runs without site-packages: it is started often."""

import http.client
import os
import sys

connection = http.client.HTTPConnection("127.0.0.1", int(os.environ["STOKER_LISTEN_PORT"]), timeout=4)
connection.request("GET", "/health/live")
sys.exit(connection.getresponse().status != http.HTTPStatus.OK)
