# The serving side only: no torch, no gymnasium, no full mlflow. The bundled policies are inside.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# Each package is the file that deploy/requirements.txt names by its hash, whatever the index offers.
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY deploy/requirements.txt deploy/build-requirements.txt deploy/
COPY polserve polserve
COPY protos protos
COPY serving serving
COPY policies policies
# The secrets are optional: a pip.conf and certificates for a package index behind a private authority.
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    python -m venv /opt/polserve && python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r deploy/build-requirements.txt \
    && /opt/build/bin/python -c 'import hatchling.build; hatchling.build.build_wheel("/opt/build")' \
    && /opt/polserve/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r deploy/requirements.txt \
    && /opt/polserve/bin/pip install --no-cache-dir --no-index --no-deps /opt/build/polserve-*.whl \
    && /opt/polserve/bin/pip check \
    && /opt/polserve/bin/pip uninstall --yes pip setuptools

FROM ${BASE}
COPY --from=build /opt/polserve /opt/polserve
# A container's ports are reached by nobody until they are published, and often stand behind a proxy that has the
# certificate: so the image takes calls without TLS. POLSERVE_INSECURE=false makes it refuse to start without.
ENV PATH=/opt/polserve/bin:$PATH \
    POLSERVE_HOST=0.0.0.0 \
    POLSERVE_INSECURE=true \
    POLSERVE_CACHE_DIR=/var/cache/polserve \
    MLFLOW_DISABLE_TELEMETRY=true \
    ORT_DISABLE_TELEMETRY=1 \
    HOME=/tmp
RUN mkdir -p /var/cache/polserve && chown 65532:65532 /var/cache/polserve
# Writable also under --read-only: versions from a registry are kept here.
VOLUME /var/cache/polserve
USER 65532:65532
EXPOSE 50051 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["python", "-m", "polserve.serving.http.healthcheck"]
ENTRYPOINT ["polserve"]
CMD ["serve"]
