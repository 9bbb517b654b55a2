# dalcli in a container. Build and use: docs/docker.md. No package index is named here: all of them are arguments.
ARG BASE_IMAGE=python:3.12-slim
FROM ${BASE_IMAGE}

# The index for everything; empty: pip's own default. Not for credentials: arguments stay in the image's history.
ARG PIP_INDEX_URL=""
# The index for torch and torchvision: this chooses between CPU and CUDA wheels. Empty: the index above.
ARG TORCH_INDEX_URL=""

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=1

# Root only builds: the program belongs to root and runs as somebody who cannot change it.
RUN useradd --uid 1000 --create-home dalcli \
    && install --directory --owner=dalcli --group=dalcli /workspace

# What changes least and weighs most comes first: torch, then the other dependencies, then our own code.
WORKDIR /src
COPY pyproject.toml ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt
RUN grep '^torch' requirements.txt > torch.txt \
    && python -m pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} --requirement torch.txt
RUN python -m pip install --requirement requirements.txt

COPY README.md LICENSE ./
COPY dalcli ./dalcli
RUN python -m pip install --no-deps . \
    && python -m pip check \
    && python -c "import torch, torchvision; print('torch', torch.__version__, 'for', torch.version.cuda or 'CPU')" \
    && dalcli --version

USER 1000:1000
# Weights that torchvision downloads stay with the workspace instead of vanishing with the container.
ENV TORCH_HOME=/workspace/.cache/torch
WORKDIR /workspace
VOLUME /workspace

# Commands run and end; there is no service to ask, so no HEALTHCHECK: the exit status says how it went.
ENTRYPOINT ["dalcli"]
CMD ["--help"]
