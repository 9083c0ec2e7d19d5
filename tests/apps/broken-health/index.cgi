#!/bin/sh
echo 'index.cgi: the database is gone' >&2
printf 'HTTP/1.0 500 Internal Server Error\r\nContent-Type: text/plain\r\n\r\nthe database is gone\n'
