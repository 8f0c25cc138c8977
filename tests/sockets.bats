#!/usr/bin/env bats
# Small programs that use sockets in every documented way, each run twice: on plain TCP, which shows that the program
# is right, and under the library on both ends, which must make no difference.

load helpers
load program_helpers

# Every mode with ordinary buffers, with the smallest that plain TCP itself gets through with, with data right behind
# the handshake, and with the connection's halves in several threads. (SO_SNDBUF and SO_RCVBUF both at
# the kernel's minimum stall plain TCP in zero-window probes; SO_RCVBUF alone at the minimum stalls any connection whose
# first segments leave a window of less than one segment, as a server's flight does.)
torture() { # plain|protected MODE
    local seed=1 variant
    for variant in '--bytes 4194304' '--early' '--sndbuf 1 --bytes 300000' '--rcvbuf 2304 --bytes 200000' \
        '--sndbuf 1 --rcvbuf 2304 --bytes 200000' '--max 50 --bytes 100000' '--max 16385 --bytes 2000000' \
        '--threads --bytes 1000000'; do
        # shellcheck disable=SC2086 # the variant is several words
        "$1" torture --mode "$2" --seed $((seed++)) --bytes 1000000 $variant || return
    done
}

# The connection's halves, or an end of it, in processes that are forked when it is open.
each_way_to_wait() { # plain|protected
    local way
    for way in poll select epoll epoll-edge epoll-once; do
        "$1" early_full $way || return
    done
}

torture_forked() { # plain|protected
    local mode
    for mode in blocking poll-dontwait nonblocking-poll select epoll-level epoll-edge epoll-edge-split; do
        "$1" torture --mode $mode --seed 1 --forked-halves --bytes 1000000 || return
        "$1" torture --mode $mode --seed 2 --fork --early --bytes 1000000 || return
    done
}

# Each kind of call by itself, so that a failure names it.
torture_calls() { # plain|protected MODE
    local calls
    for calls in read,write recv,send readv,writev recvmsg,sendmsg recvfrom,sendto peek,sendfile waitall,more \
        dontwait,write; do
        "$1" torture --mode "$2" --bytes 500000 --calls $calls || return
    done
}

@test "torture, blocking (plain)" { torture plain blocking; }
@test "torture, blocking (protected)" { torture protected blocking; }
@test "torture, MSG_DONTWAIT on blocking descriptors (plain)" { torture plain poll-dontwait; }
@test "torture, MSG_DONTWAIT on blocking descriptors (protected)" { torture protected poll-dontwait; }
@test "torture, non-blocking with poll (plain)" { torture plain nonblocking-poll; }
@test "torture, non-blocking with poll (protected)" { torture protected nonblocking-poll; }
@test "torture, non-blocking with select (plain)" { torture plain select; }
@test "torture, non-blocking with select (protected)" { torture protected select; }
@test "torture, level-triggered epoll (plain)" { torture plain epoll-level; }
@test "torture, level-triggered epoll (protected)" { torture protected epoll-level; }
@test "torture, edge-triggered epoll: short means empty or full (law 3) (plain)" { torture plain epoll-edge; }
@test "torture, edge-triggered epoll: short means empty or full (law 3) (protected)" { torture protected epoll-edge; }
@test "torture, an epoll set for each direction (plain)" { torture plain epoll-edge-split; }
@test "torture, an epoll set for each direction (protected)" { torture protected epoll-edge-split; }
@test "torture, halves and ends in forked processes (plain)" { torture_forked plain; }
# A fork while another thread starts or ends can find locks of gcc's AddressSanitizer held, and the child then hangs:
# forks of live connections are left to valgrind.
# bats test_tags=unsanitized
@test "torture, halves and ends in forked processes (protected)" { torture_forked protected; }
@test "torture, each kind of call by itself, blocking (plain)" { torture_calls plain blocking; }
@test "torture, each kind of call by itself, blocking (protected)" { torture_calls protected blocking; }
@test "torture, each kind of call by itself, edge-triggered (plain)" { torture_calls plain epoll-edge-split; }
@test "torture, each kind of call by itself, edge-triggered (protected)" { torture_calls protected epoll-edge-split; }

@test "a program that connects to itself and writes before it accepts (plain)" { plain self_connect; }
@test "a program that connects to itself and writes before it accepts (protected)" { protected self_connect; }
@test "two processes that connect to each other, write, then accept (plain)" { plain loops_cross blocking; }
@test "two processes that connect to each other, write, then accept (protected)" { protected loops_cross blocking; }
@test "two event loops that connect to each other at the same moment (plain)" { plain loops_cross epoll; }
@test "two event loops that connect to each other at the same moment (protected)" { protected loops_cross epoll; }
@test "TCP simultaneous open (plain)" { plain simultaneous_open; }
@test "TCP simultaneous open (protected)" { protected simultaneous_open; }
@test "non-blocking connect, refused and repeated connects (plain)" { plain nonblock_connect; }
@test "non-blocking connect, refused and repeated connects (protected)" { protected nonblock_connect; }

@test "a writer that is faster than the handshake is not told of room that is not there (law 4) (plain)" {
    each_way_to_wait plain
}
@test "a writer that is faster than the handshake is not told of room that is not there (law 4) (protected)" {
    each_way_to_wait protected
}

@test "what was written survives every way to exit (law 5) (plain)" { plain write_exit; }
@test "what was written survives every way to exit (law 5) (protected)" { protected write_exit; }
@test "what was written survives a close with the peer's bytes unread (plain)" { plain close_race; }
@test "what was written survives a close with the peer's bytes unread (protected)" { protected close_race; }
@test "what was written survives an immediate close, unlike plain TCP (protected)" { protected close_race --strict; }

@test "a fork for each connection, the parent closes at once (law 6) (plain)" { plain fork_server fork; }
# bats test_tags=unsanitized
@test "a fork for each connection, the parent closes at once (law 6) (protected)" { protected fork_server fork; }
@test "workers that share a listener (plain)" { plain fork_server prefork; }
@test "workers that share a listener (protected)" { protected fork_server prefork; }
@test "a thread for each connection (plain)" { plain threads_echo server; }
@test "a thread for each connection (protected)" { protected threads_echo server; }
@test "many threads on one descriptor (plain)" { plain threads_echo shared; }
@test "many threads on one descriptor (protected)" { protected threads_echo shared; }

@test "an edge-triggered server with 200 pipelining clients (laws 3 and 4) (plain)" { plain readiness; }
@test "an edge-triggered server with 200 pipelining clients (laws 3 and 4) (protected)" { protected readiness; }
@test "the same with the smallest send buffers (plain)" { plain readiness small; }
@test "the same with the smallest send buffers (protected)" { protected readiness small; }
@test "epoll on blocking descriptors tells no lies (law 4) (plain)" { plain epoll_blocking; }
@test "epoll on blocking descriptors tells no lies (law 4) (protected)" { protected epoll_blocking; }
@test "peek, waitall, trunc, more, FIONREAD, dup, and readiness without lies (law 4) (plain)" { plain flags; }
@test "peek, waitall, trunc, more, FIONREAD, dup, and readiness without lies (law 4) (protected)" { protected flags; }
@test "O_NONBLOCK changed by numbers, copies, threads and children (plain)" { plain modes; }
@test "O_NONBLOCK changed by numbers, copies, threads and children (protected)" { protected modes; }

@test "timeouts, EINTR, SIGPIPE and shutdown as libc does them (law 7) (plain)" { plain timeouts; }
@test "timeouts, EINTR, SIGPIPE and shutdown as libc does them (law 7) (protected)" { protected timeouts; }
@test "signal handlers that read and write the socket in use (law 7) (plain)" { plain signal_io handler; }
@test "signal handlers that read and write the socket in use (law 7) (protected)" { protected signal_io handler; }
@test "a storm of signals under SA_RESTART (plain)" { plain signal_io storm; }
@test "a storm of signals under SA_RESTART (protected)" { protected signal_io storm; }
@test "cancelled threads leave the connection usable (law 7) (plain)" { plain cancel; }
# gcc's AddressSanitizer keeps the stack of a thread that pthread_cancel unwound poisoned, and reports its next user.
# bats test_tags=unsanitized
@test "cancelled threads leave the connection usable (law 7) (protected)" { protected cancel; }
@test "threads cancelled at any instruction leave the connection usable (plain)" { plain cancel_async; }
# bats test_tags=unsanitized
@test "threads cancelled at any instruction leave the connection usable (protected)" { protected cancel_async; }
@test "siglongjmp out of blocked calls leaves the connection usable (law 7) (plain)" { plain longjmp; }
# gcc's AddressSanitizer keeps what a jump left on an alternate stack poisoned.
# bats test_tags=unsanitized
@test "siglongjmp out of blocked calls leaves the connection usable (law 7) (protected)" {
    protected longjmp
}
@test "a process that runs out of descriptors goes on (plain)" { plain exhaustion; }
@test "a process that runs out of descriptors goes on (protected)" { protected exhaustion; }
@test "a thread without a descriptor left connects to itself and turns it away (plain)" { plain exhaustion self; }
@test "a thread without a descriptor left connects to itself and turns it away (protected)" {
    protected exhaustion self
}

# ---- the relay and the raw peer, which other suites rely on --------------------------------------------------------

# Three records from a raw peer through the relay; gives in hex what arrives, and what comes back.
relayed() { # [--mode MODE]...
    rm -f "$BATS_TEST_TMPDIR"/{got,back}
    start listener "$PROGRAMS/rawpeer" listen --save "$BATS_TEST_TMPDIR/got" --end fin
    wait_for_log listener 'port '
    start relay "$PROGRAMS/record_relay" --to "$(port_in_log listener)" --record "$BATS_TEST_TMPDIR/dump" "$@"
    wait_for_log relay 'port '
    "$PROGRAMS/rawpeer" connect:"$(port_in_log relay)" --send hex:16030100020102 --send hex:1603030002aabb \
        --send hex:17030300021122 --end fin --save "$BATS_TEST_TMPDIR/back" >"$BATS_TEST_TMPDIR/sender.log" || return
    finish listener || return
    finish relay || return
    got=$(xxd -p -c 0 "$BATS_TEST_TMPDIR/got")
    back=$(xxd -p -c 0 "$BATS_TEST_TMPDIR/back")
}

@test "the relay passes, changes, drops and repeats records" {
    local a=16030100020102 b=1603030002aabb c=17030300021122
    while read -r want mode; do
        relayed --mode "$mode"
        assert_equal "$got/$back" "$want/" "$mode"
        assert_equal "$(xxd -p -c 0 "$BATS_TEST_TMPDIR/dump.c")" $a$b$c "the record of $mode"
    done <<EOT
$a$b$c pass
${a}1603030002abbb$c flip:c:1:5:0
$a$b$c flip:s:1:5:0
$a${b}1703030002ff22 rewrite:c:2:5:ff
$a$b$c split:1
$a$b$c coalesce
$a$b$c delay-ms:5
150303$a$b$c insert:c:0:150303
$b$c drop:c:0
$a$b$b$c repeat:c:1
$a$b$c reflect:s:1
EOT
}

@test "the relay reflects, fragments and cuts" {
    local a=16030100020102 b=1603030002aabb c=17030300021122
    relayed --mode reflect:c
    assert_equal "$got/$back" "/$a$b$c"
    relayed --mode reflect:c:0
    assert_equal "$got/$back" "$b$c/$a"
    relayed --mode refragment:c:1
    assert_equal "$got" 160301000101160301000102"1603030001aa1603030001bb$c"
    relayed --mode fin-after-bytes:c:7
    assert_equal "$got" $a
    relayed --mode stop-after-bytes:c:8
    assert_equal "$got" ${a}16
    relayed --mode rst-after-bytes:c:3
    assert_equal "$got" 160301
    assert_contains "$(cat "$(log_of listener)")" 'end reset'
}
