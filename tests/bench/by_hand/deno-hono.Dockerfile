# main.ts
FROM denoland/deno:2.9.6
WORKDIR /app
COPY deno.json deno.lock ./
RUN deno install --frozen
COPY . .
RUN deno cache main.ts && deno task build
CMD ["deno", "task", "start"]
