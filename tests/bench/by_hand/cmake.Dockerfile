# greeting.cpp
FROM buildpack-deps:trixie AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake libcpp-httplib-dev libfmt-dev ninja-build
WORKDIR /src
COPY . .
RUN cmake -B build -G Ninja -DCMAKE_BUILD_TYPE=Release && cmake --build build && cmake --install build --prefix /out

FROM debian:trixie-slim
COPY --from=build /out /app
USER 1000
CMD ["/bin/sh", "-c", "exec /app/bin/*"]
