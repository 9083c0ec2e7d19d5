from flask import Flask

VERSION = "v1"
application = Flask(__name__)


@application.get("/")
def hello():
    return f"Hello from PDM {VERSION}\n"
