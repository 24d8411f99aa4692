# Simpleton, its engine and an embedding model in one image, run by an unprivileged user.
#
#   docker build -t simpleton .
#   docker run --name simpleton -p 127.0.0.1:8000:8000 -v simpleton:/data simpleton
#   docker exec simpleton cat /data/api-key              prints the generated API key
#
# The first four stages build with the same scripts as "make run"; only the last one is published.

FROM debian:bookworm-slim AS engine
WORKDIR /src
COPY scripts/common.sh scripts/packages.sh scripts/engine.sh scripts/
RUN scripts/packages.sh engine && rm -rf /var/lib/apt/lists/*
COPY scripts/requirements scripts/requirements
# PORTABLE: build for any machine (on x86-64, any with AVX2), not only this one.
RUN PORTABLE=1 DATA_DIR=/built XDG_CACHE_HOME=/cache scripts/engine.sh

FROM debian:bookworm-slim AS dashboard
WORKDIR /src
COPY scripts/common.sh scripts/packages.sh scripts/dashboard.sh scripts/
RUN scripts/packages.sh dashboard && rm -rf /var/lib/apt/lists/*
COPY dashboard dashboard
RUN XDG_CACHE_HOME=/cache scripts/dashboard.sh

FROM rust:1.95-slim-bookworm AS program
WORKDIR /src
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
COPY . .
COPY --from=dashboard /src/dashboard/dist dashboard/dist
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    scripts/release.sh build && cp target/release/simpleton /usr/local/bin/simpleton

FROM debian:bookworm-slim AS embedding
WORKDIR /src
COPY scripts/common.sh scripts/packages.sh scripts/embedding-model.sh scripts/convert_minilm.py scripts/
RUN scripts/packages.sh embedding && rm -rf /var/lib/apt/lists/*
COPY scripts/requirements scripts/requirements
RUN DATA_DIR=/built scripts/embedding-model.sh --convert-only
COPY --from=program /usr/local/bin/simpleton /usr/local/bin/simpleton
RUN DATA_DIR=/built SIMPLETON=/usr/local/bin/simpleton scripts/embedding-model.sh

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libstdc++6 libgcc-s1 tesseract-ocr \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin simpleton \
    && install -d -o simpleton -g simpleton -m 0700 /data
COPY --from=engine /built/engine/llama-server /usr/local/bin/llama-server
COPY --from=engine /built/engine/LICENSE.llama.cpp LICENSE /usr/share/doc/simpleton/
COPY --from=program /usr/local/bin/simpleton /usr/local/bin/simpleton
# A new volume starts as a copy of this directory; a mounted host directory starts empty, without the model.
COPY --from=embedding --chown=simpleton:simpleton /built/models /data/models

ENV HOST=0.0.0.0 \
    PORT=8000 \
    DATA_DIR=/data \
    LLAMA_SERVER=/usr/local/bin/llama-server
USER simpleton
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# Unhealthy while prompts cannot be answered. If you restart unhealthy containers, use /health/live instead.
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s --retries=3 CMD ["simpleton", "health"]
ENTRYPOINT ["simpleton"]
CMD ["serve"]
