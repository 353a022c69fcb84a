# fish completion for cachectl. Written by cachectl-docgen; what a command accepts is at the end.

# The words before the cursor, in parts: the command, its arguments, and after "+" the command
# line that stands behind ours; before all that, as "--root=DIR", which cache it is.
function __cachectl_parse
    set -l words (commandline -opc)
    set -l option
    set -l command
    for i in (seq 2 (count $words))
        set -l word $words[$i]
        if test -n "$option"
            contains -- $option --root --config; and echo $option=$word
            set option
            continue
        end
        switch $word
            case --
                echo +
                test $i -lt (count $words); and printf '%s\n' $words[(math $i + 1)..-1]
                return
            case '--root=*' '--config=*'
                echo $word
            case '--*=*'
            case '-?*'
                contains -- $word (__cachectl_valued $command); and set option $word
            case '*'
                if test -z "$command"
                    set command $word
                    echo :$word
                else if contains -- $command $__cachectl_runners
                    echo +
                    printf '%s\n' $words[$i..-1]
                    return
                else
                    echo :$word
                end
        end
    end
end

# Whether this is the place of argument N of that command, or one of those from N on.
function __cachectl_at
    set -l parts (__cachectl_parse)
    contains -- + $parts; and return 1
    set parts (string match -r -- '^:.*' $parts)
    test "$argv[1]" = ''; and test (count $parts) -eq 0; and return 0
    test "$parts[1]" = ":$argv[1]"; or return 1
    test -z "$argv[2]"; and return 0
    test (count $parts) -eq $argv[2]; and return 0
    test "$argv[3]" = more; and test (count $parts) -gt $argv[2]
end

function __cachectl_behind
    contains -- + (__cachectl_parse)
end

function __cachectl_program
    set -l parts (__cachectl_parse)
    set -l at (contains -i -- + $parts)
    set -l rest
    test $at -lt (count $parts); and set rest $parts[(math $at + 1)..-1]
    complete -C (string join ' ' -- (string escape -- $rest) (commandline -ct))
end

function __cachectl_call
    set -l place (string match -r -- '^--(?:root|config)=.*' (__cachectl_parse) |
        string replace -r '=~/' "=$HOME/")
    test (count $place) -gt 0; and string match -qr -- '[$`*?(]' $place; and return
    command cachectl --quiet $place $argv 2>/dev/null </dev/null
end

function __cachectl_keys
    __cachectl_call ls | cut -f 1 | string match -v -r -- '\\\\|^-'
end

function __cachectl_leases
    __cachectl_call lease list | string replace -r '\t.*\t([^\t]*\t[^\t]*)$' '\t$1'
end

function __cachectl_pools
    if contains -- :checkin (__cachectl_parse)
        __cachectl_call pool list --json |
            string replace -f -r '.*"state":"leased".*"path":"([^"\\\\]*)"}$' '$1'
    else
        __cachectl_call pool list --json | string replace -f -r '^{"key":"([^"\\\\]*)".*' '$1' | sort -u
    end
end

function __cachectl_entries
    __cachectl_call config show | string replace -f -r '^entries\.(.*?)\.source .*' '$1' |
        string match -v -r -- '[*?\[]|\\\\|^-'
end

function __cachectl_strategies
    __cachectl_call config show | string replace -f -r '^strategies\.([^ ]*) .*' '$1'
end

function __cachectl_variables
    set -nx
end

function __cachectl_directories
    __fish_complete_directories (commandline -ct)
end

complete -c cachectl -f
complete -c cachectl -n __cachectl_behind -a '(__cachectl_program)'
