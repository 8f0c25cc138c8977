#!/usr/bin/env bats
# The libraries of script languages: Perl, Ruby and PHP, each as server and as client.
#
# program: Perl, Ruby, PHP
# runs: servers that fork (Perl) or have threads (Ruby), the web server of PHP; IO::Socket, HTTP::Tiny, TCPSocket,
#     Net::HTTP and file_get_contents as clients

load helpers

setup() {
    common_setup
    require perl ruby php || return
    random_file "$BATS_TEST_TMPDIR/body" 3M
    printf '%s' "$MARKER" >"$BATS_TEST_TMPDIR/marker"
}

CALLERS=$ROOT/tests/matrix/programs

start_script() { # plain|protected|traced perl|ruby
    ends "$1"
    start server "${SERVER[@]}" "$2" "$CALLERS/$2".* server
    wait_for_log server 'port '
    PORT=$(sed -n 's/^port //p' "$(log_of server)")
}

start_php() { # plain|protected|traced
    ends "$1"
    PORT=$(free_port)
    start server "${SERVER[@]}" php -n -S "127.0.0.1:$PORT" -t "$BATS_TEST_TMPDIR" "$CALLERS/php.php"
    wait_for_port "$PORT" server
}

# Each POSTs a file, and gets it back.
post() { # perl|ruby|php FILE
    case $1 in
    perl) "${CLIENT[@]}" perl "$CALLERS/perl.pl" post "http://127.0.0.1:$PORT/" "$2" ;;
    ruby) "${CLIENT[@]}" ruby "$CALLERS/ruby.rb" post "http://127.0.0.1:$PORT/" "$2" ;;
    php) "${CLIENT[@]}" php -n "$CALLERS/php.php" "http://127.0.0.1:$PORT/" "$2" ;;
    esac
}

post_marker() { # LANGUAGE
    assert_equal "$(post "$1" "$BATS_TEST_TMPDIR/marker")" "$MARKER"
}

on_both_ends() { # plain|protected|traced LANGUAGE
    if [ "$2" = php ]; then
        start_php "$1"
    else
        start_script "$1" "$2"
    fi
    on_the_wire "$1" "$PORT" post_marker "$2"
}

from_all() { # LANGUAGE of the server
    local language
    if [ "$1" = php ]; then
        start_php protected
    else
        start_script protected "$1"
    fi
    for language in perl ruby php; do
        assert_equal "$(post $language "$BATS_TEST_TMPDIR/body" | hash_of)" "$(hash_of "$BATS_TEST_TMPDIR/body")"
    done
    assert_both_protected "$PORT"
}

@test "Perl: a text there and back (plain: it is on the wire)" { on_both_ends plain perl; }
@test "Perl: a text there and back (protected: it is not)" { on_both_ends protected perl; }
@test "Perl: a text there and back (traced: all calls are the library's)" { on_both_ends traced perl; }
@test "Ruby: a text there and back (protected: it is not on the wire)" { on_both_ends protected ruby; }
@test "Ruby: a text there and back (traced: all calls are the library's)" { on_both_ends traced ruby; }
@test "PHP: a text there and back (protected: it is not on the wire)" { on_both_ends protected php; }
@test "PHP: a text there and back (traced: all calls are the library's)" { on_both_ends traced php; }
@test "Perl's server gives 3 MB back to clients of all three" { from_all perl; }
@test "Ruby's server gives 3 MB back to clients of all three" { from_all ruby; }
@test "PHP's server gives 3 MB back to clients of all three" { from_all php; }
