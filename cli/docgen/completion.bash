# bash completion for cachectl. Written by cachectl-docgen; what a command accepts is at the end.

# The words before the cursor. Bash cuts at ':' and '=' too, which are usual in keys; what has no
# space between belongs together. Sets words, and for each where it begins in COMP_WORDS.
_cachectl_split() {
  local line=${COMP_LINE:0:COMP_POINT} i part rest
  words=() starts=()
  for ((i = 0; i <= COMP_CWORD; i++)); do
    part=${COMP_WORDS[i]}
    rest=${line#"${line%%[![:space:]]*}"}
    if ((i == COMP_CWORD)); then part=$rest; fi
    if ((i > 0)) && [[ $rest == "$line" && ($part == [:=]* || ${words[-1]} == *[:=]) ]]; then
      words[-1]+=$part
    else
      words+=("$part") starts+=("$i")
    fi
    line=${rest#"$part"}
  done
}

# The command, on the cache that the line names; not where the shell would have to expand that.
_cachectl_call() {
  local plain='^[A-Za-z0-9_./@%+,:= -]*$'
  [[ ${place[*]} =~ $plain ]] || return
  command cachectl --quiet "${place[@]}" "$@" 2>/dev/null </dev/null
}

# What can stand here, a line each.
_cachectl_list() {
  local line
  case $1 in
    keys)
      if [[ $current =~ ^[A-Za-z0-9_./:@%+,=-]+$ ]]; then
        _cachectl_call ls "$current*"
      else
        _cachectl_call ls
      fi | cut -f 1
      ;;
    leases) _cachectl_call lease list | cut -f 1 ;;
    pools)
      if [[ ${arguments[0]-} == checkin ]]; then
        _cachectl_call pool list --json |
          sed -n 's/.*"state":"leased".*"path":"\([^"\\]*\)"}$/\1/p'
      else
        _cachectl_call pool list --json | sed -n 's/^{"key":"\([^"\\]*\)".*/\1/p' | sort -u
      fi
      ;;
    entries)
      _cachectl_call config show | while IFS= read -r line; do
        [[ $line == entries.*.source\ * ]] || continue
        line=${line#entries.}
        line=${line%%.source *}
        [[ $line == *[*?[]* ]] || printf '%s\n' "$line"
      done
      ;;
    strategies) _cachectl_call config show | sed -n 's/^strategies\.\([^ ]*\) .*/\1/p' ;;
    variables) compgen -e ;;
    # shellcheck disable=SC2086  # a list
    commands) printf '%s\n' $commands ;;
    *'|'*) printf '%s\n' "${1//|/$'\n'}" ;;
  esac
}

# Replies with what begins like $current. Words are compared and inserted as the shell wants them
# quoted, and without what stands before a ':' or '=', where readline takes those for ends of words.
_cachectl_reply() {
  local kind word quoted before=''
  [[ $current == [\"\']* ]] && return
  [[ $COMP_WORDBREAKS == *=* && $current == *=* ]] && before=${current%"${current##*=}"}
  [[ $COMP_WORDBREAKS == *:* && ${current#"$before"} == *:* ]] &&
    before=${current%"${current##*:}"}
  for kind in $1; do
    case $kind in
      files) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
      directories) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
      *)
        while IFS= read -r word; do
          [[ $word == *\\* || $word == -* || -z $word ]] && continue
          printf -v quoted %q "$word"
          [[ $quoted == "$current"* ]] && COMPREPLY+=("${quoted#"$before"}")
        done < <(_cachectl_list "$kind")
        ;;
    esac
  done
}

# A command line behind ours, which begins at that word.
_cachectl_program() {
  local current=${words[-1]}
  if (($1 == ${#words[@]} - 1)); then
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -c -- "$current" | sort -u && compgen -d -- "$current")
  elif declare -F _command_offset >/dev/null; then
    _command_offset "${starts[$1]}"
  else
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}

_cachectl() {
  local -a words starts place=() arguments=()
  local i word pair option='' command='' commands flags values places line current kind
  _cachectl_split
  _cachectl_accepts ''
  for ((i = 1; i < ${#words[@]} - 1; i++)); do
    word=${words[i]}
    if [[ $option ]]; then
      [[ $option == --root || $option == --config ]] && place+=("$option=${word/#\~\//$HOME/}")
      option=
      continue
    fi
    case $word in
      --)
        [[ $line == none ]] || _cachectl_program $((i + 1))
        return
        ;;
      --root=* | --config=*) place+=("${word/=\~\//=$HOME/}") ;;
      --*=*) ;;
      -?*) [[ " $values" == *" $word:"* ]] && option=$word ;;
      *)
        if [[ -z $command ]]; then
          command=$word
          _cachectl_accepts "$command" || return
        elif [[ $line == anywhere ]]; then
          _cachectl_program "$i"
          return
        else
          arguments+=("$word")
        fi
        ;;
    esac
  done

  current=${words[-1]}
  if [[ -z $option && $current == --*=* ]]; then
    option=${current%%=*} current=${current#*=}
  fi
  if [[ $option ]]; then
    for pair in $values; do
      [[ $pair == "$option:"* ]] && kind=${pair#*:} && _cachectl_reply "${kind//,/ }"
    done
  elif [[ $current == -* ]]; then
    for pair in $values; do flags+=" ${pair%%:*}"; done
    mapfile -t COMPREPLY < <(compgen -W "$flags" -- "$current")
  elif [[ -z $command ]]; then
    _cachectl_reply commands
  elif [[ $line == anywhere ]]; then
    _cachectl_program "$i"
  else
    i=${#arguments[@]}
    for kind in $places; do
      ((i-- == 0)) || [[ $kind == *'*' ]] || continue
      kind=${kind%'*'}
      [[ $kind == - ]] || _cachectl_reply "${kind//,/ }"
      break
    done
  fi
}

complete -F _cachectl cachectl

