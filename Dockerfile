# The command line, the fleet page and the tests; on a host the agent is a systemd service (see systemd/).
FROM python:3.12-slim-bookworm

RUN apt-get update \
    && apt-get install --no-install-recommends -y bird2 iproute2 \
    && rm -rf /var/lib/apt/lists/*

COPY requirements.txt /opt/confsync/
RUN pip install --no-cache-dir --require-hashes --only-binary :all: -r /opt/confsync/requirements.txt

COPY LICENSE /opt/confsync/
COPY confsync /opt/confsync/confsync
ENV PYTHONPATH=/opt/confsync
RUN python -m compileall -q /opt/confsync/confsync \
    && printf '#!/bin/sh\nexec python -m confsync "$@"\n' >/usr/local/bin/confsync \
    && chmod 0755 /usr/local/bin/confsync

ENTRYPOINT ["confsync"]
