from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from hello import VERSION

api: FastAPI = FastAPI()


@api.get("/", response_class=PlainTextResponse)
def hello():
    return f"Hello from uv {VERSION}\n"
