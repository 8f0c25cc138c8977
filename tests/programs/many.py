"""many.py PAIRS [NAME]: makes so many connections to itself, sends 100 bytes over each, says "ready", and stays until a
signal ends it. NAME: calls the process so (prctl(2), PR_SET_NAME), bytes in Python's notation."""
import ast
import ctypes
import resource
import signal
import socket
import sys
import threading

pairs = int(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
if len(sys.argv) > 2:
    ctypes.CDLL(None).prctl(15, ast.literal_eval(sys.argv[2]), 0, 0, 0)

listener = socket.create_server(('127.0.0.1', 0), backlog=1024)
accepted, dialled = [], []


def read_all(s):
    got = b''
    while len(got) < 100:
        got += s.recv(100)


def accept_all():
    for _ in range(pairs):
        accepted.append(listener.accept()[0])
        read_all(accepted[-1])


acceptor = threading.Thread(target=accept_all)
acceptor.start()
for _ in range(pairs):
    dialled.append(socket.create_connection(listener.getsockname()))
    dialled[-1].sendall(100 * b'x')
acceptor.join()
print('ready', flush=True)
signal.pause()
