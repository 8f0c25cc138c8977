"""The ways to protect a connection that are compared, and how each is set up on both ends.

A contender has a far end, beside the server, and a near end, beside the client. Proxies are programs there: what is
measured connects to a port of the near one in clear, the wire is between the two. p2ptls is in the programs themselves.
"""

import os
import subprocess

from processes import Failed, free_port

CIPHER = "TLS_AES_128_GCM_SHA256"

# For every program that uses OpenSSL and has no setting for the suites of TLS 1.3. P-256 is for PostgreSQL, which takes
# no other group; all others agree on X25519.
OPENSSL_SETTINGS = f"""
openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = tls
[tls]
MinProtocol = TLSv1.3
Ciphersuites = {CIPHER}
Groups = X25519:P-256
"""


class Contender:
    """Plain TCP, and the base of the others."""

    key = "plain"
    title = "plain TCP"
    cipher = "none"
    proof = "nobody is proven"
    clear = True  # what it sends can be read on the wire
    program = "plain"  # variant of the transfer programs
    own_tls = False  # real programs are told to use their own TLS

    def __init__(self, bench):
        self.bench = bench

    def server_env(self, keys):
        """Environment of a server; likewise client_env."""
        return {}

    def client_env(self, keys):
        return {}

    def far(self, scope, keys, port):
        """Starts what stands in front of the server's port; the port to dial from over there."""
        return port

    def near(self, scope, keys, port):
        """Starts what stands beside the client and dials port; the port for the client."""
        return port

    def identity(self, keys, name):
        """Arguments of a transfer program."""
        return []


class P2ptls(Contender):
    key = "p2ptls"
    title = "p2ptls"
    cipher = CIPHER
    proof = "mutual certificates"
    clear = False

    def __init__(self, bench, connecting="", accepting=""):
        super().__init__(bench)
        self.connecting, self.accepting = connecting, accepting

    def env(self, keys, name, options):
        certificate, key = getattr(keys, name), getattr(keys, f"{name}_key")
        rule = f"any 127.0.0.1:* cert={certificate} key={key} ca={keys.ca} ciphers=aes-128-gcm groups=x25519 {options}"
        return self.bench.launcher_env(rule)

    def server_env(self, keys):
        return self.env(keys, "server", self.accepting)

    def client_env(self, keys):
        return self.env(keys, "client", self.connecting)


class Library(Contender):
    """A transfer program directly on a TLS library."""

    cipher = CIPHER
    proof = "mutual certificates"
    clear = False

    def __init__(self, bench, key, title):
        super().__init__(bench)
        self.key = self.program = key
        self.title = title

    def identity(self, keys, name):
        certificate, key = getattr(keys, name), getattr(keys, f"{name}_key")
        return ["--certificate", certificate, "--key", key, "--authority", keys.ca]


class OwnTls(Contender):
    """Real programs with their own TLS."""

    key = "own"
    title = "the program's own TLS"
    cipher = CIPHER
    proof = "mutual certificates"
    clear = False
    own_tls = True

    def server_env(self, keys):
        return {"OPENSSL_CONF": self.bench.openssl_conf}

    client_env = server_env


class Stunnel(Contender):
    key = "stunnel"
    title = "stunnel pair"
    cipher = CIPHER
    proof = "mutual certificates"
    clear = False

    def start(self, scope, keys, name, port, settings):
        accept = free_port()
        config = scope.path(f"stunnel-{name}.conf")
        with open(config, "w") as out:
            out.write("foreground = yes\npid =\nsyslog = no\ndebug = 4\n[tunnel]\n")
            out.write(f"accept = 127.0.0.1:{accept}\nconnect = 127.0.0.1:{port}\n")
            out.write(f"cert = {getattr(keys, name)}\nkey = {getattr(keys, name + '_key')}\nCAfile = {keys.ca}\n")
            out.write(f"sslVersionMin = TLSv1.3\nciphersuites = {CIPHER}\ncurves = X25519\nverifyChain = yes\n")
            out.write("sessionResume = no\n")
            out.write("socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n" + settings)
        scope.start_daemon(["stunnel4", config], accept)
        return accept

    def far(self, scope, keys, port):
        return self.start(scope, keys, "server", port, "requireCert = yes\n")

    def near(self, scope, keys, port):
        return self.start(scope, keys, "client", port, "client = yes\ncheckIP = 127.0.0.1\n")


class Spiped(Contender):
    key = "spiped"
    title = "spiped pair"
    cipher = "AES-256-CTR and HMAC-SHA256"
    proof = "a shared key (it has no certificates)"
    clear = False

    def start(self, scope, direction, port):
        key, accept = scope.path("spiped.key"), free_port()
        if not os.path.exists(key):
            with open(os.open(key, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as out:
                out.write(os.urandom(32))
        ends = ["-s", f"[127.0.0.1]:{accept}", "-t", f"[127.0.0.1]:{port}"]
        scope.start_daemon(["spiped", direction, "-F", "-n", "1000", "-k", key, *ends], accept)
        return accept

    def far(self, scope, keys, port):
        return self.start(scope, "-d", port)

    def near(self, scope, keys, port):
        return self.start(scope, "-e", port)


class Socat(Contender):
    key = "socat"
    title = "socat pair"
    cipher = CIPHER
    proof = "mutual certificates"
    clear = False

    def start(self, scope, listen, target):
        accept = free_port()
        argv = ["socat", f"{listen.format(accept)},bind=127.0.0.1,fork,backlog=1024,nodelay", f"{target},nodelay"]
        scope.start_daemon(argv, accept, env={"OPENSSL_CONF": self.bench.openssl_conf})
        return accept

    def tls(self, keys, name):
        return f"cert={getattr(keys, name)},key={getattr(keys, name + '_key')},cafile={keys.ca},verify=1"

    def far(self, scope, keys, port):
        return self.start(scope, "OPENSSL-LISTEN:{}," + self.tls(keys, "server"), f"TCP:127.0.0.1:{port}")

    def near(self, scope, keys, port):
        return self.start(scope, "TCP-LISTEN:{}", f"OPENSSL:127.0.0.1:{port}," + self.tls(keys, "client"))


class Haproxy(Contender):
    key = "haproxy"
    title = "HAProxy as TLS proxy"
    cipher = CIPHER
    proof = "mutual certificates"
    clear = False

    def start(self, scope, keys, name, bind, server):
        accept = free_port()
        config = scope.path(f"haproxy-{name}.cfg")
        both = getattr(keys, f"{name}_both")
        tls = f"ssl crt {both} ca-file {keys.ca} verify required ciphersuites {CIPHER} ssl-min-ver TLSv1.3"
        with open(config, "w") as out:
            out.write("global\n maxconn 4000\n ssl-server-verify required\ndefaults\n mode tcp\n")
            out.write(" timeout connect 60s\n timeout client 300s\n timeout server 300s\n")
            out.write(f"listen tunnel\n bind 127.0.0.1:{accept} {bind.format(tls)}\n")
            out.write(f" server there {server.format(tls)}\n")
        scope.start_daemon(["haproxy", "-db", "-f", config], accept)
        return accept

    def far(self, scope, keys, port):
        return self.start(scope, keys, "server", "{}", f"127.0.0.1:{port}")

    def near(self, scope, keys, port):
        return self.start(scope, keys, "client", "", f"127.0.0.1:{port} {{}} no-ssl-reuse verifyhost localhost")


def all_contenders(bench):
    """By key, in the order of the tables."""
    everyone = [
        Contender(bench),
        P2ptls(bench),
        OwnTls(bench),
        Library(bench, "gnutls", "our program on GnuTLS"),
        Library(bench, "openssl", "our program on OpenSSL"),
        Stunnel(bench),
        Spiped(bench),
        Socat(bench),
        Haproxy(bench),
    ]
    return {contender.key: contender for contender in everyone}


def launcher_env(launcher, build, rule):
    """What the launcher sets for a program; taken from it once, so that its own time is in no measure."""
    env = {**os.environ, "P2PTLS_LIBRARY": os.path.join(build, "libp2ptls.so")}
    done = subprocess.run(
        [launcher, "run", "-r", rule, "--", "env", "-0"], env=env, stdin=subprocess.DEVNULL, capture_output=True
    )
    if done.returncode != 0:
        raise Failed(f"p2ptls run: {done.stderr.decode(errors='replace').strip()}")
    pairs = (word.split("=", 1) for word in done.stdout.decode().split("\0") if "=" in word)
    return {name: value for name, value in pairs if name == "LD_PRELOAD" or name.startswith("P2PTLS_")}
