"""Shows every call inside of CPython's socketserver while a server serves one message.

    python3 python_path.py tcp|udp none|threading|forking

A line has the thread, the class and the method, the line of its `def`, and the result if there is
one; a call inside of another is indented. The handler answers in upper case. Only methods of the
module and of the handler are shown, not the look-up of a name and not the standard library.
"""

import os
import socket
import socketserver
import sys
import threading

MODULE = socketserver.BaseServer.__init__.__code__.co_filename
SERVER_PROCESS = os.getpid()
depths = threading.local()


class Upper(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.readline().upper())


class UpperDatagram(socketserver.DatagramRequestHandler):
    def handle(self):
        self.wfile.write(self.packet.upper())


def shown(result):
    """The client of a request, and true or false; nothing for other results."""
    if isinstance(result, bool):
        return f" -> {result}"
    if isinstance(result, tuple) and isinstance(result[-1], tuple):
        host, port = result[-1]
        return f" -> {host}:{port}"
    return ""


def thread_name():
    if os.getpid() != SERVER_PROCESS:
        return f"child {os.getpid()}"
    return threading.current_thread().name.split(" ")[0]


def show(frame, event, result):
    code = frame.f_code
    if code.co_filename not in (MODULE, __file__) or "." not in code.co_qualname:
        return
    if "<" in code.co_qualname:
        return
    depth = getattr(depths, "depth", 0)
    name = code.co_qualname.replace(".<locals>", "")
    if event == "call":
        depths.depth = depth + 1
        where = f" ({code.co_firstlineno})" if code.co_filename == MODULE else ""
        line = f"{thread_name():15}  {'  ' * depth}{name}{where}"
        os.write(1, f"{line}\n".encode())
    elif event == "return":
        depths.depth = depth - 1
        if shown(result):
            line = f"{thread_name():15}  {'  ' * (depth - 1)}{name}{shown(result)}"
            os.write(1, f"{line}\n".encode())


def main(transport, mixin):
    names = {"none": "", "threading": "Threading", "forking": "Forking"}
    kind = getattr(socketserver, f"{names[mixin]}{transport.upper()}Server")
    handler = {"tcp": Upper, "udp": UpperDatagram}[transport]
    threading.setprofile(show)
    sys.setprofile(show)
    with kind(("127.0.0.1", 0), handler) as server:
        replies = []
        client = threading.Thread(target=visit, args=(server, transport, replies))
        client.start()
        server.serve_forever(poll_interval=0.02)
        client.join()
    sys.setprofile(None)
    print(f"reply: {replies[0]!r}")


def visit(server, transport, replies):
    """Sends a message, receives the reply, and stops the server. Its own calls are not shown."""
    sys.setprofile(None)
    kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[transport]
    with socket.socket(socket.AF_INET, kind) as client:
        client.settimeout(10)
        client.connect(server.server_address)
        client.sendall(b"hello\n")
        replies.append(client.recv(1024))
        # A stream has ended when the other thread, or the child, has shut its side down.
        while transport == "tcp" and client.recv(1024):
            pass
    server.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
