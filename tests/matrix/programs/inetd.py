"""inetd.py PORT PROGRAM...: for each connection starts a program with it as standard input, output and error, as inetd
does: fork, dup2, exec. inetd.py talk PORT LINE...: sends each line after the answer to the one before, prints the answers.
"""

import os
import signal
import socket
import sys


def serve(port, program):
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in (0, 1, 2):
                os.dup2(connection.fileno(), number)
            listener.close()
            connection.close()
            os.execvp(program[0], program)
        connection.close()


def talk(port, lines):
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as answers:
        for line in lines:
            connection.sendall(line.encode() + b"\n")
            print(answers.readline().decode(), end="", flush=True)
        connection.shutdown(socket.SHUT_WR)
        print(answers.read().decode(), end="")


if __name__ == "__main__":
    if sys.argv[1] == "talk":
        talk(int(sys.argv[2]), sys.argv[3:])
    else:
        serve(int(sys.argv[1]), sys.argv[2:])
