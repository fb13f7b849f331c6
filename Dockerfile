# Gatelet as a small image that runs as nobody in particular.
#
#   docker build -t gatelet .
#   docker run --rm -p 127.0.0.1:8283:8283 -v gatelet:/data gatelet

FROM rust:1.95-slim-bookworm AS build
# The C compiler that the cryptography needs is part of this image.
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY config config
COPY migrations migrations
COPY src src
RUN cargo build --profile dist --locked

FROM debian:bookworm-slim
LABEL org.opencontainers.image.source="https://github.com/gatelet/gatelet" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.description="A mock of the Letta API with real client tokens, and the gateway that checks them"
# A fixed id, so that volumes keep their owner and orchestrators can demand a non-root user.
RUN useradd --uid 10001 --user-group --create-home --home-dir /data --shell /usr/sbin/nologin gatelet \
    && chmod 700 /data
COPY --from=build /build/target/dist/gatelet /usr/local/bin/gatelet
USER 10001:10001
# SQLite keeps its database, and the key that seals the signing keys, in the working directory.
WORKDIR /data
VOLUME /data
# Beyond loopback, because a container's loopback is its own. Publish the port no wider than you mean to.
ENV GATELET_LISTEN=0.0.0.0:8283
EXPOSE 8283
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["gatelet", "health", "--url", "http://127.0.0.1:8283"]
ENTRYPOINT ["gatelet"]
CMD ["serve"]
