"""A GigE Vision camera on loopback whose clock, timing and faults are the test's: what Debian's fake one has not.

It speaks as much of GVCP and GVSP as Aravis asks for: discovery, registers, memory, one stream of Mono8. Who wants to
see another camera than Debian's look at the same client looks here; who wants to see another client looks elsewhere.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

WIDTH, HEIGHT, LINE_BYTES = 32, 32, 400
PORT = 3956
XML_AT, HAS, ACQUIRE, RELEASED, EXPOSURE_US, MODE, SOURCE, READOUT_US = 0x10000, *range(0xA000, 0xA01C, 4)
TICKS, CONTROL, LATCHED, STREAM_PORT, PACKET, STREAM_HOST = 0x0940, 0x0944, 0x0948, 0x0D00, 0x0D04, 0x0D18
ANSWERS = {2: 3, 0x80: 0x81, 0x82: 0x83, 0x84: 0x85, 0x86: 0x87}


@contextmanager
def only_gige_camera() -> Iterator[None]:
    """Wait until no other test on this machine, of whatever process, has a GigE camera: their port is everybody's."""
    with Path(tempfile.gettempdir(), f"edge-inspect-gige-{PORT}.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _register(name: str, at: int, access: str = "RW") -> str:
    return (
        f'<IntReg Name="{name}Reg"><Address>{at:#x}</Address><Length>4</Length><AccessMode>{access}</AccessMode>'
        "<pPort>Device</pPort><Sign>Unsigned</Sign><Endianess>BigEndian</Endianess></IntReg>"
    )


def _choice(name: str, at: int, **values: int) -> str:
    entries = "".join(f'<EnumEntry Name="{key}"><Value>{value}</Value></EnumEntry>' for key, value in values.items())
    return f'<Enumeration Name="{name}">{entries}<pValue>{name}Reg</pValue></Enumeration>{_register(name, at)}'


def _command(name: str, at: int, value: int) -> str:
    return (
        f'<Command Name="{name}"><pValue>{name}Reg</pValue><CommandValue>{value}</CommandValue></Command>'
        f"{_register(name, at, 'WO')}"
    )


def _number(name: str, at: int) -> str:
    return f'<Float Name="{name}"><pValue>{name}Reg</pValue></Float>{_register(name, at)}'


def _described(says_readout: bool) -> bytes:
    constants = {"Width": WIDTH, "Height": HEIGHT, "PayloadSize": WIDTH * HEIGHT}
    body = "".join(f'<Integer Name="{name}"><Value>{value}</Value></Integer>' for name, value in constants.items())
    body += '<Enumeration Name="PixelFormat"><EnumEntry Name="Mono8"><Value>17301505</Value></EnumEntry>'
    body += "<Value>17301505</Value></Enumeration>"
    body += _choice("AcquisitionMode", HAS, Continuous=0) + _choice("TriggerMode", MODE, Off=0, On=1)
    body += _choice("TriggerSource", SOURCE, Line1=0, Software=1)
    body += _command("AcquisitionStart", ACQUIRE, 1) + _command("TriggerSoftware", RELEASED, 1)
    body += (
        '<Command Name="AcquisitionStop"><pValue>AcquisitionStartReg</pValue><CommandValue>0</CommandValue></Command>'
    )
    body += _number("ExposureTime", EXPOSURE_US) + (_number("SensorReadoutTime", READOUT_US) if says_readout else "")
    return (
        '<?xml version="1.0"?><RegisterDescription xmlns="http://www.genicam.org/GenApi/Version_1_0" ModelName="Test" '
        'VendorName="Test" StandardNameSpace="None" SchemaMajorVersion="1" SchemaMinorVersion="0" '
        'SchemaSubMinorVersion="1" MajorVersion="1" MinorVersion="0" SubMinorVersion="0" ProductGuid="1" '
        f'VersionGuid="1">{body}<Port Name="Device"/></RegisterDescription>'
    ).encode()


class GigeServer:
    """The wire of a camera. clock: its counter, in ns, None: it has none. released: called for each TriggerSoftware."""

    def __init__(
        self,
        clock: Callable[[], int] | None,
        released: Callable[[], None] = lambda: None,
        *,
        exposure_us: int = 2000,
        readout_us: int | None = None,
        is_triggered: bool = False,
    ) -> None:
        self.clock, self._released = clock, released
        self.is_stopped = self.is_frozen = False
        xml = _described(readout_us is not None)
        self._memory = bytearray(XML_AT) + xml + bytes(1024)
        self._set(0x0000, 0x00010002)
        self._memory[0x0024:0x0028] = bytes([127, 0, 0, 1])
        for at, text in ((0x48, "Test"), (0x68, "Scripted"), (0x88, "1"), (0xD8, "S1")):
            self._memory[at : at + len(text)] = text.encode()
        url = f"Local:camera.xml;{XML_AT:x};{len(xml):x}".encode()
        self._memory[0x0200 : 0x0200 + len(url)] = url
        for at, value in ((0x0904, 1), (0x0938, 3000), (TICKS, 10**9 if clock else 0), (PACKET, LINE_BYTES + 36)):
            self._set(at, value)
        for at, value in ((EXPOSURE_US, exposure_us), (READOUT_US, readout_us or 0), (MODE, int(is_triggered))):
            self._set(at, value)
        self._gvcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._gvcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._gvcp.bind(("127.0.0.1", PORT))
        self._gvsp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._gvsp.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def is_streaming(self) -> bool:
        """Whether somebody has asked for frames."""
        return self._get(ACQUIRE) == 1 and self._get(0x0A00) != 0

    def deliver(self, number: int, stamp_ns: int, pixels: bytes) -> None:
        """Send one frame to whoever asked for frames; `number` from 1, of 16 bits."""
        if not self.is_streaming or self.is_stopped:
            return
        head = struct.pack(">HHQIIIIIHH", 0, 1, stamp_ns, 0x01080001, WIDTH, HEIGHT, 0, 0, 0, 0)
        pieces = [pixels[at : at + LINE_BYTES] for at in range(0, len(pixels), LINE_BYTES)]
        packets = [(1, head), *((3, piece) for piece in pieces), (2, struct.pack(">HHI", 0, 1, HEIGHT))]
        with suppress(OSError):
            for place, (kind, content) in enumerate(packets):
                self._gvsp.sendto(struct.pack(">HHI", 0, number, kind << 24 | place) + content, self._reader())

    def close(self) -> None:
        """No answer any more."""
        self.is_stopped = True
        self._gvcp.close()
        self._gvsp.close()
        self._thread.join(5)

    def _reader(self) -> tuple[str, int]:
        return socket.inet_ntoa(self._get(STREAM_HOST).to_bytes(4, "big")), self._get(STREAM_PORT) & 0xFFFF

    def _get(self, at: int) -> int:
        return int.from_bytes(self._memory[at : at + 4], "big")

    def _set(self, at: int, value: int) -> None:
        self._memory[at : at + 4] = value.to_bytes(4, "big")

    def _serve(self) -> None:
        self._gvcp.settimeout(0.2)
        while not self.is_stopped:
            try:
                packet, sender = self._gvcp.recvfrom(2048)
            except TimeoutError:
                continue
            except OSError:
                return
            while self.is_frozen and not self.is_stopped:
                time.sleep(0.005)
            _, _, command, _, number = struct.unpack(">BBHHH", packet[:8])
            if command in ANSWERS:
                with suppress(OSError):  # the reader has gone; or a clock says so that it does not answer now
                    answer = self._answer(command, packet[8:])
                    head = struct.pack(">HHHH", 0, ANSWERS[command], len(answer), number)
                    self._gvcp.sendto(head + answer, sender)

    def _answer(self, command: int, body: bytes) -> bytes:
        if command == 2:
            return bytes(self._memory[:0xF8])
        if command == 0x80:
            return b"".join(bytes(self._memory[at : at + 4]) for (at,) in struct.iter_unpack(">I", body))
        if command == 0x84:
            at, count = struct.unpack(">IHH", body)[0], struct.unpack(">IHH", body)[2]
            return body[:4] + bytes(self._memory[at : at + count])
        for at, value in struct.iter_unpack(">II", body if command == 0x82 else body[:8]):
            self._write(at, value)
        return struct.pack(">HH", 0, 1)

    def _write(self, at: int, value: int) -> None:
        self._set(at, value)
        if at == PACKET and value >> 31:  # a packet of that size is to be tried
            self._set(at, value & 0xFFFF)
            self._gvsp.sendto(bytes((value & 0xFFFF) - 28), self._reader())
        if at == CONTROL and value & 2 and self.clock is not None:
            self._memory[LATCHED : LATCHED + 8] = self.clock().to_bytes(8, "big")
        if at == RELEASED:
            self._released()
