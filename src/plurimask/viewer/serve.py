"""The server itself: a port, a thread, and an end."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import threading
import time
from types import TracebackType

import uvicorn

from plurimask.errors import InputError
from plurimask.viewer.app import build_app
from plurimask.viewer.desk import Desk
from plurimask.viewer.guard import Gate
from plurimask.viewer.uploads import MAX_BYTES
from plurimask.viewer.work import Worker

LOOPBACK = "127.0.0.1"
PORT = 8417
"""The first port that is tried where none was asked for."""
MAX_HEADER_BYTES = 2**16
_KEEP_ALIVE, _SHUTDOWN = 30, 2  # seconds
_BACKLOG = 1024


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach a host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens: at `port`, or, where that is None, at `PORT` or else at any that is free.

    Raises:
        InputError: the port is taken, or the host is none of this machine.
    """
    for attempt in (PORT, 0) if port is None else (port,):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # By its protocol asyncio knows that small answers must not wait for each other (Nagle), which takes 40 ms.
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host.strip("[]"), attempt))
            sock.listen(_BACKLOG)
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE:
                raise InputError(f"--host {host}: cannot be listened at ({error.strerror}): leave it out") from error
        else:
            return sock
    raise InputError(f"--port {port}: taken by another program: give another one, or leave it out")


class Server:
    """The viewer, in threads of its own from the start of a block to its end.

    Args:
        desk: what it shows.
        host: where it can be reached; loopback for this machine alone.
        port: None: one that is free.
    """

    def __init__(self, desk: Desk, host: str = LOOPBACK, port: int | None = None) -> None:
        self.desk, self.host = desk, host
        self.socket = listen(host, port)
        self.gate = Gate(self.socket.getsockname()[1], is_loopback(host), upload_bytes=MAX_BYTES)
        self.worker = Worker(desk.spare)
        config = uvicorn.Config(
            build_app(desk, self.worker, self.gate),
            http="h11",
            ws="none",
            lifespan="off",
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_SHUTDOWN,
        )
        self.uvicorn = uvicorn.Server(config)
        self.thread = threading.Thread(
            target=self.uvicorn.run, kwargs={"sockets": [self.socket]}, name="plurimask-server", daemon=True
        )

    @property
    def address(self) -> str:
        """Of the page, without the token."""
        host = LOOPBACK if self.host in ("0.0.0.0", "localhost") else "[::1]" if self.host == "::" else self.host
        return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{self.gate.port}/"

    @property
    def link(self) -> str:
        """To open the page with."""
        return f"{self.address}?token={self.gate.token}"

    @property
    def one_time_link(self) -> str:
        """A new one to open the page with, good for one time."""
        return f"{self.address}?token={self.gate.one_time_token()}"

    def __enter__(self) -> Server:
        self.thread.start()
        while not self.uvicorn.started and self.thread.is_alive():
            time.sleep(0.01)
        return self

    def wait(self) -> None:
        """Until a signal comes, which is an exception here."""
        while self.thread.is_alive():
            self.thread.join(0.5)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.uvicorn.should_exit = True
        self.worker.close()
        self.thread.join(timeout=2 * _SHUTDOWN)
        with contextlib.suppress(OSError):
            self.socket.close()
        self.desk.gallery.uploads.close()
