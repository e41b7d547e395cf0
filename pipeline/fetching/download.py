"""One file from the net: continued where it was cut, compared with its published size and checksum, then renamed."""

from __future__ import annotations

import errno
import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from socket import gaierror
from typing import IO, Any
from urllib.parse import urlsplit

from esad.data_manifests.loader import Download
from esad.pipeline.stage.errors import EsadError
from esad.pipeline.stage.progress import say
from esad.preprocessing.gate.limits import in_bytes
from esad.preprocessing.store.durable import give_name

CHUNK = 1 << 18
SECONDS = 60.0
"""Without a byte for so long a connection counts as cut."""
TRIES = 5
"""In a row without a byte; a connection that gives some is always taken up again."""
WAITING = 1.0
"""Seconds before the second try; each further wait is twice as long."""
MOST_REDIRECTS = 5
UNREACHABLE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ENETDOWN}
ENDING = ".part"
Advance = Callable[[int], None]


class _Cut(Exception):
    """The connection gave no more; what came is kept."""


class _Unreached(EsadError):
    """No server answers there: this machine's net, not the file, is the reason, and waiting seconds does not help."""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Only to http and https, never from https to http."""

    max_redirections = MOST_REDIRECTS

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if after not in ("http", "https") or (before == "https" and after == "http"):
            raise EsadError(
                f"{req.full_url}: the server leads on to {newurl!r}, which is not followed (from {before} to {after})."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(file: Download, target: Path, advance: Advance, replace: bool = False) -> bool:
    """Bring the file to `target`; returns whether anything had to be fetched. `advance` is told of bytes as they come.

    What is at `target` stays if it is the published file, and is an EsadError if it is another one, unless `replace`. Bytes
    go to `target` + ".part" first; a later call goes on from there. EsadError where no address gives the file, or where
    what came has another size or checksum than is stated: it is then removed.
    """
    if target.exists() and not replace:
        wrong = difference(file, target)
        if wrong:
            raise EsadError(
                f"{target}: is there and is not the published file ({wrong}). --force fetches it anew."
            )
        advance(file.size)
        return False
    part = target.with_name(target.name + ENDING)
    have = part.stat().st_size if part.is_file() else 0
    if have > file.size:
        part.unlink()
        have = 0
    advance(have)
    if have < file.size:
        _from_any(file, part, advance)
    wrong = difference(file, part)
    if wrong:
        part.unlink()
        raise EsadError(
            f"{target.name}: what came is not the published file ({wrong}; stated by {file.stated_by}). It was removed; try "
            "again, or get the file from its publisher yourself."
        )
    give_name(part, target)
    return True


def difference(file: Download, path: Path) -> str:
    """In what the file at `path` differs from what is stated; an empty text where it does not."""
    size = path.stat().st_size
    if size != file.size:
        return f"{size} bytes, expected {file.size}"
    for kind, expected in (("sha256", file.sha256), ("md5", file.md5)):
        if expected is None:
            continue
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()  # noqa: B023
        if found != expected:
            return f"{kind} {found}, expected {expected}"
    return ""


def _from_any(file: Download, part: Path, advance: Advance) -> None:
    """Fill `part` from the first address that gives it whole; EsadError with each one's fault where none does."""
    faults: list[EsadError] = []
    for url in file.urls:
        try:
            _from_one(url, file, part, advance)
            return
        except EsadError as error:
            faults.append(error)
    have = part.stat().st_size if part.is_file() else 0
    kept = (
        f" {in_bytes(have)} of {in_bytes(file.size)} are kept: the same command goes on from there."
        if have
        else ""
    )
    told = " ".join(map(str, faults))
    if all(isinstance(fault, _Unreached) for fault in faults):
        told += (
            " Is this machine connected to the internet? Behind a proxy, name it in HTTPS_PROXY and HTTP_PROXY. Or get the file "
            f"on another machine and put it in {part.parent} as {part.name.removesuffix(ENDING)}: the same command then checks it."
        )
    raise EsadError(told + kept)


def _from_one(url: str, file: Download, part: Path, advance: Advance) -> None:
    failed = 0
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            _once(url, file, part, advance)
            return
        except _Cut as error:
            gained = part.is_file() and part.stat().st_size > before
            failed = 0 if gained else failed + 1
            if failed >= TRIES:
                raise EsadError(f"{url}: no connection, or it is cut again and again ({error}).") from error
            wait = WAITING * 2 ** max(failed - 1, 0)
            have = in_bytes(part.stat().st_size) if part.is_file() else "0 bytes"
            say(f"{part.name.removesuffix(ENDING)}: {error}; going on from {have} in {wait:.0f} s.")
            time.sleep(wait)


def _once(url: str, file: Download, part: Path, advance: Advance) -> None:
    """Append what one connection gives; _Cut where that is not all, EsadError where it is something else."""
    have = part.stat().st_size if part.is_file() else 0
    with _cuts(url, part), _answer(url, have) as answer:
        start = _start(answer, have, url)
        length = answer.headers.get("Content-Length")
        if length is not None and length.isdigit() and start + int(length) != file.size:
            raise EsadError(
                f"{url}: offers {start + int(length)} bytes, and the published file has {file.size}."
            )
        if start < have:
            advance(start - have)
        with part.open("r+b" if start else "wb") as out:
            out.truncate(start)
            out.seek(start)
            while chunk := answer.read(CHUNK):
                start += len(chunk)
                if start > file.size:
                    raise EsadError(f"{url}: sends more than the published file's {file.size} bytes.")
                out.write(chunk)
                advance(len(chunk))
    if start < file.size:
        raise _Cut(f"{start} of {file.size} bytes came")


def _answer(url: str, have: int) -> Any:
    """The opened answer to a request for all bytes from `have` on."""
    headers = {"User-Agent": f"esad/{version('esad')}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    opener = urllib.request.build_opener(_SafeRedirects)
    return opener.open(urllib.request.Request(url, headers=headers), timeout=SECONDS)


def _start(answer: Any, have: int, url: str) -> int:
    """From which byte on the answer is: `have`, or 0 of a server that always sends all."""
    if answer.status == http.HTTPStatus.OK:
        return 0
    stated = answer.headers.get("Content-Range", "")
    if answer.status == http.HTTPStatus.PARTIAL_CONTENT and stated.startswith(f"bytes {have}-"):
        return have
    raise EsadError(f"{url}: answers with status {answer.status} {stated}; expected the file.")


@contextmanager
def _cuts(url: str, part: Path) -> Iterator[None]:
    """Within the block a network's faults become _Cut, and a server's refusals an EsadError."""
    try:
        yield
    except urllib.error.HTTPError as error:
        if (
            error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR
            or error.code == http.HTTPStatus.TOO_MANY_REQUESTS
        ):
            raise _Cut(f"status {error.code}") from error
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # what is kept is of another file
            part.unlink(missing_ok=True)
            raise _Cut(f"status {error.code}") from error
        raise EsadError(
            f"{url}: refused by the server (status {error.code} {str(error.reason).splitlines()[0]})."
        ) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise EsadError(
                f"{url}: the server's certificate cannot be verified ({error.reason.verify_message}): this machine's certificates "
                "may be out of date, or a proxy stands between (SSL_CERT_FILE names the certificates to trust)."
            ) from error
        if isinstance(error.reason, gaierror) or getattr(error.reason, "errno", None) in UNREACHABLE:
            told = getattr(error.reason, "strerror", None) or error.reason
            raise _Unreached(f"{url}: no server is reached ({told}).") from error
        raise _Cut(str(error.reason)) from error
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise _Cut(str(error) or "the connection was cut") from error
