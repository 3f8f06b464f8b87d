"""A web server on this machine that cuts, refuses and forgets on order, for tests of what is downloaded."""

import gzip
import hashlib
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """Serves `files` (path to bytes) on 127.0.0.1, and does as it is told by its other attributes."""

    def __init__(self):
        self.files: dict[str, bytes] = {}
        self.cuts: list[int] = []  # after how many bytes to cut the next answers
        self.statuses: list[int] = []  # statuses to answer first
        self.ranges = True  # whether Range is obeyed
        self.lengths = True  # whether Content-Length is sent
        self.chunked = False  # as GitHub sends its archives: no length, but the end is marked
        self.asked: list[tuple[str, str | None]] = []  # path and Range of every request
        handler = type("Handler", (_Handler,), {"orders": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self) -> "Server":
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        orders, wanted = self.orders, self.headers.get("Range")
        orders.asked.append((self.path, wanted))
        body = orders.files.get(self.path)
        if orders.statuses:
            return self.send_error(orders.statuses.pop(0))
        if body is None:
            return self.send_error(404)
        # As servers do for whoever does not forbid it.
        squeezed = "gzip" in self.headers.get("Accept-Encoding", "")
        body = gzip.compress(body) if squeezed else body
        whole, start = len(body), 0
        if wanted and orders.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if start >= whole:
                return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        if orders.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif orders.lengths:
            self.send_header("Content-Length", str(whole - start))
        self.send_header("Connection", "close")
        if squeezed:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)  # the Hugging Face hub's clients want to know
        self.end_headers()
        if self.command == "HEAD":
            return None
        end = orders.cuts.pop(0) if orders.cuts else whole
        if not orders.chunked:
            self.wfile.write(body[start:end])
            return None
        for at in range(start, end, 10_000):
            piece = body[at : min(at + 10_000, end)]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if end == whole:
            self.wfile.write(b"0\r\n\r\n")
        return None

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def closed_port() -> int:
    """A port of this machine at which nobody answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
