#!/usr/bin/env bats
# The benchmark itself: that every contender can be measured, that what should be ciphertext is, and that who fails is
# reported. Numbers are not judged here, but for counts of system calls, which do not depend on speed.

load helpers

bench() { # OPTIONS...: next to no work; results in $RESULTS
    RESULTS=$BATS_TEST_TMPDIR/results
    run --separate-stderr "$ROOT/tools/bench/bench" --build "$P2PTLS_BUILD" --tiny --rounds 1 --output "$RESULTS" "$@"
}

# A stand-in for a program, found before the real one.
instead_of() { # NAME SCRIPT
    mkdir -p "$BATS_TEST_TMPDIR/bin"
    printf '#!/bin/bash\n%s\n' "$2" >"$BATS_TEST_TMPDIR/bin/$1"
    chmod 755 "$BATS_TEST_TMPDIR/bin/$1"
    PATH=$BATS_TEST_TMPDIR/bin:$PATH
}

# Numbers of a measure in results.csv, one a line.
numbers_of() { # MEASURE CONTENDER VALUE
    sed -n "s/^$1,$2,[0-9]*,$3,//p" "$RESULTS/results.csv"
}

@test "one measure of our programs and one of redis: every contender has its row, and nothing failed" {
    local contender
    bench --only bulk-16k,redis-p1
    assert_status 0
    for contender in plain p2ptls gnutls openssl stunnel spiped socat haproxy; do
        assert_matches "$(numbers_of bulk-16k $contender cpu_s_per_gb)" '^[0-9.]+$'
    done
    for contender in plain p2ptls own stunnel spiped socat haproxy; do
        assert_matches "$(numbers_of redis-p1 $contender get_per_s)" '^[0-9.]+$'
    done
    for contender in 'plain TCP' p2ptls "the program's own TLS" 'our program on GnuTLS' 'our program on OpenSSL' \
        'stunnel pair' 'spiped pair' 'socat pair' 'HAProxy as TLS proxy'; do
        assert_output_has "| $contender |"
    done
    assert_output_has '| p2ptls | TLS_AES_128_GCM_SHA256 | mutual certificates | ciphertext |'
    assert_output_has '| plain TCP | none | nobody is proven | in clear |'
    assert_matches "$output" '\| bulk, writes of 16 KiB: CPU, of plain TCP with AEAD \| [^|]* \| [0-9.]+ \|'
    assert_contains "$(cat "$RESULTS/bulk-16k.svg")" '<svg'
    "$PYTHON" -c 'import json, sys; json.load(open(sys.argv[1]))' "$RESULTS/results.json"
}

@test "nginx, PostgreSQL, handshakes, starts, round trips and many connections can be measured" {
    bench --contenders plain,p2ptls,own,gnutls \
        --only nginx,postgresql,handshakes-ed25519,handshakes-p256,start,start-first,first,crowd
    assert_status 0
    assert_matches "$(numbers_of nginx own gb_per_s)" '^[0-9.]+$'
    assert_matches "$(numbers_of postgresql p2ptls tps)" '^[0-9.]+$'
    assert_matches "$(numbers_of start-first p2ptls added_ms)" '^-?[0-9.]+$'
    assert_matches "$(numbers_of crowd p2ptls kib_100)" '^[0-9.]+$'
    assert_equal "$(numbers_of first plain round_trips)" 1.0
}

@test "small reads of large records take fewer system calls than on plain TCP" {
    bench --contenders plain,p2ptls --only tiny
    assert_status 0
    assert_matches "$output" 'reads of 1 to 100 bytes: system calls, [^|]*\| less than 1 times \| 0\.[0-9]+ \| met '
}

@test "a contender that cannot run is reported as failed, the others are measured, and the status is 1" {
    instead_of spiped 'echo no such key >&2; exit 3'
    bench --contenders plain,spiped --only bulk-1k
    assert_status 1
    assert_output_has '**failed**: spiped pair, bulk-1k: spiped ended: no such key'
    assert_output_has '| spiped pair | **failed** | **failed** |'
    assert_matches "$(numbers_of bulk-1k plain cpu_s_per_gb)" '^[0-9.]+$'
    assert_equal "$(numbers_of bulk-1k spiped cpu_s_per_gb)" ''
}

@test "a contender that passes on in clear what it should protect is reported as failed" {
    # shellcheck disable=SC2016 # for the stand-in
    instead_of stunnel4 'from=$(sed -n "s/^accept = 127.0.0.1://p" "$1") to=$(sed -n "s/^connect = //p" "$1")
exec socat TCP-LISTEN:$from,bind=127.0.0.1,fork TCP:$to'
    bench --contenders plain,stunnel --only bulk-1k
    assert_status 1
    assert_output_has '**failed**: stunnel pair, bulk-1k: what was sent is on the wire in clear'
    assert_equal "$(numbers_of bulk-1k stunnel cpu_s_per_gb)" ''
}

@test "p2ptls without its library is reported as failed" {
    local launcher=$BATS_TEST_TMPDIR/launcher
    # shellcheck disable=SC2016 # for the stand-in
    printf '#!/bin/sh\nshift 4\nexec "$@"\n' >"$launcher"
    chmod 755 "$launcher"
    bench --launcher "$launcher" --contenders plain,p2ptls --only bulk-1k
    assert_status 1
    assert_output_has '**failed**: p2ptls, bulk-1k: what was sent is on the wire in clear'
}

@test "CPU time counts threads, children that live and children that have ended" {
    run --separate-stderr "$PYTHON" -B - "$ROOT/tools/bench" <<'END'
import os, resource, sys, subprocess
sys.path.insert(0, sys.argv[1])
from processes import cpu_ns, tree
burn = "import time, threading\ndef burn():\n while time.process_time() < 0.2: pass\n"
ended = burn + "t = threading.Thread(target=burn); t.start(); t.join()"
lives = burn + "burn(); print('done', flush=True); input()"
code = f"import subprocess\nsubprocess.run(['{sys.executable}', '-c', {ended!r}])\n"
code += f"subprocess.run(['{sys.executable}', '-c', {lives!r}])\n"
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
counted = cpu_ns(tree(child.pid)) / 1e9
child.communicate(b"\n")
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print("counted", round(counted, 2), "of", round(used.ru_utime + used.ru_stime, 2))
assert counted >= 0.38 and abs(counted - used.ru_utime - used.ru_stime) < 0.1
END
    assert_status 0
}

@test "the memory of a process is its own: others that map the same libraries do not change it" {
    run --separate-stderr "$PYTHON" -B - "$ROOT/tools/bench" <<'END'
import subprocess, sys
sys.path.insert(0, sys.argv[1])
from processes import pss_bytes
code = "import ssl\nkept = bytearray(b'x') * 3000000\nprint('ready', flush=True)\ninput()"
def start():
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    return child
first = start()
alone = pss_bytes(first.pid)
others = [start() for _ in range(3)]
beside = pss_bytes(first.pid)
for child in [first, *others]:
    child.communicate(b"\n")
print(alone, beside)
assert alone > 3000000 and abs(alone - beside) < 50000
END
    assert_status 0
}

@test "a measure or contender that does not exist is an error that names those that do; no runs at all are one" {
    bench --only bulk
    assert_status 2
    # shellcheck disable=SC2154 # set by run
    assert_contains "$stderr" 'no such measure: bulk; there are bulk-1k, bulk-16k'
    bench --contenders ssh
    assert_status 2
    assert_contains "$stderr" 'no such contender: ssh; there are plain, p2ptls'
    local option
    for option in --runs --rounds; do
        bench $option 0
        assert_status 2
        assert_contains "$stderr" "'0' is no number of 1 or more"
    done
}

# Rounds in which a machine was busy differ in both contenders: what counts is the ratio in each round.
@test "marks are judged by the median of the ratios of rounds, and what was not measured is not met" {
    run --separate-stderr "$PYTHON" -B - "$ROOT/tools/bench" <<'END'
import sys
sys.path.insert(0, sys.argv[1])
from marks import judge
from measures import all_measures
from run import Results

def verdicts(keys, samples, calls=None):
    measures = all_measures()
    results = Results([measures[key] for key in keys], quick=False)
    results.samples, results.calls = samples, calls or {}
    return {mark.what: (mark.text(mark.found), mark.verdict) for mark in judge(results)}

def rounds(value, *numbers):
    return [{value: number} for number in numbers]

# Ratios 1.2, 1.3, 6.0: met, though the ratio of the medians (2.6) would be missed.
samples = {"p2ptls": rounds("cpu_s_per_gb", 1.2, 2.6, 6), "plain": rounds("cpu_s_per_gb", 1, 2, 1)}
kib = verdicts(["bulk-1k"], {"bulk-1k": samples})
assert kib == {"writes of 1 KiB: CPU, of plain TCP": ("1.30", "met")}, kib
at_limit = {"start": {"p2ptls": rounds("added_ms", 0.3)}}
assert list(verdicts(["start"], at_limit).values()) == [("0.30", "met")]
assert list(verdicts(["start"], {"start": {"p2ptls": rounds("added_ms", 0.31)}}).values()) == [("0.31", "missed")]
assert list(verdicts(["start"], {}).values()) == [("-", "not measured")]
# "Fewer" and "more than" are not met by as many.
calls = {"tiny": {"p2ptls": {"client": {"recvfrom": 4, "ppoll": 1}}, "plain": {"client": {"read": 5}}}}
assert list(verdicts(["tiny"], {"tiny": {}}, calls).values()) == [("1.000", "missed")]
same = {"get_per_s": 5, "set_per_s": 5}
redis = verdicts(["redis-p1"], {"redis-p1": {key: [same] for key in ("p2ptls", "plain", "own")}})
assert [verdict for _, verdict in redis.values()] == ["met", "missed", "met", "missed"], redis
full = {"handshakes-p256": {"p2ptls": [{"per_s": 100, "cpu_ms": 2}], "gnutls": [{"per_s": 200, "cpu_ms": 2}]}}
resumed = {"resumed-p256": {"p2ptls": [{"per_s": 300, "cpu_ms": 0.5, "resumes": 1}]}}
both = verdicts(["handshakes-p256", "resumed-p256"], {**full, **resumed})
assert list(both.values()) == [("0.50", "missed"), ("1.00", "met"), ("3.00", "met"), ("4.00", "met")], both
resumed["resumed-p256"]["p2ptls"][0]["resumes"] = 0
assert list(verdicts(["resumed-p256"], {**full, **resumed}).values()) == [("-", "no resumption")] * 2
END
    assert_status 0
}

@test "a run finds nothing of what a server has left in the run before" {
    # shellcheck disable=SC2016 # the stand-in's own
    instead_of redis-server 'while [ "$1" != --dir ]; do a+=("$1"); shift; done
        [ ! -e "$2/left" ] || exit 1
        touch "$2/left"; exec /usr/bin/redis-server "${a[@]}" "$@"'
    bench --runs 2 --contenders plain --only redis-p1
    assert_status 0
    assert_equal "$(numbers_of redis-p1 plain get_per_s | wc -l)" 1
}

@test "of several runs the median counts, and a mark that one of them has no number for is not met" {
    run --separate-stderr "$PYTHON" -B - "$ROOT/tools/bench" <<'END'
import sys
sys.path.insert(0, sys.argv[1])
from marks import Mark, over_runs

def combined(*found):
    mark, = over_runs([[Mark("start", 0.3, number)] for number in found])
    return mark.text(mark.found), mark.verdict, mark.runs

assert combined(0.2, 0.9, 0.25) == ("0.25", "met", [0.2, 0.9, 0.25])
assert combined(0.2, 0.9, 0.8) == ("0.80", "missed", [0.2, 0.9, 0.8])
assert combined(0.2, None, 0.2) == ("-", "not measured", [0.2, None, 0.2])
END
    assert_status 0
}

@test "a run that is told to end ends what it has started, and leaves no files" {
    export TMPDIR=$BATS_TEST_TMPDIR/work
    mkdir "$TMPDIR"
    start bench "$ROOT/tools/bench/bench" --build "$P2PTLS_BUILD" --output "$BATS_TEST_TMPDIR/results" \
        --only handshakes-ed25519 --contenders p2ptls,stunnel
    wait_until "pgrep -f '^stunnel4 $TMPDIR' >/dev/null"
    kill "$(pid_of bench)"
    finish bench || :
    assert_equal "$(pgrep -af "$TMPDIR" || :)" ''
    assert_equal "$(ls "$TMPDIR")" ''
}
