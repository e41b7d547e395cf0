# esad in a slim image, as its own user. Any Python base will do; torch's wheel brings CUDA with it, so the base
# needs none:
#   docker build -t esad --build-arg REVISION=$(git rev-parse HEAD) .
#   docker run --rm --gpus all --shm-size 2g -v $PWD/archive:/data:ro -v $PWD/runs:/runs esad tile /data/slides --out /runs/store
# Other package sources: --build-arg PIP_FIND_LINKS=…, PIP_INDEX_URL=… (any PIP_* below).
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_CERT PIP_DEFAULT_TIMEOUT
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv /opt/esad
COPY pyproject.toml constraints.txt README.md ./
COPY data_manifests data_manifests
COPY preprocessing preprocessing
COPY models models
COPY pipeline pipeline
RUN /opt/esad/bin/pip install -c constraints.txt ".[staintools]" \
 && /opt/esad/bin/pip install --no-deps -c constraints.txt staintools \
 && rm -rf /opt/esad/lib/python3*/site-packages/tests

FROM ${BASE}
ARG REVISION=unknown
COPY --from=build /opt/esad /opt/esad
ENV PATH=/opt/esad/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/home/esad \
    NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib ESAD_REVISION=${REVISION}
RUN groupadd --gid 1000 esad && useradd --uid 1000 --gid esad --create-home esad \
 && mkdir -p /data /runs && chown esad:esad /data /runs
USER esad
WORKDIR /runs
VOLUME ["/data", "/runs"]
ENTRYPOINT ["esad"]
CMD ["--help"]
