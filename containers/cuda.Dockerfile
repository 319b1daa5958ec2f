# diffusionblend on an NVIDIA GPU: docker build -f containers/cuda.Dockerfile -t diffusionblend:cuda .
# PyTorch's wheels bring CUDA; the host needs its driver and the NVIDIA container toolkit alone.
# Triton compiles a small C file on first use, hence the compiler.
FROM python:3.11-slim
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib DIFFUSIONBLEND_CACHE=/tmp/diffusionblend \
    TRITON_CACHE_DIR=/tmp/triton NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN pip install torch==2.13.0
COPY pyproject.toml constraints.txt README.md LICENSE /source/
COPY src /source/src
RUN pip install --constraint /source/constraints.txt /source && rm -r /source
WORKDIR /work
ENTRYPOINT ["diffusionblend"]
CMD ["--help"]
