"""How an answer reaches the caller's socket: whole, in parts, or not at all."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from email.utils import formatdate

from starlette.types import Scope, Send

from billingsync.sandbox.wire import Answer

_BROKEN_RST = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: closing sends RST instead of an orderly FIN


class Connection:
    """One call's connection. `stopping` is set when the sandbox shuts down, which ends every waiting."""

    def __init__(self, scope: Scope, send: Send, stopping: asyncio.Event, date_offset_s: float) -> None:
        self._send = send
        self._stopping = stopping
        self._date_offset_s = date_offset_s
        # put there by `server._Protocol`: ASGI itself has no way to break a connection
        self._transport: asyncio.Transport = scope["state"]["transport"]

    async def hold(self, seconds: float | None) -> None:
        """Waits; None: until the sandbox stops."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
        await self.reset()

    async def whole(self, answer: Answer) -> None:
        content = answer.content()
        await self._start(answer, len(content))
        await self._part(content, more=False)

    async def drip(self, answer: Answer, seconds_per_byte: float) -> None:
        content = answer.content()
        await self._start(answer, len(content))
        for index in range(len(content)):
            if self._transport.is_closing() or self._stopping.is_set():
                return
            await self._part(content[index : index + 1], more=True)
            await self.hold(seconds_per_byte)
        await self._part(b"", more=False)

    async def cut(self, answer: Answer) -> None:
        """Half the body, then an orderly close: the promised length is never reached."""
        content = answer.content()
        await self._start(answer, max(len(content), 2))
        await self._part(content[: len(content) // 2], more=True)
        self._transport.close()
        while self._transport.get_write_buffer_size() and not self._stopping.is_set():
            await asyncio.sleep(0.001)  # a large half takes its time
        await self._closed()

    async def reset(self) -> None:
        """Connection reset by peer."""
        raw: socket.socket | None = self._transport.get_extra_info("socket")
        if raw is not None and not self._transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BROKEN_RST)
        self._transport.abort()
        await self._closed()

    async def _start(self, answer: Answer, length: int) -> None:
        headers = [(b"date", formatdate(time.time() + self._date_offset_s, usegmt=True).encode())]
        if length:
            headers.append((b"content-type", answer.content_type.encode()))
        headers.append((b"content-length", str(length).encode()))
        headers += [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
        if not self._transport.is_closing():
            await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})

    async def _part(self, content: bytes, *, more: bool) -> None:
        if not self._transport.is_closing():
            await self._send({"type": "http.response.body", "body": content, "more_body": more})

    async def _closed(self) -> None:
        # the protocol hears of the broken connection in a later turn of the loop; before that, uvicorn would
        # complain about an application that did not answer
        for _ in range(3):
            await asyncio.sleep(0)
