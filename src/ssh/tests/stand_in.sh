#!/bin/sh
# What the tests run in place of paas: the client's command line, as a shell command.
[ -n "$PAAS_SSH_COMMAND" ] || { echo "shell for $PAAS_ACTOR"; exit 0; }
exec /bin/sh -c "$PAAS_SSH_COMMAND"
