import http.server
import os

VERSION = "v1"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"Hello from Python alone {VERSION}\n".encode())


http.server.HTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
