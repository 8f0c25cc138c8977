"""Sockets that go from process to process, for python_processes.bats. passing.py KIND prints "port N" and serves one of:

workers     multiprocessing: the parent accepts, and hands each connection to one of three workers (SCM_RIGHTS)
subprocess  each connection becomes standard input and output of a program (cat)
talked      as workers, but the parent has read a line from the connection before, and has answered
halves      each connection is passed while it lives: the worker reads it, the parent writes what the worker says

passing.py clients PORT COUNT BYTES: sends to each connection, and compares what comes back.
passing.py say PORT TEXT: one connection, prints the answer.
"""

import multiprocessing
import random
import socket
import subprocess
import sys
import threading
from multiprocessing import reduction


def listen():
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    print("port", listener.getsockname()[1], flush=True)
    return listener


def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


def worker(pipe):
    threads = []
    while True:
        try:
            connection = socket.socket(fileno=reduction.recv_handle(pipe))
        except EOFError:
            return
        threads.append(threading.Thread(target=echo, args=(connection,)))
        threads[-1].start()


def workers(greet):
    pipes = []
    for _ in range(3):
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.Process(target=worker, args=(theirs,), daemon=True)
        process.start()
        theirs.close()
        pipes.append((ours, process.pid))
    listener, number = listen(), 0
    while True:
        connection, _ = listener.accept()
        if greet:
            line = b""
            while not line.endswith(b"\n"):
                line += connection.recv(1)
            connection.sendall(line)
        reduction.send_handle(pipes[number % 3][0], connection.fileno(), pipes[number % 3][1])
        connection.close()
        number += 1


def subprocesses():
    listener = listen()
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=run_cat, args=(connection,)).start()


def run_cat(connection):
    with connection:
        subprocess.run(["cat"], stdin=connection, stdout=connection, check=True)


def reader(pipe, replies):
    with socket.socket(fileno=reduction.recv_handle(pipe)) as connection:
        while data := connection.recv(65536):
            replies.send_bytes(data)
    replies.close()


def halves():
    listener = listen()
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=split, args=(connection,)).start()


def split(connection):
    (ours, theirs), (replies, said) = multiprocessing.Pipe(), multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=reader, args=(theirs, said))
    process.start()
    theirs.close()
    said.close()
    reduction.send_handle(ours, connection.fileno(), process.pid)
    with connection:
        try:
            while True:
                connection.sendall(replies.recv_bytes())
        except EOFError:
            pass
    process.join()


def client(port, seed, size, right):
    data = f"client {seed}\n".encode() + random.Random(seed).randbytes(size)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        back = []

        def read():
            while part := connection.recv(65536):
                back.append(part)

        thread = threading.Thread(target=read)
        thread.start()
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        thread.join()
        if b"".join(back) == data:
            right.append(seed)


def clients(port, count, size):
    right = []
    threads = [threading.Thread(target=client, args=(port, seed, size, right)) for seed in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{len(right)} of {count}")


def say(port, text):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(text.encode() + b"\n")
        connection.shutdown(socket.SHUT_WR)
        print(connection.makefile().read(), end="")


if __name__ == "__main__":
    kind, *rest = sys.argv[1:]
    if kind == "clients":
        clients(*map(int, rest))
    elif kind == "say":
        say(int(rest[0]), rest[1])
    else:
        {
            "workers": lambda: workers(False),
            "talked": lambda: workers(True),
            "subprocess": subprocesses,
            "halves": halves,
        }[kind]()
