from flask import Flask

VERSION = "v1"
site = Flask(__name__)


@site.get("/")
def hello():
    return f"Hello from Poetry {VERSION}\n"
