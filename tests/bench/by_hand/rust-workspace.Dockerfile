# crates/greeting/src/lib.rs
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/site /site

FROM debian:bookworm-slim
COPY --from=build /site /site
USER 1000
CMD ["/site"]
