"""Every error of the policy language is provoked: runs a program with each policy of policy_errors.list and compares
the message, then looks for error texts in the sources that neither the list nor docs/POLICY.md provokes. Prints what
differs."""
import os
import re
import subprocess
import sys

root, library = sys.argv[1:3]
failures = []


def read(path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read()


def expanded(text):
    """{TEXT*N}: that often; {0xNN}: a byte."""
    text = re.sub(r"\{([^{}]+)\*(\d+)\}", lambda m: m.group(1) * int(m.group(2)), text)
    return re.sub(rb"\{0x(..)\}", lambda m: bytes.fromhex(m.group(1).decode()), text.encode())


def message_of(policy):
    """Of the program that is not started, without its source and the end that all have."""
    environment = {"LD_PRELOAD": library, "HOME": "/nowhere", "P2PTLS_POLICY": expanded(policy)}
    done = subprocess.run(["/bin/true"], env=environment, capture_output=True, text=True, check=False)
    said = re.fullmatch(r"p2ptls: P2PTLS_POLICY:(.*); the program was not started\n", done.stderr)
    return said.group(1) if said and done.returncode == 125 else f"status {done.returncode}: {done.stderr}"


def rows(text):
    """Pairs of lines: a policy, and its message, four blanks in."""
    policy = None
    for line in text.split("\n"):
        if line.startswith("    "):
            yield policy, line[4:]
        elif line and not line.startswith(("#", "elsewhere ", "unprovoked ")):
            policy = line


def literals(source):
    """Texts in C that speak in sentences: adjacent strings joined, comments left out."""
    source = re.sub(r"/\*.*?\*/", "", source, flags=re.S)
    source = re.sub(r'"\s*\n\s*"', "", source)
    for literal in re.findall(r'"((?:[^"\\\n]|\\.)*)"', source):
        text = re.sub(r"\\(.)", r"\1", literal)
        if re.search(r"[a-z]{2,}.* [a-z]{2,}", text):
            yield text


def pattern_of(text):
    parts = re.split(r"%[-.*0-9]*z?[a-z]", text)
    return ".*".join(re.escape(part) for part in parts)


listed = read("tests/policy_errors.list")
known = [row.group(1) for row in re.finditer(r"^\| `.*?` \| `(.*)` \|$", read("docs/POLICY.md"), re.M)]
count = 0
for policy, message in rows(listed):
    count += 1
    found = message_of(policy)
    known.append(message)
    if found != message:
        failures.append(f"{policy}\n    {message}\n    found: {found}")

for place, text in re.findall(r"^elsewhere (\S+) (.*)$", listed, re.M):
    known.append(text)
    if text not in re.sub(r"' \\\n\s*'", "", read(place)):
        failures.append(f"{place} does not hold: {text}")

known += re.findall(r"^unprovoked (.*)$", listed, re.M)
messages = "\n".join(known)
folder = os.path.join(root, "src")
sources = sorted(f for f in os.listdir(folder) if re.fullmatch(r"policy.*\.c|trust\.c", f))
for source in sources:
    for text in literals(read("src/" + source)):
        if not re.search(pattern_of(text), messages):
            failures.append(f"src/{source}: nothing provokes: {text}")

print("\n".join(failures))
print(f"{count} policies, {len(known)} messages, {len(sources)} sources")
sys.exit(bool(failures) or count < 100)
