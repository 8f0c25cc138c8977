#!/usr/bin/env bats
# A change that slows a hot path is noticed: instructions and system calls of sealing, opening and small requests,
# against the library of an older commit (tests/instructions.base), which is built here, since GnuTLS picks its code by
# the processor. Counted by callgrind, in three ways: in the library's own code; outside of GnuTLS and Nettle, where a
# copy of bytes too many shows; in sum.

load helpers

PERCENT_MORE=5

# ---- measuring -------------------------------------------------------------------------------------------------------

# The base commit's library; the name of its folder.
build_base() { # FILE that names the commit
    local commit folder
    require git || return
    commit=$(grep -v '^#' "$1" | tail -n 1)
    git -C "$ROOT" rev-parse --quiet --verify "$commit^{commit}" >"$BATS_TEST_TMPDIR/commit" ||
        fail "the base of the comparison, commit $commit of $1, is not in this repository: it takes a full clone" \
            "  (in a shallow one: git fetch --unshallow; outside of a repository there is nothing to compare with)" ||
        return
    folder=$P2PTLS_BUILD/base-$commit
    mkdir -p "$folder"
    git -C "$ROOT" archive "$commit" Makefile src preload | tar -x -C "$folder"
    make -s -C "$folder" -j2 BUILD=build lib >"$BATS_TEST_TMPDIR/make.log" 2>&1 ||
        fail "the base commit cannot be built" "$(tail -n 20 "$BATS_TEST_TMPDIR/make.log")" || return
    printf '%s\n' "$folder/build"
}

# Reads one of callgrind's files: the three counts of instructions, by the shared object that a line of costs is under.
# The line after calls= is the callee's cost again.
counts_of() { # FILE
    awk '/^ob=/ { object = $0; sub(/.*\//, "", object) }
        /^calls=/ { getline; next }
        /^[0-9]/ {
            sum += $2
            if (object ~ /^libp2ptls/) own += $2
            if (object !~ /^lib(gnutls|nettle|hogweed|gmp)\./) outside += $2
        }
        END { printf "%d %d %d\n", own, outside, sum }' "$1"
}

# One line for each part of the program: name, instructions, system calls of its thread. The helper's are not counted:
# when it looks is a matter of time.
measure() { # BUILD NAME
    local out=$BATS_TEST_TMPDIR/$2 preload=LD_PRELOAD=$1/libp2ptls.so part i=0
    require valgrind strace || return
    policy 'any 127.0.0.1:*'
    env "$preload" valgrind --tool=callgrind --callgrind-out-file="$out" --compress-strings=no --compress-pos=no \
        --toggle-collect='measure_*' --dump-after=part_ends "$PROGRAMS/hot_calls" >"$out.log" 2>&1 || return
    strace -qq -E "$preload" -o "$out.trace" "$PROGRAMS/hot_calls" >/dev/null || return
    sed -n 's/^part //p' "$out.log" | while read -r part; do
        i=$((i + 1))
        [ "$part" = warm ] || echo "$part $(counts_of "$out.$i") $(calls_before "$part" "$out.trace")"
    done
}

# System calls between the end of the part before, and its own.
calls_before() { # PART TRACE
    awk -v part="$1" '{ n++ }
        index($0, "write(1, \"part " part "\\n\"") { print n; exit }
        /^write\(1, "part / { n = 0 }' "$2"
}

# A table of both, and what is above the room.
compare() { # FILE FILE
    paste -d ' ' "$1" "$2" | awk -v room=$PERCENT_MORE '
        { if ($6 != $1) exit 1
          line = sprintf("%-12s", $1); worst = 0
          for (i = 2; i <= 5; i++) {
              ratio = $(i + 5) / $i
              if (ratio > worst) worst = ratio
              line = line sprintf("  %9d %9d %.3f", $i, $(i + 5), ratio)
          }
          print line (worst > 1 + room / 100 ? "  TOO MUCH" : "") }'
}

measure_base() {
    local folder
    folder=$(build_base "$ROOT/tests/instructions.base") || return
    measure "$folder" base >"$BATS_TEST_TMPDIR/base.costs"
}

# ---- tests -----------------------------------------------------------------------------------------------------------

@test "sealing, opening and small requests take at most 5 % more instructions and calls than in the base commit" {
    local table
    measure_base
    measure "$P2PTLS_BUILD" current >"$BATS_TEST_TMPDIR/current.costs"
    table=$(compare "$BATS_TEST_TMPDIR/base.costs" "$BATS_TEST_TMPDIR/current.costs")
    printf '# of base and now, and their ratio: own code; outside of GnuTLS; in sum; system calls\n%s\n' "$table"
    assert_equal "$(wc -l <<<"$table")" 10 "parts that were measured"
    refute_contains "$table" 'TOO MUCH'
}

# Twenty turns of a loop for each record, in a copy of the sources.
@test "the comparison finds a slowdown of some 80 instructions for each record that is sealed" {
    local copy=$BATS_TEST_TMPDIR/copy table
    mkdir -p "$copy/build"
    cp -a "$ROOT/Makefile" "$ROOT/src" "$ROOT/preload" "$copy"
    cp -a "$P2PTLS_BUILD/src" "$P2PTLS_BUILD/preload" "$copy/build"
    sed -i 's/^    build_nonce(nonce, k, seq);$/    for (volatile int i = 0; i < 20; i++);\n&/' "$copy/src/record.c"
    assert_equal "$(diff "$ROOT/src/record.c" "$copy/src/record.c" | grep -c '^>')" 1 'lines that were planted'
    make -s -C "$copy" BUILD=build lib
    measure "$P2PTLS_BUILD" current >"$BATS_TEST_TMPDIR/current.costs"
    measure "$copy/build" slow >"$BATS_TEST_TMPDIR/slow.costs"
    table=$(compare "$BATS_TEST_TMPDIR/current.costs" "$BATS_TEST_TMPDIR/slow.costs")
    echo "$table"
    assert_equal "$(awk '/TOO MUCH/ { print $1 }' <<<"$table" | xargs)" 'seal_1k seal_16k seal_64k gather_16k'
}

@test "a base commit that the clone does not have is an error that says what to do" {
    echo 0123456789012345678901234567890123456789 >"$BATS_TEST_TMPDIR/unknown"
    run build_base "$BATS_TEST_TMPDIR/unknown"
    assert_status 1
    assert_output_has 'is not in this repository: it takes a full clone'
}
