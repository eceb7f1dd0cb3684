# One image for every service: `python -m scheduler`, `python -m workers --pool NAME`, `python -m gateway`, `python -m ledger`
# The broker is not in it: production takes the official NATS image (compose.yaml).
#
# The base is pinned by tag. Pin it by digest in your own registry: `docker buildx imagetools inspect
# python:3.13-slim-bookworm` prints the digest of today; append it to the tag as @sha256:…
FROM python:3.13-slim-bookworm AS build

WORKDIR /src
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
COPY pyproject.toml requirements.lock ./

# What the services need, nothing of the tools and tests; every file's hash is in the lock.
RUN python -m venv --without-pip /opt/penstock \
 && python -m pip --python /opt/penstock/bin/python install --require-hashes --only-binary :all: \
    --constraint requirements.lock --group scheduler --group workers --group gateway --group ledger --group console \
    --group simulator --group tracing

# The published packages as a wheel, so that the image knows the version it runs.
RUN python -m pip install --require-hashes --only-binary :all: --constraint requirements.lock hatchling
COPY README.md CHANGELOG.md LICENSE ./
COPY job_contracts job_contracts
COPY producer_sdk producer_sdk
RUN python -m pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /tmp/wheels . \
 && python -m pip --python /opt/penstock/bin/python install --no-deps --no-index /tmp/wheels/*.whl


FROM python:3.13-slim-bookworm

LABEL org.opencontainers.image.title="Penstock" \
      org.opencontainers.image.description="A message-queue-driven gateway to language models" \
      org.opencontainers.image.licenses="Apache-2.0"

# Owned by the user below, so that named volumes mounted here are writable for it; nothing else in the image is.
RUN install -d -m 0700 -o 65532 -g 65532 /keys /ledger-keys /data /data-2 /data-3 /ledger /metrics

WORKDIR /app
COPY --from=build /opt/penstock /opt/penstock
COPY LICENSE ./
COPY catalogue catalogue
COPY runtime runtime
COPY scheduler scheduler
COPY workers workers
COPY gateway gateway
COPY console console
COPY ledger ledger
COPY migrations migrations
COPY simulator simulator
COPY appliance appliance
RUN python -m compileall -q /app /opt/penstock

ENV PATH=/opt/penstock/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
STOPSIGNAL SIGTERM
CMD ["python", "-m", "appliance", "--help"]
