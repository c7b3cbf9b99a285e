# The images of Stoker. Targets:
#   service      a service that reaches nothing but HTTP, databases and Redis: SERVICE=registry
#   submit-host  a service that also reaches SLURM clusters: SERVICE=executor or poller
#   tools        the command line, migrations and first keys; for administrators, not for serving
# docker build --target service --build-arg SERVICE=registry --build-arg PORT=8701 .

FROM debian:bookworm-slim AS python
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/stoker/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1

# Nothing below this stage has pip, and nothing at all has a compiler: every dependency comes as a wheel.
FROM python AS venv
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv ca-certificates \
    && python3 -m venv /opt/stoker/venv
ENV PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all: PIP_DISABLE_PIP_VERSION_CHECK=1

# The classic builder builds every stage up to the wanted one: what needs no argument comes first.
FROM venv AS build-tools
COPY requirements/embedded.txt /build/
RUN pip install --quiet --require-hashes --requirement /build/embedded.txt
COPY pyproject.toml README.md LICENSE /build/
COPY services /build/services
COPY shared /build/shared
COPY stoker /build/stoker
COPY wheels /build/wheels
RUN pip install --quiet --no-deps --no-build-isolation /build /build/wheels/stoker-server && pip uninstall --quiet --yes pip setuptools

FROM python AS tools
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openssh-client \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY containers/users /build/
RUN /build/users && rm -r /build
COPY --from=build-tools /opt/stoker /opt/stoker
COPY containers/init /opt/stoker/init
USER stoker
ENTRYPOINT ["/opt/stoker/init/stoker"]

FROM venv AS build-service
ARG SERVICE
COPY requirements/$SERVICE.txt /build/
RUN pip install --quiet --require-hashes --requirement /build/$SERVICE.txt && pip uninstall --quiet --yes pip setuptools
# Of the public package all but the command line.
COPY stoker/*.py /build/packages/stoker/
COPY stoker/clients /build/packages/stoker/clients
COPY stoker/contracts /build/packages/stoker/contracts
COPY shared /build/packages/shared
COPY services/__init__.py /build/packages/services/
COPY services/$SERVICE /build/packages/services/$SERVICE
RUN python -m compileall -q /build/packages && cp -r /build/packages/. /opt/stoker/venv/lib/python3*/site-packages/
COPY containers/health /opt/stoker/

FROM python AS service
COPY containers/users /build/
# Programs that would make somebody else of their caller: nobody here needs one, but sudo on submit hosts.
RUN /build/users && rm -r /build && find / -xdev -perm /6000 -type f -exec chmod a-s {} +
COPY --from=build-service /opt/stoker /opt/stoker
ARG SERVICE
ARG PORT
ENV SERVICE=$SERVICE STOKER_LISTEN_HOST=0.0.0.0 STOKER_LISTEN_PORT=$PORT
EXPOSE $PORT
USER stoker
# Whether it answers, not whether all answers that it needs: nobody should restart a service because a database is away.
HEALTHCHECK --interval=5s --timeout=5s --retries=6 CMD ["python3", "-I", "-S", "/opt/stoker/health"]
ENTRYPOINT ["sh", "-c", "exec python -P -m services.$SERVICE \"$@\"", "stoker"]

# Task environments are made with the pip that python3-venv brings along, which is in no path.
FROM service AS submit-host
USER root
RUN apt-get update \
    && apt-get install --yes --no-install-recommends slurm-client sudo python3-venv \
    && apt-get clean && rm -rf /var/lib/apt/lists/*
COPY containers/sudoers /etc/sudoers.d/stoker
RUN chmod 440 /etc/sudoers.d/stoker && python -P -c "import sys; from shared.remote.bundle import agent_source; sys.stdout.buffer.write(agent_source())" \
        >/opt/stoker/agent.py \
    && visudo --check --quiet
USER stoker
