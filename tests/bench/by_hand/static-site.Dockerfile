# index.html
FROM caddy:2
COPY . /usr/share/caddy
