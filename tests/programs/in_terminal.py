"""in_terminal.py COLUMNS ROWS COMMAND...: runs the command in a terminal of its own, and obeys lines of its input:
keys TEXT (Python's notation), size COLUMNS ROWS, signal NUMBER, run COMMAND (outside of it), see TEXT or count N TEXT
(until the screen has it, in N lines), screen (print it).
At the end it prints "status N" or "signal N", and whether the terminal's modes and the main screen came back."""
import ast
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios

import pyte

columns, rows, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
screen = pyte.Screen(columns, rows)
stream = pyte.ByteStream(screen)
raw = b''


def set_size(fd, columns, rows):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))


master, slave = pty.openpty()
set_size(slave, columns, rows)
modes = termios.tcgetattr(slave)
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for fd in range(3):
        os.dup2(slave, fd)
    os.close(master)
    os.environ['TERM'] = os.environ.get('INNER_TERM', 'xterm-256color')
    os.execvp(command[0], command)


def feed(timeout):
    """Takes what the command has written; false: nothing within that time."""
    global raw
    if not select.select([master], [], [], timeout)[0]:
        return False
    piece = os.read(master, 65536)
    raw += piece
    stream.feed(piece)
    return True


def text():
    return '\n'.join(line.rstrip() for line in screen.display)


for line in sys.stdin:
    word, _, rest = line.rstrip('\n').partition(' ')
    if word in ('see', 'count'):
        number, _, wanted = rest.partition(' ') if word == 'count' else ('', '', rest)
        while sum(wanted in row for row in text().split('\n')) != int(number) if number else wanted not in text():
            if not feed(60):
                sys.exit(f'the screen never had {rest!r}:\n{text()}')
    elif word == 'run':
        subprocess.run(rest, shell=True, check=True)
    elif word == 'screen':
        print(text(), flush=True)
    elif word == 'keys':
        os.write(master, ast.literal_eval(rest))
    elif word == 'size':
        columns, rows = map(int, rest.split())
        screen.resize(rows, columns)
        set_size(master, columns, rows)
    elif word == 'signal':
        os.kill(pid, int(rest))

while True:
    feed(0.02)
    ended, status = os.waitpid(pid, os.WNOHANG)
    if ended:
        break
while feed(0):
    pass
print(f'signal {os.WTERMSIG(status)}' if os.WIFSIGNALED(status) else f'status {os.WEXITSTATUS(status)}')
print('modes', 'restored' if termios.tcgetattr(slave) == modes else 'changed')
print('screen', 'restored' if raw.rfind(b'\x1b[?1049l') > raw.rfind(b'\x1b[?1049h') else 'left')
