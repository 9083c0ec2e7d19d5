# lib/hello.ex
FROM elixir:1.18 AS build
COPY --from=node:22-slim /usr/local/bin/ /usr/local/bin/
COPY --from=node:22-slim /usr/local/lib/node_modules/ /usr/local/lib/node_modules/
COPY --from=node:22-slim /opt/ /opt/
ENV MIX_ENV=prod ERL_ZFLAGS="+Q 65536"
WORKDIR /src
COPY mix.exs ./
RUN mix deps.get --only prod && mix deps.compile
COPY assets/package.json assets/package-lock.json assets/
RUN npm ci --prefix assets
COPY . .
RUN mix assets.deploy && mix release --path /app

FROM debian:trixie-slim
RUN apt-get update && apt-get install -y --no-install-recommends libncurses6 libstdc++6 openssl
COPY --from=build /app /app
CMD ["/app/bin/hello", "start"]
