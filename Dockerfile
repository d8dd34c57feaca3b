# The suite on a CPU:
#   docker build -t ndi-bench . && docker run --rm -v "$PWD/results:/work/results" ndi-bench run --profile quick
FROM python:3.13-slim

# g++ compiles the learner's update where that is faster; EGL renders videos without a screen
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ libegl1 libgl1-mesa-dri \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu \
    PIP_NO_CACHE_DIR=1 \
    OMP_NUM_THREADS=1

# `nox -s wheel` runs these two in a fresh environment
WORKDIR /suite
COPY . .
RUN pip wheel --quiet --no-deps --wheel-dir dist .
RUN pip install --quiet dist/*.whl --constraint constraints.txt

WORKDIR /work
ENTRYPOINT ["ndi-bench"]
CMD ["run", "--profile", "smoke"]
