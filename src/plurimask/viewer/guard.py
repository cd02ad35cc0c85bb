"""Who may ask, and for how much: looked at before a request is read any further. It knows nothing of what is asked for.

The first request brings the token that the command printed, and takes a cookie along; all others must have that. A page
of another site has neither; one whose name was bent to this address (DNS rebinding) is told by Host, and requests that
it makes a browser send by Origin and Sec-Fetch-Site.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import secrets
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qs

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

MAX_AT_WORK = 640
"""Requests that are answered or wait at a time."""
MAX_BODY = 2**16
"""Bytes of a request, but for a file that is dropped in."""
MAX_QUERY = 8192
"""Bytes of what a request says in its address."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "worker-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), usb=()",
}
WENT_WRONG = "this went wrong on the side of the server: see the terminal"
_READING, _CHANGING = ("GET", "HEAD"), ("POST", "DELETE")
_HOW_TO_OPEN = "open the address that the command printed, with its token, in the address bar"


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Gate:
    """Where the server is, and the secrets of its session.

    Attributes:
        port: of the server.
        is_local: whether it is bound to loopback alone.
        upload_path, upload_bytes: where larger bodies are taken, and how large they may be.
    """

    port: int
    is_local: bool = True
    upload_path: str = "/api/uploads"
    upload_bytes: int = 2**26
    token: str = field(default_factory=_secret)
    session: str = field(default_factory=_secret)

    once: set[str] = field(default_factory=set)
    """Tokens that are good for one time, such as one that stands in the list of processes as a browser is started."""

    def one_time_token(self) -> str:
        """A new one."""
        token = _secret()
        self.once.add(token)
        return token

    def takes(self, given: str) -> bool:
        """Whether a token is one of this session; a token for one time is none any more then."""
        if hmac.compare_digest(given.encode(), self.token.encode()):
            return True
        found = next((token for token in self.once if hmac.compare_digest(given.encode(), token.encode())), None)
        if found is not None:
            self.once.discard(found)
        return found is not None

    @property
    def cookie(self) -> str:
        """The name of the cookie: cookies do not tell ports apart, two viewers must."""
        return f"plurimask_{self.port}"

    def knows_host(self, host: str) -> bool:
        """Whether a Host header names this server. Where others may ask: any of its addresses, and its own name, but
        not a name that somebody else chose."""
        name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if not colon:
            name, port = host, "80"
        if port != str(self.port):
            return False
        return name.lower() in LOCAL_NAMES or (not self.is_local and (_is_address(name) or name.lower() in own_names()))


def own_names() -> tuple[str, ...]:
    """What this machine is called."""
    name = socket.gethostname().lower()
    return name, f"{name}.local", socket.getfqdn().lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


class Denied(Exception):
    """Ends a request before, or while, it is read."""

    def __init__(self, status: int, sentence: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(sentence)
        self.status, self.headers = status, [*headers]


class Guard:
    """ASGI middleware around the routes."""

    def __init__(self, app: App, gate: Gate) -> None:
        self.app, self.gate = app, gate
        self.at_work = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        answer = _Answer(scope, send)
        self.at_work += 1
        try:
            location = self.check(scope)
            if location is not None:
                await answer.empty(303, [("location", location), ("set-cookie", self._cookie())])
                return
            await self.app(scope, _limited(receive, self._most_bytes(scope)), answer)
        except Denied as denied:
            await answer.error(denied.status, str(denied), denied.headers)
        except Exception:
            print("plurimask: a request failed, please report this:", file=sys.stderr)
            traceback.print_exc()
            await answer.error(500, WENT_WRONG)
        finally:
            self.at_work -= 1

    def check(self, scope: Message) -> str | None:
        """Where to go on with a cookie, if the request has the token; None for one that may pass; else `Denied`."""
        headers = _headers(scope)
        if self.at_work > MAX_AT_WORK:
            raise Denied(503, "too many requests at work: ask again", [("retry-after", "1")])
        hosts, origins = headers.get("host", []), headers.get("origin", [])
        if len(hosts) != 1 or not self.gate.knows_host(hosts[0]):
            raise Denied(403, "this is not the name of this server")
        if any(origin != f"http://{hosts[0]}" for origin in origins):
            raise Denied(403, "requests of other pages are refused")
        method = scope["method"]
        if method not in (*_READING, *_CHANGING):
            raise Denied(405, "this is not done here", [("allow", "GET, HEAD, POST, DELETE")])
        if method in _CHANGING and len(origins) != 1:
            raise Denied(403, "what changes something must say where it comes from (Origin)")
        query = scope.get("query_string", b"")
        if len(query) > MAX_QUERY or len(scope.get("raw_path") or b"") > MAX_QUERY:
            raise Denied(413, "the address is too long")
        if method in _READING and scope["path"] == "/" and b"token=" in query:
            return self._enter(query)
        if any(site not in ("same-origin", "none") for site in headers.get("sec-fetch-site", [])):
            raise Denied(403, f"links of other pages are refused: {_HOW_TO_OPEN}")
        if not self._has_cookie(headers.get("cookie", [])):
            raise Denied(403, f"the token is missing: {_HOW_TO_OPEN}")
        self._check_length(scope, headers)
        return None

    def _enter(self, query: bytes) -> str:
        given = parse_qs(query.decode("latin-1")).get("token", [""])[0]
        if not self.gate.takes(given):
            raise Denied(403, f"this is not the token of this server: {_HOW_TO_OPEN}")
        return "/"

    def _cookie(self) -> str:
        return f"{self.gate.cookie}={self.gate.session}; Path=/; HttpOnly; SameSite=Strict"

    def _has_cookie(self, cookies: Iterable[str]) -> bool:
        pairs = [part.strip().partition("=") for header in cookies for part in header.split(";")]
        given = [value for name, _, value in pairs if name == self.gate.cookie]
        return len(given) == 1 and hmac.compare_digest(given[0].encode(), self.gate.session.encode())

    def _most_bytes(self, scope: Message) -> int:
        return self.gate.upload_bytes if scope["path"] == self.gate.upload_path else MAX_BODY

    def _check_length(self, scope: Message, headers: dict[str, list[str]]) -> None:
        lengths = headers.get("content-length", [])
        if scope["method"] == "POST" and (len(lengths) != 1 or not lengths[0].isdigit()):
            raise Denied(411, "how long the body is must be said (Content-Length)")
        if lengths and (len(lengths[0]) > 12 or int(lengths[0]) > self._most_bytes(scope)):
            raise Denied(413, f"at most {self._most_bytes(scope):,} bytes are taken here")


def _headers(scope: Message) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _limited(receive: Receive, most: int) -> Receive:
    """The body of a request, refused where it is longer than it may be, whatever its header said."""
    came = 0

    async def limited() -> Message:
        nonlocal came
        message = await receive()
        came += len(message.get("body", b""))
        if came > most:
            raise Denied(413, f"at most {most:,} bytes are taken here")
        return message

    return limited


class _Answer:
    """`send` with the headers that every answer has."""

    def __init__(self, scope: Message, send: Send) -> None:
        self.send = send
        self.has_started = self.is_gone = False
        self.held: Message | None = None
        self.is_head = scope["method"] == "HEAD"

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            named = {name.lower() for name, _ in message["headers"]}
            extra = {**_HEADERS, "cache-control": "no-store"}
            message["headers"] = [
                *message["headers"],
                *((n.encode(), v.encode()) for n, v in extra.items() if n.encode() not in named),
            ]
            self.held = message
            return
        if self.held is not None:
            start, self.held, self.has_started = self.held, None, True
            await self._sent(start)
        await self._sent(message)

    async def _sent(self, message: Message) -> None:
        """To a client that broke off, or broke the protocol, there is nothing to say."""
        if not self.is_gone:
            try:
                await self.send(message)
            except Exception:
                self.is_gone = True

    async def error(self, status: int, sentence: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """One sentence, unless something was said already."""
        if not self.has_started:
            self.held = None
            body = json.dumps({"error": sentence}).encode()
            await self._whole(status, [*headers, ("content-type", "application/json")], body)

    async def empty(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Headers alone."""
        await self._whole(status, headers, b"")

    async def _whole(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        told = [(name.encode(), value.encode()) for name, value in headers]
        told.append((b"content-length", str(len(body)).encode()))
        await self({"type": "http.response.start", "status": status, "headers": told})
        await self({"type": "http.response.body", "body": b"" if self.is_head else body})
