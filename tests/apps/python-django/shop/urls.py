from django.http import HttpResponse
from django.urls import path

VERSION = "v1"
urlpatterns = [path("", lambda request: HttpResponse(f"Hello from Django {VERSION}\n"))]
