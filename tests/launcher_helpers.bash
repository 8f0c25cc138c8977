# shellcheck shell=bash
# shellcheck disable=SC2154 # output is set by run
# Helpers of the launcher's suites: an installed tree with stand-in libraries, and programs that must be refused.

# The tree is outside of bats's own folder, which other users may not enter.
launcher_setup_file() {
    DIR=$(mktemp -d)
    LAUNCHER=$DIR/bin/p2ptls
    LIB=$DIR/lib/p2ptls/libp2ptls.so
    export DIR LAUNCHER LIB
    chmod 755 "$DIR"
    mkdir -p "$DIR/bin" "$DIR/lib/p2ptls"
    cp "$ROOT/tools/p2ptls" "$ROOT/tools/p2ptls-check" "$DIR/bin/"
    answering_library "$LIB"
    shared_library "$DIR/lib/p2ptls/libp2ptls-core.so" -Wl,--no-as-needed -lgnutls
    shared_library "$DIR/libother.so"
    shared_library "$DIR/libthird.so"
}

launcher_teardown_file() {
    rm -rf "$DIR"
}

shared_library() { # FILE [OPTION]...
    echo 'int stand_in;' | gcc -shared -fPIC -x c -o "$1" - "${@:2}"
}

# As the library answers when it is asked how many rules hold in a program.
answering_library() { # FILE
    gcc -shared -fPIC -x c -o "$1" - <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void answer(void)
{
    if (!getenv("P2PTLS_CHECK"))
        return;
    puts("p2ptls: rules 1, for other programs 0");
    fflush(stdout);
    _exit(0);
}
END
}

launch() { # COMMAND...
    "$LAUNCHER" run -r 'connect *:1' -- "$@"
}

launched_log() { # INHERITED [OPTION]: prints the program's P2PTLS_LOG
    if [ -n "$1" ]; then
        export P2PTLS_LOG=$1
    fi
    # shellcheck disable=SC2016 # for the inner shell
    "$LAUNCHER" run -r 'connect *:1' "${@:2}" -- sh -c 'printf %s "${P2PTLS_LOG:-}"'
}

as_nobody() { # COMMAND...
    setpriv --reuid nobody --regid nogroup --clear-groups -- "$@"
}

static_program() { # FILE [-static-pie]
    printf '#include <stdio.h>\nint main(void) { return puts("started") < 0; }\n' |
        gcc "${2:--static}" -x c -o "$1" -
}

# Runs a program that must be refused: 125, a message that names it and says why, and it did not run.
assert_refused() { # PROGRAM REASON
    run launch "$1"
    assert_status 125
    assert_contains "$output" "p2ptls: $1"
    assert_contains "$output" 'not started'
    assert_contains "$output" "$2"
    refute_contains "$output" started$'\n'
}

# Copies a dynamic program that prints "started", for tests that spoil the copy.
dynamic_program() { # FILE
    printf '#include <stdio.h>\nint main(void) { return puts("started") < 0; }\n' | gcc -x c -o "$1" -
}

# Overwrites bytes of FILE at OFFSET (decimal); BYTES in printf's notation.
overwrite() { # FILE OFFSET BYTES
    # shellcheck disable=SC2059 # the bytes are the format
    printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# Replaces the dynamic loader's name in an ELF file by a name that is not longer.
set_loader() { # FILE LOADER
    "$PYTHON" - "$1" "$2" <<'END'
import re, sys
path, loader = sys.argv[1:]
data = open(path, 'rb').read()
old = re.search(rb'/lib64/ld-linux-x86-64\.so\.2', data).group()
open(path, 'r+b').write(data.replace(old, loader.encode().ljust(len(old), b'\0'), 1))
END
}

script() { # FILE TEXT
    printf '%b' "$2" >"$1"
    chmod 755 "$1"
}
