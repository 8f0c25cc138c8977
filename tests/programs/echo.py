"""Echo servers as Python programs write them, and a client that opens many connections at once.

    echo.py asyncio|threading|forking    listens on 127.0.0.1, prints "port N"
    echo.py select|epoll                 asks for readiness before each call, on sockets that block; one thread
    echo.py inherited-listener           accepts on descriptor 3, as a daemon under systemd does
    echo.py inherited-connection         echoes on descriptor 3 by read and write, and ends
    echo.py prefork                      as asyncio, but a child that was forked before the first connection accepts
    echo.py lowered                      as asyncio, but becomes user nobody after listen
    echo.py steady PORT COUNT RATE       opens COUNT connections, RATE a second, with an answer each; prints "done" for
                                         each that has ended, and "COUNT of COUNT"
    echo.py clients PORT COUNT BYTES     COUNT asyncio clients send BYTES each and compare; prints "COUNT of COUNT"
    echo.py urllib URL                   prints what is there
"""
import asyncio
import os
import random
import selectors
import signal
import socket
import socketserver
import sys
import urllib.request

SIZE = 65536


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(SIZE):
            self.request.sendall(data)


# Both close their copy of the connection at once, in the parent or at the end of the thread.
class Threading(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 256


class Forking(socketserver.ForkingTCPServer):
    request_queue_size = 256


def serve(kind):
    with kind(("127.0.0.1", 0), Echo) as server:
        print("port", server.server_address[1], flush=True)
        server.serve_forever()


async def echo(reader, writer):
    while data := await reader.read(SIZE):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve_asyncio():
    server = await asyncio.start_server(echo, "127.0.0.1", 0, backlog=256)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# The next one begins in time, whether or not those before it have ended.
async def steady(port, count, rate):
    begun = asyncio.get_running_loop().time()
    tasks = []
    for i in range(count):
        await asyncio.sleep(max(0, begun + i / rate - asyncio.get_running_loop().time()))
        tasks.append(asyncio.create_task(client(port, i, 20)))
        tasks[-1].add_done_callback(lambda task: print("done", flush=True))
    good = await asyncio.gather(*tasks, return_exceptions=True)
    print(sum(g is True for g in good), "of", count, *{repr(g) for g in good if g is not True})


def serve_simply(listener):
    while True:
        connection, _ = listener.accept()
        echo_descriptor(connection.detach())


def serve_lowered(how):
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print("port", listener.getsockname()[1], flush=True)
    worker = os.fork() if how == "prefork" else 0
    if worker:
        signal.signal(signal.SIGTERM, lambda *_: os.kill(worker, signal.SIGTERM))
        os.wait()
        sys.exit(0)
    if how == "lowered":
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    serve_simply(listener)


def echo_descriptor(fd):
    while data := os.read(fd, SIZE):
        while data:
            data = data[os.write(fd, data):]
    os.close(fd)


def serve_selecting(selector):
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    selector.register(listener, selectors.EVENT_READ)
    print("port", listener.getsockname()[1], flush=True)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                try:
                    selector.register(listener.accept()[0], selectors.EVENT_READ)
                except ConnectionAbortedError:
                    print("aborted", flush=True)
            elif data := key.fileobj.recv(SIZE):
                key.fileobj.sendall(data)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()


def serve_inherited():
    serve_simply(socket.socket(fileno=3))


# Sends and half-closes while it reads, so neither side waits for the other's buffers.
async def client(port, number, size):
    data = random.Random(number).randbytes(size)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send():
        writer.write(data)
        await writer.drain()
        writer.write_eof()

    sending = asyncio.create_task(send())
    back = await reader.read()
    await sending
    writer.close()
    return back == data


async def clients(port, count, size):
    good = await asyncio.gather(*(client(port, i, size + i) for i in range(count)))
    print(sum(good), "of", count)


def main():
    what, *args = sys.argv[1:]
    if what == "asyncio":
        asyncio.run(serve_asyncio())
    elif what == "threading":
        serve(Threading)
    elif what == "forking":
        serve(Forking)
    elif what in ("select", "epoll"):
        serve_selecting(selectors.SelectSelector() if what == "select" else selectors.EpollSelector())
    elif what in ("prefork", "lowered"):
        serve_lowered(what)
    elif what == "steady":
        asyncio.run(steady(*map(int, args)))
    elif what == "inherited-listener":
        serve_inherited()
    elif what == "inherited-connection":
        echo_descriptor(3)
    elif what == "clients":
        asyncio.run(clients(*map(int, args)))
    elif what == "urllib":
        sys.stdout.buffer.write(urllib.request.urlopen(args[0]).read())
    else:
        sys.exit(__doc__)


main()
