#compdef cachectl
# zsh completion for cachectl. Written by cachectl-docgen; what a command accepts is at the end.

# The command, on the cache that the line names; not where the shell would have to expand that.
_cachectl_call() {
  local -a place
  local -i at
  local word
  for ((at = 2; at <= $#_cachectl_line; ++at)); do
    word=${_cachectl_line[at]}
    [[ $word == -- ]] && break
    case $word in
      --root | --config) word=$word=${(Q)_cachectl_line[at + 1]} ;;
      --root=* | --config=*) word=${(Q)word} ;;
      *) continue ;;
    esac
    [[ $word == *[\$\`*?\(]* ]] && return
    [[ $word == *=\~/* ]] && word=${word%%=*}=$HOME/${word#*=\~/}
    place+=("$word")
  done
  command cachectl --quiet $place "$@" 2>/dev/null </dev/null
}

_cachectl_offer() { # TAG, and the words, a line each
  local -a found
  local tag=$1 expl
  found=(${(f)2})
  found=(${${found:#*\\*}:#-*})
  (($#found)) && _wanted $tag expl $tag compadd -a found
}

_cachectl_keys() { _cachectl_offer keys "$(_cachectl_call ls | cut -f 1)" }
_cachectl_leases() { _cachectl_offer leases "$(_cachectl_call lease list | cut -f 1)" }
_cachectl_pools() {
  local replicas=$(_cachectl_call pool list --json)
  if ((${_cachectl_line[(Ie)checkin]})); then
    _cachectl_offer replicas \
      "$(sed -n 's/.*"state":"leased".*"path":"\([^"\\]*\)"}$/\1/p' <<<$replicas)"
  else
    _cachectl_offer keys "$(sed -n 's/^{"key":"\([^"\\]*\)".*/\1/p' <<<$replicas | sort -u)"
  fi
}
_cachectl_entries() {
  local -a lines
  lines=(${(M)${(f)"$(_cachectl_call config show)"}:#entries.*.source *})
  lines=(${${lines#entries.}%%.source *})
  _cachectl_offer entries ${(F)lines:#*[*?\[]*}
}
_cachectl_strategies() {
  _cachectl_offer strategies "$(_cachectl_call config show |
    sed -n 's/^strategies\.\([^ ]*\) .*/\1/p')"
}
_cachectl_variables() { _parameters -g '*export*' }

