"""A service that converts temperatures. It serves on the port that PORT names, on loopback alone."""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

VERSION = "1.5.0"


def convert(query):
    celsius = float(query["celsius"][0])
    if celsius < -273.15:
        raise ValueError("colder than cold")
    return {"celsius": celsius, "fahrenheit": celsius * 9 / 5 + 32, "kelvin": celsius + 273.15}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/health":
            self.answer(200, {"status": "ok", "version": VERSION})
        elif url.path == "/convert":
            try:
                self.answer(200, convert(parse_qs(url.query)))
            except (KeyError, ValueError):
                self.answer(400, {"error": "celsius must be a number"})
        else:
            self.answer(404, {"error": "no such path"})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
