# shop/urls.py
FROM node:22-slim AS front-end
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm run build

FROM python:3.13-slim
WORKDIR /app
RUN python3 -m venv /venv
ENV PATH=/venv/bin:$PATH
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
COPY . .
COPY --from=front-end /app ./
RUN rm -rf node_modules && SECRET_KEY=x python3 manage.py collectstatic --noinput
USER 1000
CMD ["gunicorn", "shop.wsgi"]
