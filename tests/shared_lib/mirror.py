"""A mirror on loopback that serves files over HTTP, with Range, and misbehaves when told to."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Mirror:
    """What the server has, how it behaves, and what it was asked: (path, Range header) in order."""

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    cut_after: int | None = None  # bytes of a body after which the connection is closed
    cuts: int = 0  # how many answers are cut; 0 with cut_after set means all
    endless: bool = False  # announces no length and never stops by itself
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0

    def __enter__(self) -> Mirror:
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append((request.path, wanted))
        body = self.files.get(request.path.lstrip("/"))
        if body is None:
            request.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else 0
        if start:
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            request.send_response(200)
        if not self.endless:
            request.send_header("Content-Length", str(len(body) - start))
        request.end_headers()
        body = body[start:] * (1000 if self.endless else 1)
        if self.cut_after is not None and (self.cuts == 0 or len(self.asked) <= self.cuts):
            body = body[: self.cut_after]
        for at in range(0, len(body), 4096):
            try:
                request.wfile.write(body[at : at + 4096])
            except (BrokenPipeError, ConnectionResetError):
                return
            self.sent += len(body[at : at + 4096])
