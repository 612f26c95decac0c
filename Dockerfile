# The image of bids_tract. To build and test it: .ci/container; to use it: README.md.
# There is no "# syntax=" line: BuildKit would fetch its front end, which fails without a network.
ARG BASE_IMAGE=docker.io/library/python:3.13.14-slim-trixie@sha256:9662417aace5ae7b8e2609cce472b72a8958e134ba372808abe9cc1a0c0125e6

FROM ${BASE_IMAGE} AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /build
# The lock is made by: uv pip compile --universal --python-version 3.13 \
#     --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.lock
COPY requirements.lock ./
# "ca" is an optional secret: the certificates of a network that re-signs TLS. It enters no layer.
# What is dead weight in an image is deleted in the layer that brings it: the packages' own tests,
# headers, type stubs, and the data of dipy's examples.
RUN --mount=type=cache,target=/root/.cache \
    --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    if [ -s /run/secrets/ca.pem ]; then export PIP_CERT=/run/secrets/ca.pem SSL_CERT_FILE=/run/secrets/ca.pem; fi; \
    python3 -m venv /build/uv; \
    /build/uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.8; \
    python3 -m venv --without-pip /opt/venv; \
    /build/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --require-hashes -r requirements.lock; \
    find /opt/venv/lib -depth -type d -name tests -exec rm -rf {} +; \
    find /opt/venv/lib -type f \( -name '*.pyi' -o -name '*.pxd' -o -name '*.h' -o -name '*.hpp' -o -name '*.a' \) -delete
COPY pyproject.toml README.md LICENSE ./
COPY bids_tract ./bids_tract
# What the program calls itself, and what the image is labelled with.
ARG VERSION=0+unknown
RUN --mount=type=cache,target=/root/.cache \
    --mount=type=secret,id=ca,target=/run/secrets/ca.pem \
    if [ -s /run/secrets/ca.pem ]; then export PIP_CERT=/run/secrets/ca.pem SSL_CERT_FILE=/run/secrets/ca.pem; fi; \
    if [ "$VERSION" != 0+unknown ]; then echo "__version__ = \"$VERSION\"" >> bids_tract/__init__.py; fi; \
    /build/uv/bin/uv pip install --quiet --python /opt/venv/bin/python --no-deps .; \
    /build/uv/bin/uv pip check --quiet --python /opt/venv/bin/python; \
    /opt/venv/bin/bids_tract --version | cut -d ' ' -f 2 > /opt/venv/version
# For all CPUs of its kind, in a folder that runs copy: see bids_tract/tools/compiled.py.
RUN /opt/venv/bin/bids_tract_tools compile --portable --cache /opt/kernels

# hadolint ignore=DL3006
FROM ${BASE_IMAGE}
# As process 1 it hands signals on, and reaps.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/kernels /opt/kernels
# The home and the work folder are everybody's: images are run with any UID.
# Nothing lies in /root, which users of Apptainer cannot read.
RUN install -d -m 1777 /home/bids_tract /work \
    && install -m 644 /opt/venv/version /version
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/home/bids_tract \
    LANG=C.UTF-8 \
    PYTHONNOUSERSITE=1 \
    PYTHONUNBUFFERED=1 \
    NO_ET=1 \
    NIPYPE_NO_ET=1 \
    MPLBACKEND=Agg \
    BIDS_TRACT_KERNELS=/opt/kernels
WORKDIR /work
ENTRYPOINT ["/usr/bin/tini", "-g", "--", "/opt/venv/bin/bids_tract"]
# At the end, since they change with every build.
ARG VERSION=0+unknown
ARG REVISION=unknown
ARG CREATED=unknown
ENV BIDS_TRACT_IMAGE=bids_tract:${VERSION}
LABEL org.opencontainers.image.title="bids_tract" \
      org.opencontainers.image.description="BIDS app: tractograms from diffusion MRI" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
