"""What a run was made on: processor, kernel, memory, versions of what was compared."""

import os
import re
import subprocess

PACKAGES = "libgnutls30 libssl3 redis-server nginx curl postgresql-15 stunnel4 spiped socat haproxy".split()


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def describe():
    """{what: text}, in the order of the report."""
    model = re.search(r"^model name\s*: (.*)$", read("/proc/cpuinfo"), re.M)
    memory = re.search(r"^MemTotal: +(\d+)", read("/proc/meminfo"), re.M)
    flags = read("/proc/cpuinfo")
    known = ("aes", "pclmulqdq", "vaes", "vpclmulqdq", "avx512f")
    ciphers = [name for name in known if re.search(rf"\b{name}\b", flags)]
    return {
        "processor": f"{model[1] if model else os.uname().machine}, {os.cpu_count()} of them"
        + (", with " + ", ".join(ciphers) if ciphers else ""),
        "memory": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "kernel": f"{os.uname().sysname} {os.uname().release}, TCP with {congestion_control()}",
        "system": f"Debian {read('/etc/debian_version').strip()}",
        "load when it began": read("/proc/loadavg").split(" ")[0],
        "compared": ", ".join(versions()),
    }


def congestion_control():
    return read("/proc/sys/net/ipv4/tcp_congestion_control").strip() or "unknown congestion control"


def versions():
    asked = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *PACKAGES]
    done = subprocess.run(asked, capture_output=True, text=True)
    return [line for line in done.stdout.splitlines() if " " in line.strip()]
