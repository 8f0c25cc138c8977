# shellcheck shell=bash
# Completion of p2ptls for bash: sub-commands, their options, files, programs, units.

# What a sub-command takes, beside --help.
_p2ptls_options() { # SUB-COMMAND
    case $1 in
    run) echo -r -f -v ;;
    check) echo -r --policy -f --config --program -v --verbose --from ;;
    show) echo -r --policy -f --config --program ;;
    genkey) echo -t --type -p --passphrase-file -f --force ;;
    genca) echo -n --name -t --type -k --key -p --passphrase-file -d --days --hours -u --until -f --force ;;
    gencert) echo -r --request -t --type -k --key -p --passphrase-file -d --days --hours -u --until -f --force ;;
    sign) echo -r --request --ca-key --ca-passphrase-file -t --type -k --key -p --passphrase-file -d --days --hours \
        -u --until -f --force ;;
    genpsk) echo -n --name -b --bytes -a --add -f --force ;;
    id) echo -i --file -w --words -q --qr --private -f --force ;;
    trust) echo -f --file ;;
    status) echo -s --sort -w --watch -i --interval -j --json --prometheus -o --output ;;
    doctor) echo -r --policy -f --config -p --pid ;;
    enable) echo -r --policy -f --config --root -y --yes --force --remove --loaded ;;
    version) echo --features ;;
    esac
}

# Words that are no options: actions, or nothing.
_p2ptls_actions() { # SUB-COMMAND
    case $1 in
    check) echo connect accept ;;
    id) echo show create fingerprint export ;;
    trust) echo add rm list ;;
    esac
}

_p2ptls_columns() { # END of each word
    printf '%s ' {program,pid,user,direction,peer,identity,role,cipher,protocol,state,age,received,sent,resumed}"$1"
}

_p2ptls_units() {
    systemctl list-unit-files --type=service --no-legend --no-pager 2>/dev/null | cut -d ' ' -f 1
}

# The value of the option in front of the word. Fails if it takes none.
_p2ptls_value() { # SUB-COMMAND OPTION WORD
    case $1,$2 in
    *,--type | gen*,-t | sign,-t) mapfile -t COMPREPLY < <(compgen -W 'ed25519 p256 p384' -- "$3") ;;
    *,--program) mapfile -t COMPREPLY < <(compgen -c -- "$3") ;;
    doctor,-p | *,--pid) mapfile -t COMPREPLY < <(compgen -W "$(ps -eo pid= 2>/dev/null)" -- "$3") ;;
    status,-s | *,--sort) mapfile -t COMPREPLY < <(compgen -W "$(_p2ptls_columns '')" -- "$3") ;;
    status,-i | *,--interval) ;;
    *,--root) mapfile -t COMPREPLY < <(compgen -d -- "$3") ;;
    *,--days | *,--hours | *,--until | *,--bytes | *,--name | *,--from | *,--policy) ;;
    gen*,-[dunb] | sign,-[du] | run,-r | check,-r | show,-r | doctor,-r | enable,-r) ;;
    *,--key | *,--ca-key | *,--passphrase-file | *,--ca-passphrase-file | *,--config | *,--file | *,--output | \
        sign,--request | run,-f | check,-f | show,-f | doctor,-f | enable,-f | trust,-f | id,-i | status,-o | \
        gen*,-[kp] | sign,-[kpr])
        mapfile -t COMPREPLY < <(compgen -f -- "$3") ;;
    *) return 1 ;;
    esac
    case $1,$2 in gencert,-r) return 1 ;; esac
}

_p2ptls() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]:-} words
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        words='run check show genca sign gencert genkey genpsk id trust status doctor enable version help'
        mapfile -t COMPREPLY < <(compgen -W "$words --help --version" -- "$word")
        return
    fi
    ! _p2ptls_value "$command" "$before" "$word" || return 0
    case $word in
    -*)
        mapfile -t COMPREPLY < <(compgen -W "$(_p2ptls_options "$command") --help" -- "$word")
        return ;;
    esac
    case $command in
    run | doctor) mapfile -t COMPREPLY < <(compgen -c -- "$word") ;;
    enable) mapfile -t COMPREPLY < <(compgen -W "$(_p2ptls_units)" -- "$word") ;;
    status)
        mapfile -t COMPREPLY < <(compgen -W "$(_p2ptls_columns '=')" -- "$word")
        compopt -o nospace 2>/dev/null || : ;; # outside of a completion there is none
    gen* | sign) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$(_p2ptls_actions "$command")" -- "$word") ;;
    esac
}

complete -o filenames -F _p2ptls p2ptls
