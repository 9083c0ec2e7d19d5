# wsgi.py
FROM python:3.13-slim AS build
RUN python3 -m venv /tools && /tools/bin/pip install pdm "unearth<0.19" "hishel<2"
WORKDIR /app
COPY pyproject.toml pdm.lock ./
RUN /tools/bin/pdm sync --prod --no-self
COPY . .

FROM python:3.13-slim
WORKDIR /app
COPY --from=build /app .
USER 1000
CMD [".venv/bin/python", "wsgi.py"]
