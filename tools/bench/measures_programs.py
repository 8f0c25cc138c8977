"""Measures with real programs: redis, nginx with curl, PostgreSQL with pgbench; as Debian ships them."""

import csv
import glob
import io
import json
import os
import pwd

from identities import copy_for
from measure import MARKER, Column, Measure, per_unit
from processes import CallCounter, children_cpu_ns, cpu_ns, free_port, run, tree

MB = 10**6
CONTENDERS = ("plain", "p2ptls", "own", "stunnel", "spiped", "socat", "haproxy")
JUDGED = CONTENDERS[:3]  # these get enough work that the handshakes of the beginning are next to nothing in it


def cpu_while(opened, action):
    """What the action returns, and the CPU time of servers, proxies and of the clients that it ran, in ns."""
    before = cpu_ns(opened.scope.pids()) + children_cpu_ns()
    result = action()
    return result, cpu_ns(opened.scope.pids()) + children_cpu_ns() - before


class RealProgram(Measure):
    contenders = CONTENDERS

    def counts_calls_of(self, contender):
        """Behind proxies a server is the plain one."""
        return contender.key in JUDGED

    def client_env(self, opened):
        return opened.contender.client_env(opened.keys)

    def calls(self, bench, opened):
        """Of the server alone, since clients cannot be stopped before they begin."""
        server = opened.server_pids()
        counter = CallCounter(server, opened.scope.path("strace"))
        units = self.counted_work(bench, opened)
        return per_unit({"server": counter.finish().of(server)}, units)


class Redis(RealProgram):
    counted = "request"
    share = 1.5

    def __init__(self, pipeline, size, count):
        self.pipeline, self.size, self.count = pipeline, size, count
        self.key = f"redis-p{pipeline}" if size == 3 else f"redis-{size // 1024}k"
        self.title = f"redis-benchmark, 50 clients, pipeline {pipeline}, values of {size} bytes"
        self.columns = (
            Column("get_per_s", "GET/s", 0, more_is_better=True),
            Column("set_per_s", "SET/s", 0, more_is_better=True),
            Column("cpu_us", "CPU µs for each, all processes", 1),
        )
        if size >= 64 * 1024:
            self.contenders = tuple(key for key in CONTENDERS if key != "spiped")
            self.note = "spiped is left out: redis-benchmark's SET ends with `Connection reset by peer` there."

    def serve(self, bench, opened):
        port = free_port()
        argv = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        argv += ["--dir", opened.scope.folder]
        if opened.contender.own_tls:
            keys = opened.keys
            argv += ["--port", "0", "--tls-port", str(port), "--tls-ca-cert-file", keys.ca]
            argv += ["--tls-cert-file", keys.server, "--tls-key-file", keys.server_key, "--tls-auth-clients", "yes"]
        else:
            argv += ["--port", str(port)]
        server = opened.scope.start_daemon(argv, port, env=opened.contender.server_env(opened.keys))
        opened.server_pids = lambda: [server.pid]
        return port

    def tls(self, opened):
        keys = opened.keys
        if not opened.contender.own_tls:
            return []
        return ["--tls", "--cacert", keys.ca, "--cert", keys.client, "--key", keys.client_key]

    def speak(self, bench, opened, port):
        argv = ["redis-cli", "-h", "127.0.0.1", "-p", str(port), *self.tls(opened), "SET", "note", MARKER.decode()]
        run(argv, env=self.client_env(opened))

    def benchmark(self, opened, count):
        argv = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(opened.port), *self.tls(opened), "--csv"]
        argv += ["-t", "get,set", "-n", str(count), "-c", "50", "-P", str(self.pipeline), "-d", str(self.size)]
        rows = csv.DictReader(io.StringIO(run(argv, env=self.client_env(opened))))
        return {row["test"].split(" ")[0]: float(row["rps"]) for row in rows}

    def sample(self, bench, opened):
        count = bench.scaled(self.count if opened.contender.key in JUDGED else self.count // 6)
        rates, cpu = cpu_while(opened, lambda: self.benchmark(opened, count))
        return {"get_per_s": rates["GET"], "set_per_s": rates["SET"], "cpu_us": cpu / 1000 / (2 * count)}

    def counted_work(self, bench, opened):
        self.benchmark(opened, 4000)
        return 2 * 4000


class Nginx(RealProgram):
    key, title = "nginx", "nginx to curl, one file"
    columns = (
        Column("gb_per_s", "GB/s", more_is_better=True),
        Column("cpu_s_per_gb", "CPU s/GB, all processes"),
    )
    counted = "MB"
    total = 512 * MB

    def files(self, bench):
        """Made once, and then in the page cache."""
        folder = os.path.join(bench.work, "files")
        if not os.path.exists(folder):
            os.makedirs(folder)
            for name, size in (("large", bench.scaled(self.total)), ("counted", 20 * MB), ("marker", len(MARKER))):
                with open(os.path.join(folder, name), "wb") as out:
                    for begin in range(0, size, MB):
                        out.write((MARKER * (MB // len(MARKER) + 1))[: min(MB, size - begin)])
        return folder

    def serve(self, bench, opened):
        port, folder = free_port(), self.files(bench)
        config = opened.scope.path("nginx.conf")
        with open(config, "w") as out:
            out.write(self.config(opened, port, folder))
        argv = ["/usr/sbin/nginx", "-c", config, "-e", opened.scope.path("error.log")]
        server = opened.scope.start_daemon(argv, port, env=opened.contender.server_env(opened.keys))
        opened.server_pids = lambda: tree(server.pid)
        return port

    def config(self, opened, port, folder):
        keys, tls = opened.keys, ""
        if opened.contender.own_tls:
            tls = f"ssl_certificate {keys.server}; ssl_certificate_key {keys.server_key}; ssl_protocols TLSv1.3;"
            tls += f" ssl_client_certificate {keys.ca}; ssl_verify_client on;"
        temporary = " ".join(
            f"{name}_temp_path {opened.scope.path('temporary')};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return (
            f"user {pwd.getpwuid(os.getuid()).pw_name}; daemon off; worker_processes 2;\n"
            f"pid {opened.scope.path('pid')};\n"
            "events { worker_connections 1024; }\n"
            f"http {{ access_log off; sendfile on; tcp_nopush on; {temporary}\n"
            f"server {{ listen 127.0.0.1:{port}{' ssl' if tls else ''}; root {folder}; {tls} }} }}\n"
        )

    def get(self, opened, port, name):
        """Size and seconds."""
        argv = ["curl", "--no-progress-meter", "--fail", "-o", "/dev/null", "-w", "[%{size_download}, %{time_total}]"]
        scheme = "http"
        if opened.contender.own_tls:
            keys, scheme = opened.keys, "https"
            argv += ["--cacert", keys.ca, "--cert", keys.client, "--key", keys.client_key]
        return json.loads(run([*argv, f"{scheme}://127.0.0.1:{port}/{name}"], env=self.client_env(opened)))

    def speak(self, bench, opened, port):
        self.get(opened, port, "marker")

    def sample(self, bench, opened):
        (size, seconds), cpu = cpu_while(opened, lambda: self.get(opened, opened.port, "large"))
        return {"gb_per_s": size / 1e9 / seconds, "cpu_s_per_gb": cpu / size}

    def counted_work(self, bench, opened):
        return self.get(opened, opened.port, "counted")[0] / 1e6


class Postgresql(RealProgram):
    key, title = "postgresql", "pgbench, select-only, 8 clients, prepared"
    columns = (
        Column("tps", "transactions/s", 0, more_is_better=True),
        Column("cpu_us", "CPU µs for each, all processes", 1),
    )
    rounds = 5

    def programs(self):
        return max(glob.glob("/usr/lib/postgresql/*/bin"), default="/usr/lib/postgresql/bin")

    def user(self):
        """PostgreSQL does not run as root."""
        return pwd.getpwnam("postgres") if os.getuid() == 0 else None

    def cluster(self, bench):
        """One is made and filled, and copied for each contender."""
        folder = os.path.join(bench.work, "cluster")
        if os.path.exists(folder):
            return folder
        user = self.user()
        os.makedirs(folder + ".new", mode=0o700)
        if user:
            os.chown(folder + ".new", user.pw_uid, user.pw_gid)
        argv = [f"{self.programs()}/initdb", "-D", folder + ".new", "-U", "postgres", "-A", "trust", "--no-sync"]
        run([*argv, "-E", "UTF8", "--locale=C"], user=user)
        os.rename(folder + ".new", folder)
        return folder

    def serve(self, bench, opened):
        user, port, data = self.user(), free_port(), opened.scope.path("data")
        opened.folder_keys = opened.keys
        run(["cp", "-a", self.cluster(bench), data])
        os.chmod(opened.scope.folder, 0o755)
        keys = opened.keys = copy_for(opened.keys, user, opened.scope.path("keys"))
        argv = [f"{self.programs()}/postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        settings = {"unix_socket_directories": "", "fsync": "off", "ssl": "off"}
        if opened.contender.own_tls:
            settings |= {"ssl": "on", "ssl_cert_file": keys.server, "ssl_key_file": keys.server_key}
            settings |= {"ssl_ca_file": keys.ca, "ssl_min_protocol_version": "TLSv1.3"}
            with open(os.path.join(data, "pg_hba.conf"), "w") as out:
                out.write("hostssl all all 127.0.0.1/32 trust clientcert=verify-ca\n")
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        env = opened.contender.server_env(keys)
        server = opened.scope.start_daemon(argv, port, env=env, user=user, cwd=data)
        server.wait_for_text("ready to accept connections")
        opened.keys = opened.folder_keys
        run([*self.pgbench(), "-i", "-q", "-s", "1"], env=self.libpq(opened, port))
        return port

    def pgbench(self):
        return [f"{self.programs()}/pgbench"]

    def libpq(self, opened, port):
        keys = opened.keys
        env = {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGUSER": "postgres", "PGDATABASE": "postgres"}
        env |= {"PGSSLMODE": "disable", **self.client_env(opened)}
        if opened.contender.own_tls:
            env |= {"PGSSLMODE": "verify-ca", "PGSSLROOTCERT": keys.ca, "PGCHANNELBINDING": "disable"}
            env |= {"PGSSLCERT": keys.client, "PGSSLKEY": keys.client_key}
        return env

    def speak(self, bench, opened, port):
        argv = [f"{self.programs()}/psql", "-X", "-q", "-A", "-t", "-c", f"SELECT '{MARKER.decode()}'"]
        run(argv, env=self.libpq(opened, port))

    def sample(self, bench, opened):
        each = bench.scaled(1500)
        argv = [*self.pgbench(), "-n", "-S", "-M", "prepared", "-c", "8", "-j", "1", "-t", str(each)]
        said, cpu = cpu_while(opened, lambda: run(argv, env=self.libpq(opened, opened.port)))
        tps = next(float(line.split()[2]) for line in said.splitlines() if line.startswith("tps ="))
        return {"tps": tps, "cpu_us": cpu / 1000 / (8 * each)}
