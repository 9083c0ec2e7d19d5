from flask import Flask

VERSION = "v1"


def create_app():
    app = Flask(__name__)
    app.add_url_rule("/", view_func=lambda: f"Hello from Pipenv {VERSION}\n")
    return app
