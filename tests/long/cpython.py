#!/usr/bin/env python3
"""Runs a test module of CPython plain and under the library, and compares what fails with the listed differences.

usage: cpython.py LIBRARY DIFFERENCES MODULE [OPTIONS of python3 -m test]...

Prints what differs otherwise than listed, and exits 1. A test that differs in one run only is taken for chance."""
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

POLICY = 'any 127.0.0.0/8:*; any [::1]:*'
WITHOUT_TCP = {'test_select', 'test_selectors', 'test_subprocess'}  # pipes and UNIX sockets: nothing may change


def run(protection, module, options):
    """The results by test, and what the library logged."""
    with tempfile.TemporaryDirectory() as directory:
        results, log = os.path.join(directory, 'results.xml'), os.path.join(directory, 'log')
        environment = dict(os.environ, LC_ALL='C.UTF-8', TMPDIR=directory)
        if protection:
            environment |= {'LD_PRELOAD': protection, 'P2PTLS_POLICY': POLICY, 'P2PTLS_LOG': 'info:' + log}
        # --timeout is for a whole module: a bound for hangs.
        command = [sys.executable, '-m', 'test', '--timeout', '1200', '--junit-xml', results, *options, module]
        ended = subprocess.run(command, cwd=directory, env=environment, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if not os.path.exists(results):
            sys.exit(f'{" ".join(command)}: {ended.returncode}\n{ended.stdout.decode(errors="replace")[-4000:]}')
        outcome = {}
        for case in ElementTree.parse(results).iter('testcase'):
            children = {child.tag for child in case} & {'error', 'failure', 'skipped'}
            outcome[case.get('name')] = 'skipped' if children == {'skipped'} else 'failed' if children else 'passed'
        text = open(log).read() if os.path.exists(log) else ''
        return outcome, text


def differences(plain, protected):
    return {test for test in plain | protected if plain.get(test) != protected.get(test)}


def listed(path, module):
    with open(path) as lines:
        tests = [line.split()[0] for line in lines if line.strip() and not line.startswith('#')]
    return {test for test in tests if test.startswith(f'test.{module}.')}


def count(outcome):
    return ', '.join(f'{list(outcome.values()).count(word)} {word}' for word in ('passed', 'failed', 'skipped'))


def main():
    library, path, module, *options = sys.argv[1:]
    expected = listed(path, module)
    plain, _ = run(None, module, options)
    protected, log = run(library, module, options)
    found = differences(plain, protected)
    if chance := found ^ expected:
        only = [part for test in sorted(chance) for part in ('-m', test)]
        again = differences(run(None, module, only)[0], run(library, module, only)[0])
        found = (found - chance) | (again & (found | expected))
    print(f'{module}: plain {count(plain)}; protected {count(protected)}; {len(found)} differ')
    for test in sorted(found - expected):
        print(f'not listed: {test}: {plain.get(test)} plain, {protected.get(test)} protected')
    for test in sorted(expected - found):
        print(f'listed, and does not differ: {test}')
    missing = module not in WITHOUT_TCP and 'TLS_' not in log
    if missing:
        print('no handshake is in the log')
    sys.exit(found != expected or missing)


main()
