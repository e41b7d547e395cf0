"""A server on this machine that offers bytes, in good ways and bad ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Offer:
    """What stands at a path: `content`, cut after `cuts[n]` bytes of the n-th answer; or a redirect; or a status."""

    content: bytes = b""
    cuts: list[int] = field(default_factory=list)
    ranges: bool = True
    leads_to: str = ""
    status: int = 0
    length: bool = True


@dataclass
class Server:
    address: str
    offers: dict[str, Offer] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """(path, Range) of each request."""


@contextmanager
def serving() -> Iterator[Server]:
    """A running server; it ends with the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            server.asked.append((self.path, wanted))
            offer = server.offers.get(self.path, Offer(status=404))
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and offer.ranges else 0
            if offer.leads_to:
                self.send_response(302)
                self.send_header("Location", offer.leads_to)
                self.end_headers()
                return
            if offer.status or start >= len(offer.content) > 0:
                self.send_error(offer.status or 416)
                return
            content = offer.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header(
                    "Content-Range", f"bytes {start}-{len(offer.content) - 1}/{len(offer.content)}"
                )
            if offer.length:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: offer.cuts.pop(0)] if offer.cuts else content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{httpd.server_port}")
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
