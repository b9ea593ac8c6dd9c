"""A client of the file service, written from docs/guide/file-protocol.md alone.

usage: files_client.py HOST PORT USER PASSWORD

Logs in, lists, uploads, breaks off, resumes, downloads and verifies. Prints a line for each step,
and ends with the line "done".
"""

import hashlib
import json
import os
import socket
import struct
import sys
import time
from urllib.parse import unquote_to_bytes


class Refused(Exception):
    def __init__(self, message):
        super().__init__(message["message"])
        self.code = message["code"]
        self.offset = message.get("offset")


def escape(name):
    """The rule of "Names and paths"."""
    text = name.decode("utf-8", "surrogateescape").replace("%", "%25")
    return "".join(
        "%%%02X" % (ord(c) - 0xDC00) if 0xDC80 <= ord(c) <= 0xDCFF else c for c in text
    )


class Client:
    def __init__(self, address, user, password):
        self.socket = socket.create_connection(address, timeout=30)
        self.stream = self.socket.makefile("rb")
        greeting = self.receive()
        assert greeting["service"] == "files" and greeting["version"] == 1, greeting
        self.part_size = greeting["part_size"]
        welcome = self.ask("login", user=user, password=password)
        assert welcome["answer"] == "welcome" and welcome["path"] == "/", welcome

    def send(self, command, body=b"", **fields):
        fields = {name: value for name, value in fields.items() if value is not None}
        header = {"command": command, "data_size": len(body), **fields}
        header = json.dumps(header).encode("utf-8")
        self.socket.sendall(struct.pack("<i", len(header)) + header + body)

    def receive(self):
        (length,) = struct.unpack("<i", self.exactly(4))
        message = json.loads(self.exactly(length).decode("utf-8"))
        message["body"] = self.exactly(message.get("data_size") or 0)
        if not message["ok"]:
            raise Refused(message)
        return message

    def exactly(self, count):
        data = self.stream.read(count)
        if len(data) < count:
            raise EOFError("the server has left")
        return data

    def ask(self, command, body=b"", **fields):
        self.send(command, body, **fields)
        return self.receive()

    def list(self, path="."):
        self.send("list", path=path)
        entries = []
        while True:
            message = self.receive()
            if message["answer"] == "end":
                assert message["count"] == len(entries)
                return {unquote_to_bytes(entry["name"]): entry for entry in entries}
            entries += message["entries"]

    def put(
        self, path, content, digest="sha256", stop_after=None, if_exists=None, known_hash=None
    ):
        """Returns the offset at which the upload has begun; None if it was not needed."""
        answer = self.ask(
            "put",
            path=path,
            size=len(content),
            digest=digest,
            hash=known_hash,
            if_exists=if_exists,
        )
        if answer["answer"] == "stored":
            assert answer["hash"] == known_hash
            return None
        begin = offset = answer["offset"]
        hashed = hashlib.new(digest, content[:offset])
        if hashed.hexdigest() != answer["prefix_hash"]:
            begin = offset = 0
            hashed = hashlib.new(digest)
        while offset < len(content):
            part = content[offset : offset + self.part_size]
            hashed.update(part)
            self.send("part", part, offset=offset)
            offset += len(part)
            if stop_after is not None and offset >= stop_after:
                self.socket.close()
                return begin
        stored = self.ask("sent", hash=hashed.hexdigest())
        assert stored["answer"] == "stored" and stored["hash"] == hashed.hexdigest(), stored
        return begin

    def get(self, path, digest="sha256", version=None, have=b"", stop_after=None):
        """Returns the content, the version, and the offset at which the server has begun."""
        self.send(
            "get",
            path=path,
            digest=digest,
            version=version,
            offset=len(have),
            prefix_hash=hashlib.new(digest, have).hexdigest(),
        )
        begin = self.receive()
        content = have if begin["offset"] == len(have) else b""
        assert begin["offset"] == len(content)
        while True:
            message = self.receive()
            if message["answer"] == "sent":
                assert len(content) == message["size"] == begin["size"]
                assert hashlib.new(digest, content).hexdigest() == message["hash"]
                return content, begin["version"], begin["offset"]
            assert message["answer"] == "part" and message["offset"] == len(content), message
            content += message["body"]
            if stop_after is not None and len(content) >= stop_after:
                self.socket.close()
                return content, begin["version"], begin["offset"]


def code_of(act, *arguments, **fields):
    try:
        act(*arguments, **fields)
    except Refused as refusal:
        return refusal.code
    raise AssertionError("not refused: %r" % (arguments,))


def while_busy(act, *arguments, **fields):
    """Repeats a command while the session that was broken off still has the name."""
    while True:
        try:
            return act(*arguments, **fields)
        except Refused as refusal:
            if refusal.code != "busy":
                raise
            time.sleep(0.01)


def main(host, port, user, password):
    address = (host, int(port))
    assert code_of(Client, address, user, password + "x") == "denied"
    assert code_of(Client, address, "nobody", password) == "denied"
    client = Client(address, user, password)
    print("logged in")

    assert client.list() == {}
    assert client.ask("mkdir", path="d")["answer"] == "made"
    assert client.ask("cd", path="d")["path"] == "/d"
    assert client.ask("pwd")["path"] == "/d"
    assert code_of(client.ask, "cd", path="../..") == "outside"
    odd = b"caf\xe9 100%\n"
    client.put(escape(odd), b"odd")
    small = client.ask(
        "put", b"small", path="small", size=5, hash=hashlib.sha256(b"small").hexdigest()
    )
    assert small["answer"] == "stored"
    entries = client.list()
    assert set(entries) == {odd, b"small"}, entries
    assert entries[odd]["kind"] == "file" and entries[odd]["size"] == 3
    assert client.get(escape(odd))[0] == b"odd"
    print("listed")

    content = os.urandom(5_000_000)
    client.put("big", content, stop_after=2_000_000)
    client = Client(address, user, password)
    client.ask("cd", path="d")
    # Another content of the same name and size has another hash of its first bytes.
    other = bytes(5_000_000)
    answer = while_busy(client.ask, "put", path="big", size=len(other))
    assert answer["answer"] == "send" and answer["offset"] > 0, answer
    hashed = hashlib.sha256(other[: answer["offset"]]).hexdigest()
    assert answer["prefix_hash"] != hashed
    assert client.ask("cancel")["offset"] == answer["offset"]
    # The session that was broken off is over now, since the name was free.
    partials = [it for it in client.list().values() if it["kind"] == "partial"]
    assert len(partials) == 1 and 0 < partials[0]["size"] < len(content), partials
    offset = client.put("big", content)
    assert offset == partials[0]["size"], offset
    print("uploaded, from", "the middle" if offset else "the start")
    sha256 = hashlib.sha256(content).hexdigest()
    assert client.put("big", content, known_hash=sha256) is None
    assert code_of(client.put, "big", content) == "exists"
    assert code_of(client.put, "big", b"new") == "exists"
    md5 = hashlib.md5(content).hexdigest()
    replaced = client.put("big", content, digest="md5", if_exists="replace", known_hash=md5)
    assert replaced is None
    # Not the content that was announced: nothing is kept.
    client.ask("put", path="wrong", size=5)
    client.send("part", b"hello", offset=0)
    assert code_of(client.ask, "sent", hash=sha256) == "wrong_hash"
    assert not any(it["kind"] == "partial" for it in client.list().values())

    have, version, _ = client.get("big", stop_after=1_500_000)
    client = Client(address, user, password)
    received, again, offset = client.get("/d/big", version=version, have=have)
    assert received == content and again == version and offset == len(have)
    received, _, offset = client.get("d/big", version="another", have=have)
    assert received == content and offset == 0
    assert client.get("d/big", digest="md5")[0] == content
    print("downloaded, from the middle")

    client.ask("rename", **{"from": "d/small", "to": "moved"})
    assert client.ask("stat", path="moved")["entry"]["size"] == 5
    client.ask("remove", path="moved")
    assert code_of(client.ask, "remove", path="d") == "not_empty"
    assert code_of(client.ask, "fly") == "unknown_command"
    assert client.ask("du")["bytes"] == 5_000_003
    assert client.ask("quit")["answer"] == "bye"
    assert client.stream.read() == b""
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
