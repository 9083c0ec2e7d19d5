# src/index.ts
FROM oven/bun:1-slim AS production
WORKDIR /app
COPY package.json bun.lock ./
RUN bun install --frozen-lockfile --production

FROM oven/bun:1-slim AS build
WORKDIR /app
COPY package.json bun.lock ./
RUN bun install --frozen-lockfile
COPY . .
RUN bun run build && rm -rf node_modules

FROM oven/bun:1-slim
WORKDIR /app
COPY --from=production /app/node_modules ./node_modules
COPY --from=build /app .
USER 1000
CMD ["bun", "src/index.ts"]
