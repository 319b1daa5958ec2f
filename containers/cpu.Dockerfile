# diffusionblend on a CPU: docker build -f containers/cpu.Dockerfile -t diffusionblend:cpu .
FROM python:3.11-slim
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore \
    NUMBA_CACHE_DIR=/tmp/numba MPLCONFIGDIR=/tmp/matplotlib DIFFUSIONBLEND_CACHE=/tmp/diffusionblend
RUN pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
COPY pyproject.toml constraints.txt README.md LICENSE /source/
COPY src /source/src
RUN pip install --constraint /source/constraints.txt /source && rm -r /source
WORKDIR /work
ENTRYPOINT ["diffusionblend"]
CMD ["--help"]
