# src/main/java/hello/Main.java
FROM gradle:8-jdk17 AS build
ENV GRADLE_USER_HOME=/cache
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/cache gradle --no-daemon installDist && mv build/install/* /out

FROM eclipse-temurin:17-jre
COPY --from=build /out /app
USER 1000
CMD ["/bin/sh", "-c", "exec /app/bin/*"]
