"""Asks one host over TLS, as each line of the standard input says: GET on the connection that there is, or NEW one.

Prints the status, how many connections there were, and who issued the certificate. Takes HOST PORT AUTHORITY, where the
last is a certificate in PEM; connects to this machine whatever the name.
"""

import http.client
import socket
import ssl
import sys

host, port, authority = sys.argv[1], int(sys.argv[2]), sys.argv[3]
context = ssl.create_default_context(cadata=authority)
connections = 0


class Connection(http.client.HTTPSConnection):
    def connect(self):
        global connections
        connections += 1
        plain = socket.create_connection(("127.0.0.1", port))
        self.sock = context.wrap_socket(plain, server_hostname=host)


connection = Connection(host, port)
issuer = "?"
for line in sys.stdin:
    if line.strip() == "NEW":
        connection.close()
        connection = Connection(host, port)
    connection.request("GET", "/")
    if connection.sock is not None:
        issuer = dict(pair[0] for pair in connection.sock.getpeercert()["issuer"])["commonName"]
    answer = connection.getresponse()
    answer.read()
    print(answer.status, connections, issuer, flush=True)
