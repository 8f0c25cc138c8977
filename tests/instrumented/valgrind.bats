#!/usr/bin/env bats
# The library under valgrind: no invalid access, no use of what was never set, and nothing lost at exit.

load ../helpers
load ../program_helpers

# A program's own leaks count as well: these have none. The default timeout of handshakes is meant for real hardware.
OPTIONS=handshake-timeout=600s
setup() {
    common_setup
    require valgrind || return
    P2P+=(valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite)
}

@test "both directions, edge-triggered" { protected torture --mode epoll-edge --bytes 300000; }
@test "both directions, non-blocking, new keys after 3 records" {
    OPTIONS+=" rekey-after=3" protected torture --mode nonblocking-poll --bytes 100000 --max 5000
}
@test "both directions, threads that block" { protected torture --mode blocking --threads --bytes 300000; }
@test "halves in two processes" { protected torture --mode blocking --forked-halves --bytes 300000; }
@test "a program that connects to itself" { protected self_connect; }
@test "non-blocking connect, refused and repeated connects" { protected nonblock_connect; }
@test "a fork for each connection" { protected fork_server fork; }
@test "a close with bytes of the peer unread" { protected close_race; }
@test "threads that use, dup, close and connect again on the same numbers" { protected threads_churn 5; }
@test "a number that is copied while another thread connects on it" { protected dup_race 30; }
# valgrind does not obey the mask that a handler leaves in its context: a signal inside the library came again for ever.
@test "a storm of signals" { protected signal_io storm 300000 20000; }
