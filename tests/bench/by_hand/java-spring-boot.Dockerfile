# src/main/java/hello/Application.java
FROM maven:3-eclipse-temurin-17 AS build
WORKDIR /src
COPY pom.xml ./
RUN mvn -B -q dependency:go-offline
COPY . .
RUN mvn -B -q package -DskipTests

FROM eclipse-temurin:17-jre
COPY --from=build /src/target/*.jar /app.jar
USER 1000
CMD ["java", "-jar", "/app.jar"]
