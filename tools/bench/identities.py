"""Keys and certificates: a private CA, a server and a client, of one kind of key; made by openssl(1)."""

import os

from processes import run

KINDS = {"ed25519": ["-newkey", "ed25519"], "p256": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]}


class Identities:
    """Paths of PEM files: ca, server, server_key, client, client_key; NAME_both is certificate and key in one."""

    def __init__(self, kind, folder):
        self.kind = kind
        self.folder = os.path.join(folder, f"keys-{kind}")
        os.makedirs(self.folder, mode=0o755, exist_ok=True)
        self.ca = self.issue("ca", ["basicConstraints=critical,CA:true", "keyUsage=critical,keyCertSign"])
        signing = ["-CA", self.ca, "-CAkey", self.path("ca.key")]
        extensions = [
            "subjectAltName=IP:127.0.0.1,DNS:localhost",
            "basicConstraints=critical,CA:false",
            "keyUsage=critical,digitalSignature",
        ]
        self.server = self.issue("server", extensions, signing)
        self.client = self.issue("client", extensions, signing)
        self.server_key, self.client_key = self.path("server.key"), self.path("client.key")
        self.server_both, self.client_both = self.join("server"), self.join("client")

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, name, extensions, signing=()):
        certificate = self.path(f"{name}.pem")
        argv = ["openssl", "req", "-x509", "-noenc", "-days", "30", "-subj", f"/CN={name}", *KINDS[self.kind]]
        argv += ["-keyout", self.path(f"{name}.key"), "-out", certificate, *signing]
        for extension in extensions:
            argv += ["-addext", extension]
        run(argv)
        return certificate

    def join(self, name):
        both = self.path(f"{name}.both")
        with open(os.open(both, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            for part in (f"{name}.pem", f"{name}.key"):
                with open(self.path(part), "rb") as source:
                    out.write(source.read())
        return both


def copy_for(identities, user, folder):
    """The same files in a folder of another user's, since keys are readable by their owner alone."""
    copy = object.__new__(Identities)
    copy.kind, copy.folder = identities.kind, folder
    os.makedirs(folder, mode=0o700, exist_ok=True)
    for name in ("ca", "server", "client", "server_key", "client_key"):
        source = getattr(identities, name)
        target = os.path.join(folder, os.path.basename(source))
        with open(source, "rb") as old, open(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as new:
            new.write(old.read())
        setattr(copy, name, target)
        if user:
            os.chown(target, user.pw_uid, user.pw_gid)
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)
    return copy
