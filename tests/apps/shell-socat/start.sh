#!/usr/bin/env bash
# Listens, and answers each connection with another run of itself.
set -euo pipefail

version=v1
if [ "${1-}" != answer ]; then
	exec socat "TCP-LISTEN:$PORT,reuseaddr,fork" "EXEC:bash $0 answer"
fi

while read -r line && [ "$line" != $'\r' ]; do :; done
page="Hello from a shell script $version of ${BASH_VERSION%%.*}"
printf 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s\n' $((${#page} + 1)) "$page"
