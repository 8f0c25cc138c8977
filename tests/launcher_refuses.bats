#!/usr/bin/env bats
# What the launcher refuses: programs that ld.so would run without the library, libraries that it would leave out.
# Beside each refusal stands the nearest case that works.

load helpers
load launcher_helpers

setup_file() { launcher_setup_file; }
teardown_file() { launcher_teardown_file; }

setup() {
    common_setup
    cd "$BATS_TEST_TMPDIR" || return
}

# ---- programs --------------------------------------------------------------------------------------------------------

@test "a dynamic program is started, a static and a static-pie one refused" {
    dynamic_program dynamic
    run launch ./dynamic
    assert_status 0
    assert_output started
    static_program static
    assert_refused ./static 'statically linked'
    static_program static-pie -static-pie
    assert_refused ./static-pie 'statically linked'
}

@test "dynamically linked Go programs are refused, by either mark of Go's linker" {
    local marks
    for marks in '' -DNO_NOTE -DNO_SECTION; do
        # shellcheck disable=SC2086 # no word, or one
        gcc $marks -o program "$ROOT/tests/programs/go_like.c"
        assert_refused ./program 'built by Go'
        strip program
        assert_refused ./program 'built by Go'
    done
    gcc -DNO_NOTE -DNO_SECTION -o program "$ROOT/tests/programs/go_like.c"
    run launch ./program
    assert_status 0
}

@test "a program without position independence is started" {
    echo 'int main(void) { return 9; }' | gcc -no-pie -x c -o fixed -
    run launch ./fixed
    assert_status 9
}

@test "set-uid and set-gid programs are refused" {
    dynamic_program program
    chmod 4755 program
    assert_refused ./program 'set-uid or set-gid'
    chmod 2755 program
    assert_refused ./program 'set-uid or set-gid'
    chmod 755 program
    run launch ./program
    assert_status 0
}

@test "a program with file capabilities is refused" {
    require setcap getcap
    dynamic_program program
    setcap cap_net_bind_service=ep program
    assert_refused ./program 'file capabilities'
    setcap -r program
    run launch ./program
    assert_status 0
}

@test "file capabilities are found without getcap and getfattr as well" {
    sed -i 's/command -v getcap/command -v no-such-tool/; s/command -v getfattr/command -v no-such-tool/' \
        "$LAUNCHER-check"
    dynamic_program program
    setcap cap_net_bind_service=ep program
    assert_refused ./program 'file capabilities'
    setcap -r program
    run launch ./program
    assert_status 0
    cp "$ROOT/tools/p2ptls-check" "$LAUNCHER-check"
}

@test "a program for musl, or with another loader than glibc's, is refused" {
    dynamic_program program
    set_loader program /lib/ld-musl-x86_64.so.1
    assert_refused ./program 'built for musl (/lib/ld-musl-x86_64.so.1)'
    dynamic_program program
    set_loader program /system/bin/linker64
    assert_refused ./program 'is not glibc'
}

@test "a glibc loader that is missing gives 127, as the kernel says" {
    dynamic_program program
    set_loader program /lib64/ld-linux-none.so.2
    run -127 launch ./program
    assert_output_has '/lib64/ld-linux-none.so.2 is missing'
}

@test "a loader that does not load the library is found out, whatever its name" {
    mkdir lib
    cp "$(type -P echo)" lib/ld-linux.so.2
    dynamic_program program
    set_loader program lib/ld-linux.so.2
    assert_refused ./program 'does not load'
}

@test "a program for another machine, word size or byte order is refused" {
    dynamic_program program
    overwrite program 18 '\267\0' # EM_AARCH64
    assert_refused ./program 'another architecture'
    dynamic_program program
    overwrite program 4 '\1' # ELFCLASS32
    assert_refused ./program 'another architecture'
    dynamic_program program
    overwrite program 5 '\2' # ELFDATA2MSB
    assert_refused ./program 'another architecture'
}

@test "damaged ELF files are refused: program headers beyond the end, none, or a header cut short" {
    dynamic_program program
    overwrite program 32 '\0\0\0\0\0\0\0\100' # e_phoff
    assert_refused ./program 'statically linked'
    dynamic_program program
    overwrite program 56 '\0\0' # e_phnum
    assert_refused ./program 'statically linked'
    dynamic_program program
    truncate -s 40 program
    assert_refused ./program 'statically linked'
    truncate -s 10 program
    run launch ./program
    assert_status 125
}

@test "a file that is neither ELF nor text is refused" {
    printf 'MZ\0\1\2' >program
    chmod 755 program
    assert_refused ./program 'neither an ELF program nor a script'
}

@test "a program that may be executed but not read cannot be checked, and is refused" {
    cp /bin/true "$DIR/unreadable"
    chmod 711 "$DIR/unreadable"
    run as_nobody "$LAUNCHER" run -r 'connect *:1' -- "$DIR/unreadable"
    assert_status 125
    assert_output_has 'cannot be read by user nobody'
    chmod 755 "$DIR/unreadable"
    run as_nobody "$LAUNCHER" run -r 'connect *:1' -- "$DIR/unreadable"
    assert_status 0
}

# ---- scripts ---------------------------------------------------------------------------------------------------------

@test "scripts are started, whatever the form of their #! line" {
    local line
    for line in '#!/bin/sh' '#! /bin/sh' '#!\t/bin/sh -e ' '#!/usr/bin/env sh' '#! /usr/bin/env  sh ' \
        '#!/usr/bin/env -S sh -e' '#!/usr/bin/env -S A=1 B=2 sh' '#!/usr/bin/env --split-string=sh -e'; do
        script ./a-script "$line\necho started \"\$@\"\n"
        run launch ./a-script 'a b'
        assert_status 0
        assert_output 'started a b'
    done
}

@test "text without a #! line is a script for sh, as execvp does it" {
    script ./text 'echo started\n'
    run launch ./text
    assert_status 0
    assert_output started
}

@test "a script whose interpreter is refused is refused" {
    static_program interpreter
    script ./direct "#!$PWD/interpreter\n"
    assert_refused ./direct 'statically linked'
    script ./relative '#!interpreter\n'
    assert_refused ./relative 'statically linked'
    script ./by-env "#!/usr/bin/env $PWD/interpreter\n"
    assert_refused ./by-env 'statically linked'
    script ./by-env-words "#!/usr/bin/env -S A=1 $PWD/interpreter -x\n"
    assert_refused ./by-env-words 'statically linked'
    PATH=$PWD:$PATH
    script ./by-env-path '#!/usr/bin/env interpreter\n'
    assert_refused ./by-env-path 'statically linked'
}

@test "an interpreter that is a script itself is followed, to a depth that ends loops" {
    script ./inner '#!/bin/sh\necho started\n'
    script ./outer "#!$PWD/inner\n"
    run launch ./outer
    assert_status 0
    static_program static
    script ./inner "#!$PWD/static\n"
    assert_refused ./outer 'statically linked'
    script ./loop "#!$PWD/loop\n"
    assert_refused ./loop 'too many scripts'
}

@test "an env that could take the library or the policy out of the environment is refused" {
    local words
    # shellcheck disable=SC2016 # env -S would expand it
    for words in '-i' '--ignore-environment' '-S -i sh' '-S -u LD_PRELOAD sh' '-S LD_PRELOAD= sh' '-S "sh"' \
        '-S ${SHELL}' '-S P2PTLS_POLICY= sh' '-S A=1 P2PTLS_CONFIG=/dev/null sh' '-S XDG_CONFIG_HOME=/ sh' \
        '-S HOME=/nowhere sh'; do
        script ./a-script "#!/usr/bin/env $words\necho started\n"
        run launch ./a-script
        assert_status 125
        assert_output_without started$'\n'
    done
}

@test "a #! line without an interpreter, or with one that is missing or not executable" {
    script ./a-script '#! \n'
    assert_refused ./a-script 'names no interpreter'
    script ./a-script '#!/no/such/interpreter\n'
    run -127 launch ./a-script
    assert_output_has '/no/such/interpreter: not found'
    script ./a-script '#!/bin/sh\r\necho started\n'
    run -127 launch ./a-script
    script ./a-script '#!/etc/passwd\n'
    run launch ./a-script
    assert_status 126
}

# ---- the library -----------------------------------------------------------------------------------------------------

@test "a library that is missing is named" {
    P2PTLS_LIBRARY=$PWD/libp2ptls.so run launch echo started
    assert_status 125
    assert_output_has "$PWD/libp2ptls.so is missing"
    cp "$ROOT/tools/p2ptls" ./p2ptls
    run ./p2ptls run -r 'connect *:1' -- echo started
    assert_status 125
    assert_output_has "run 'make'"
}

@test "a library that the user cannot read, or reach, is named with the user" {
    run as_nobody "$LAUNCHER" run -r 'connect *:1' -- echo started
    assert_status 0
    assert_output started
    chmod 700 "$LIB"
    run as_nobody "$LAUNCHER" run -r 'connect *:1' -- echo started
    chmod 755 "$LIB"
    assert_status 125
    assert_output_has "$LIB cannot be read by user nobody"
    chmod 600 "${LIB%/*}/libp2ptls-core.so"
    run as_nobody "$LAUNCHER" run -r 'connect *:1' -- echo started
    chmod 755 "${LIB%/*}/libp2ptls-core.so"
    assert_status 125
    assert_output_has 'libp2ptls-core.so cannot be read by user nobody'
    mkdir -m 700 "$DIR/closed"
    cp "$LIB" "$DIR/closed/libp2ptls.so"
    P2PTLS_LIBRARY=$DIR/closed/libp2ptls.so run as_nobody "$LAUNCHER" run -r 'connect *:1' -- echo started
    assert_status 125
    assert_output_has 'user nobody may not enter'
}

own_library() { # makes a copy of the stand-ins in the test's folder, for tests that spoil it
    mkdir own
    cp "$LIB" "${LIB%/*}/libp2ptls-core.so" own/
    export P2PTLS_LIBRARY=$PWD/own/libp2ptls.so
}

@test "a library given by P2PTLS_LIBRARY is used, by an absolute path" {
    own_library
    P2PTLS_LIBRARY=own/libp2ptls.so run launch printenv LD_PRELOAD
    assert_status 0
    assert_output "$PWD/own/libp2ptls.so"
}

@test "a core that is missing is named" {
    own_library
    rm own/libp2ptls-core.so
    run launch echo started
    assert_status 125
    assert_output_has "$PWD/own/libp2ptls-core.so is missing"
}

@test "a core whose libraries or symbols are missing is found before the program runs" {
    own_library
    shared_library libneeded.so
    shared_library own/libp2ptls-core.so -Wl,--no-as-needed -L. -lneeded
    run launch echo started
    assert_status 125
    assert_output_has 'libneeded.so'
    assert_output_without started$'\n'
    LD_LIBRARY_PATH=$PWD run launch echo started
    assert_status 0
    echo 'extern int absent; int *use = &absent;' | gcc -shared -fPIC -x c -o own/libp2ptls-core.so -
    run launch echo started
    assert_status 125
    assert_output_has 'undefined symbol: absent'
}

@test "a library that is not ELF, or of another architecture, is refused" {
    own_library
    echo text >own/libp2ptls.so
    run launch echo started
    assert_status 125
    assert_output_has 'not an ELF file'
    cp "$LIB" own/libp2ptls.so
    overwrite own/libp2ptls.so 18 '\267\0'
    run launch echo started
    assert_status 125
    assert_output_has 'another architecture'
    mkdir own/folder
    P2PTLS_LIBRARY=$PWD/own/folder run launch echo started
    assert_status 125
    assert_output_has 'is not a file'
}

@test "a library that the loader gives up on is found out: ld.so itself would only warn" {
    own_library
    overwrite own/libp2ptls.so 16 '\2\0' # ET_EXEC
    run launch echo started
    assert_status 125
    assert_output_has 'does not load'
    assert_output_has 'cannot be preloaded'
}

@test "a second copy of the library, by another path that the loader takes, is refused: two would encrypt twice" {
    mkdir second other
    cp "$LIB" second/libp2ptls.so
    gcc -shared -fPIC -x c -o other/libother.so - -Wl,--no-as-needed,-rpath,"$PWD/second" -Lsecond -l:libp2ptls.so \
        </dev/null
    LD_PRELOAD=$PWD/other/libother.so run launch echo started
    assert_status 125
    assert_output_has 'another libp2ptls.so is loaded'
}

@test "a library that does not answer which rules hold in the program is refused" {
    own_library
    shared_library own/libp2ptls.so
    run launch echo started
    assert_status 125
    assert_output_has 'does not say which rules hold in it'
}

@test "a path that LD_PRELOAD cannot name is refused" {
    local name
    # shellcheck disable=SC2016 # ld.so would expand it
    for name in 'a b' 'a:b' $'a\tb' 'a$LIB'; do
        mkdir "$name"
        cp "$LIB" "${LIB%/*}/libp2ptls-core.so" "$name/"
        P2PTLS_LIBRARY=$PWD/$name/libp2ptls.so run launch echo started
        assert_status 125
        assert_output_has 'LD_PRELOAD cannot name'
    done
}

# ---- places ----------------------------------------------------------------------------------------------------------

@test "the library is found from a moved tree, and through a link to the launcher" {
    mkdir tree
    cp -r "$DIR/bin" "$DIR/lib" tree/
    run tree/bin/p2ptls run -r 'connect *:1' -- printenv LD_PRELOAD
    assert_output "$PWD/tree/lib/p2ptls/libp2ptls.so"
    ln -s "$PWD/tree/bin/p2ptls" link
    run ./link run -r 'connect *:1' -- printenv LD_PRELOAD
    assert_output "$PWD/tree/lib/p2ptls/libp2ptls.so"
}

@test "in the source tree the library is the one that was built" {
    mkdir tools build
    cp "$ROOT/tools/p2ptls" "$ROOT/tools/p2ptls-check" tools/
    cp "$LIB" "${LIB%/*}/libp2ptls-core.so" build/
    run tools/p2ptls run -r 'connect *:1' -- printenv LD_PRELOAD
    assert_output "$PWD/build/libp2ptls.so"
}
