"""Who may ask the server, and what its answers may do in a browser.

A page of another site cannot read anything: each request needs the token (once in the address, then in a cookie of this
site alone), the Host header must be the server's own (so that no foreign name can be made to lead here), and writes must come from
the page itself.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
METHODS = ("GET", "HEAD", "POST")
LARGEST_BODY = 1 << 16
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def new_token() -> str:
    """256 random bits as a text for an address."""
    return secrets.token_urlsafe(32)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """An ASGI application around another one: tokens, hosts, origins, methods, and the headers of all answers."""

    def __init__(self, app: ASGIApp, token: str, host: str, port: int) -> None:
        self._app, self._token, self._port = app, token, port
        self._names = {host.lower(), *LOOPBACK}
        self._numbers = not is_loopback(host)
        if self._numbers:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self.cookie = f"esad-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse; anything but HTTP is refused by silence."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        answer = self._refusal(scope)
        await (answer or self._app)(scope, receive, sending)

    def _refusal(self, scope: Scope) -> Response | None:
        """What is answered in place of the application; None lets the request in."""
        headers = Headers(scope=scope)
        if scope["method"] not in METHODS:
            return PlainTextResponse("Only GET and POST.", 405)
        if not self._is_own_host(headers.get("host", "")):
            return PlainTextResponse("This server answers only under its own address.", 421)
        foreign = headers.get("sec-fetch-site", "same-origin") in ("cross-site", "same-site")
        if foreign and (scope["method"] == "POST" or headers.get("sec-fetch-mode") != "navigate"):
            return PlainTextResponse("Pages of other sites get nothing here.", 403)
        stated = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if scope["path"] == "/" and stated:
            return self._with_cookie() if self._is_token(stated[0]) else self._no_token()
        if not self._is_token(self._in_cookie(headers)):
            return self._no_token()
        return self._wrong_write(scope, headers) if scope["method"] == "POST" else None

    def _wrong_write(self, scope: Scope, headers: Headers) -> Response | None:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            return PlainTextResponse("Marks come from the page itself.", 403)
        if headers.get("content-type", "").split(";")[0].strip() != "application/json":
            return PlainTextResponse("Expected application/json.", 415)
        length = headers.get("content-length", "")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            return PlainTextResponse(f"At most {LARGEST_BODY} bytes, and their number stated.", 413)
        return None

    def _is_own_host(self, stated: str) -> bool:
        """Names are the server's own; where it serves others, its numbers, which no foreign name can be made to lead to."""
        try:
            parts = urlsplit(f"//{stated}")
            name, port = (parts.hostname or "").lower(), parts.port or 80
        except ValueError:
            return False
        if port != self._port or not name:
            return False
        return name in self._names or (self._numbers and _is_number(name))

    def _is_token(self, stated: str) -> bool:
        return secrets.compare_digest(stated.encode(), self._token.encode())

    def _in_cookie(self, headers: Headers) -> str:
        try:
            found = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return ""
        return found.value if found else ""

    def _with_cookie(self) -> Response:
        """The page without the token in its address, which then stands in no history and no screenshot."""
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self.cookie, self._token, httponly=True, samesite="strict", path="/")
        return answer

    @staticmethod
    def _no_token() -> Response:
        return PlainTextResponse(
            "Open the address that `esad view` printed: the token in it is missing or another one.", 403
        )


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def file_inside(folder: Path, name: str) -> Path | None:
    """FOLDER/name where that is a file that really lies inside, links followed; else None."""
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, ValueError):
        return None
