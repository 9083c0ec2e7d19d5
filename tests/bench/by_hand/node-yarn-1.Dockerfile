# server.js
FROM node:22-slim AS production
WORKDIR /app
COPY package.json yarn.lock ./
RUN yarn install --frozen-lockfile --production

FROM node:22-slim AS build
WORKDIR /app
COPY package.json yarn.lock ./
RUN yarn install --frozen-lockfile
COPY . .
RUN yarn run build && rm -rf node_modules

FROM node:22-slim
WORKDIR /app
COPY --from=production /app/node_modules ./node_modules
COPY --from=build /app .
USER 1000
CMD ["yarn", "start"]
