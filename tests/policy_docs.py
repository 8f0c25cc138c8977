"""Runs a program with every example of docs/POLICY.md as its policy: those of the text must be accepted, those of the
tables of errors refused with the very message. Prints what differs; to be run where /etc may be written to."""
import os
import re
import subprocess
import sys

document, options_table, library = sys.argv[1:4]
SYSTEM = "/etc/p2ptls/fleet.conf"
text = open(document, encoding="utf-8").read()
failures = []


def start(policy, system):
    """The message of the program with that policy, or "" if it was started. system: as a file of /etc/p2ptls."""
    environment = {"LD_PRELOAD": library, "HOME": "/nowhere"}
    if system:
        with open(SYSTEM, "w", encoding="utf-8") as file:
            file.write(policy)
    else:
        environment["P2PTLS_POLICY"] = policy
    done = subprocess.run(["/bin/true"], env=environment, capture_output=True, text=True, check=False)
    if system:
        os.unlink(SYSTEM)
    prefix = f"p2ptls: {SYSTEM if system else 'P2PTLS_POLICY'}:"
    suffix = "; the program was not started\n"
    if done.returncode == 0 and not done.stderr:
        return ""
    if not done.stderr.startswith(prefix) or not done.stderr.endswith(suffix) or done.returncode != 125:
        return f"status {done.returncode}, {done.stderr}"
    return done.stderr[len(prefix):-len(suffix)]


def check(policy, message, system=False):
    found = start(policy, system)
    if found != message:
        failures.append(f"{policy!r}:\n  expected {message!r}\n  found    {found!r}")


blocks = re.findall(r"^```conf\n(.*?)^```", text, re.M | re.S)
body, _, errors = text.partition("## Errors")
of_system = errors.index("/etc/p2ptls` also")
for block in blocks:
    check(block, "", " final " in block)

examples = 0
for row in body.splitlines():
    cells = row.split(" | ")
    if row.startswith("| `") and len(cells) == 4 and cells[0].endswith("=`"):
        example = re.fullmatch(r"`(.*)` \|", cells[3])
        if example:
            examples += 1
            check(example.group(1), "")
            for name in re.findall(r"`([a-z-]+=)`", cells[0]):
                if name not in example.group(1):
                    failures.append(f"the example of {name} does not use it")
        else:
            failures.append(f"no example in: {row}")

messages = 0
for row in re.finditer(r"^\| `(.*?)` \| `(.*)` \|$", errors, re.M):
    messages += 1
    check(row.group(1), row.group(2), row.start() > of_system)

known = re.findall(r'^    \{"([a-z-]+)", BIT', open(options_table, encoding="utf-8").read(), re.M)
for name in known:
    if f"| `{name}=`" not in body and f", `{name}=` |" not in body:
        failures.append(f"option {name}= has no row")
    if not re.search(rf"^\| `[^`]*\b{name}=", errors, re.M):
        failures.append(f"option {name}= has no error")

print("\n".join(failures))
print(f"{len(blocks)} blocks, {examples} examples, {messages} messages, {len(known)} options")
sys.exit(bool(failures) or not (blocks and examples and messages and known))
