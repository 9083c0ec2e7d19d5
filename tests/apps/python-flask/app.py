import os

from flask import Flask, jsonify

VERSION = "v1"
app = Flask(__name__)


@app.get("/")
def index():
    return f"Hello from Flask {VERSION}\n", {"Content-Type": "text/plain"}


@app.get("/env")
def env():
    return jsonify({name: os.environ.get(name) for name in ("GREETING", "PORT")})
