"""A hostile file system: FUSE whose server leaves one process, its victim, waiting. A close of such a file
asks the server (FLUSH) and waits for as long as it likes; so does a stat. Whoever reads a file, or a page of it that is
mapped, waits too."""
import ctypes
import os
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
LOOKUP, GETATTR, OPEN, READ, FLUSH, INIT = 1, 3, 14, 15, 25, 26
ROOT_MODE, FILE_MODE = 0o040777, 0o100666
MNT_DETACH = 2


def attributes(inode, mode):
    return struct.pack("<6Q10I", inode, 4096, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


class HungFiles:
    """Mounted at `folder` until `end`, which lets go of whoever waits."""

    def __init__(self, folder, victim):
        self.folder = folder
        os.mkdir(folder)
        device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
        if LIBC.mount(b"hung", folder.encode(), b"fuse", 0, options) < 0:
            raise OSError(ctypes.get_errno(), "mount of a FUSE file system")
        self.flushes, writing = os.pipe()
        self._server = os.fork()
        if self._server == 0:
            try:
                serve(device, writing, victim)
            finally:
                os._exit(0)
        os.close(device)
        os.close(writing)

    def open(self, name="file"):
        return os.open(f"{self.folder}/{name}", os.O_RDWR)

    def wait_for_read(self):
        """Until somebody's read of a page has begun to hang."""
        asked = os.read(self.flushes, 1)
        if asked != b"r":
            raise AssertionError(f"the file system was asked {asked}")

    def wait_for_flush(self):
        """Until a close of the victim's has begun to hang, in a thread that is not its main one."""
        asked = os.read(self.flushes, 1)
        if asked != b"f":
            raise AssertionError({b"m": "the main thread's close hangs", b"?": "the file system was asked",
                                  b"": "the file system's server ended"}[asked])

    def end(self):
        if self._server is None:
            return
        os.kill(self._server, 9)
        os.waitpid(self._server, 0)
        LIBC.umount2(self.folder.encode(), MNT_DETACH)
        os.close(self.flushes)
        self._server = None


def serve(device, flushes, victim):
    while True:
        request = os.read(device, 1 << 17)
        _, code, unique, node, _, _, thread = struct.unpack_from("<IIQQIII", request)
        if os.path.exists(f"/proc/{victim}/task/{thread}"):
            os.write(flushes, b"?" if code != FLUSH else b"m" if thread == victim else b"f")
            continue
        if code == READ:
            os.write(flushes, b"r")
        answer = None
        if code == INIT:
            answer = struct.pack("<4I2H3I", 7, 31, 0, 0, 0, 0, 4096, 0, 0) + bytes(28)
        elif code == LOOKUP:
            answer = struct.pack("<4Q2I", 2, 0, 3600, 3600, 0, 0) + attributes(2, FILE_MODE)
        elif code == GETATTR:
            answer = struct.pack("<QII", 3600, 0, 0) + attributes(node, ROOT_MODE if node == 1 else FILE_MODE)
        elif code == OPEN:
            answer = struct.pack("<QII", 1, 0, 0)
        elif code == FLUSH:
            answer = b""
        if answer is not None:
            os.write(device, struct.pack("<IiQ", 16 + len(answer), 0, unique) + answer)
