from flask import Flask

VERSION = "v1"
web = Flask(__name__)


@web.get("/")
def hello():
    return f"Hello from a plain pyproject.toml {VERSION}\n"
