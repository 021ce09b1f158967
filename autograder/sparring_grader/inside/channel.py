"""The learner's end of the socket to the grader."""

from __future__ import annotations

import socket
import threading
from typing import Any

import torch

from sparring_grader import wire


class Channel:
    """Sends and receives frames; sending is safe from several threads, which a learner's prints may need."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        # Re-entrant, because the alarm of a time limit may print while a send is under way.
        self._lock = threading.RLock()

    def send(self, header: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Send one frame."""
        frame = wire.pack(header, tensors)
        with self._lock:
            self._socket.sendall(frame)

    def receive(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """Wait for the grader's next frame; raises EOFError when it has hung up."""
        return wire.read(self._exactly)

    def _exactly(self, count: int) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            part = self._socket.recv(min(count - len(parts), 1 << 20))
            if not part:
                raise EOFError("the grader hung up")
            parts += part
        return bytes(parts)
