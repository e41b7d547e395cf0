# esad in a slim image, as its own user. Any base with Python 3.11 or newer will do; torch's wheel brings CUDA with
# it, so the base needs none:
#   docker build -t esad --build-arg REVISION=$(git rev-parse HEAD) .
#   docker run --rm --gpus all --shm-size 2g -v "$PWD/archive:/data:ro" -v "$PWD/runs:/runs" esad train /runs/store --out /runs/run
# Other package sources: --build-arg PIP_FIND_LINKS=…, PIP_INDEX_URL=… (any PIP_* below). `make image-check` tries it.
ARG BASE=python:3.11-slim

FROM ${BASE} AS build
ARG PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_CERT PIP_DEFAULT_TIMEOUT
ARG EXTRAS=staintools,export,mlflow
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
RUN python3 -m venv /opt/esad
# Dependencies first: a change of the code alone builds in seconds where the engine keeps layers.
COPY pyproject.toml constraints.txt ./
RUN EXTRAS="${EXTRAS}" python3 -c 'import os, tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
print(*p["dependencies"], *(r for e in os.environ["EXTRAS"].split(",") if e for r in p["optional-dependencies"][e]), sep="\n")' \
    > requirements.txt \
 && /opt/esad/bin/pip install -c constraints.txt -r requirements.txt "setuptools>=77" \
 && /opt/esad/bin/pip install --no-deps -c constraints.txt staintools \
 && rm -rf /opt/esad/lib/python3*/site-packages/tests
COPY README.md LICENSE NOTICE deploy/licences.py ./
COPY data_manifests data_manifests
COPY preprocessing preprocessing
COPY models models
COPY pipeline pipeline
COPY src src
RUN /opt/esad/bin/pip install --no-deps --no-build-isolation .
# What the image holds, and under which licences; spams-bin is of the extra `staintools` (NOTICE).
RUN /opt/esad/bin/python licences.py --out /opt/esad/licences.csv --but spams-bin \
 && python3 -m venv /opt/tools && /opt/tools/bin/pip install "cyclonedx-bom>=7.5" \
 && /opt/tools/bin/cyclonedx-py environment --output-reproducible --output-file /opt/esad/sbom.cdx.json /opt/esad/bin/python

FROM ${BASE}
ARG REVISION=unknown
COPY --from=build /opt/esad /opt/esad
# The caches and LOGNAME serve `--user`: any other number than 1000 has no home and no name in the image.
ENV PATH=/opt/esad/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOME=/home/esad LOGNAME=esad \
    NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib TORCHINDUCTOR_CACHE_DIR=/tmp/inductor \
    ESAD_REVISION=${REVISION}
RUN groupadd --gid 1000 esad && useradd --uid 1000 --gid esad --create-home esad \
 && mkdir -p /data /runs && chown esad:esad /data /runs
USER esad
WORKDIR /runs
ENTRYPOINT ["esad"]
CMD ["--help"]
