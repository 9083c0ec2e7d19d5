# start.sh
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends socat
WORKDIR /app
COPY . .
USER 1000
CMD ["bash", "start.sh"]
