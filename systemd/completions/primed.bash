# bash completion for primed(8).
_primed() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
  case $before in
    --bus) COMPREPLY=($(compgen -W 'system session' -- "$word")) ;;
    --log-level)
      COMPREPLY=($(compgen -W 'emerg alert crit err warning notice info debug' -- "$word")) ;;
    --simulate)
      compopt -o filenames 2>/dev/null
      COMPREPLY=($(compgen -W "$(primectl scenario list 2>/dev/null | cut -d' ' -f1)" -- "$word")
        $(compgen -f -X '!*.json' -- "$word") $(compgen -d -- "$word")) ;;
    --pairs)
      compopt -o filenames 2>/dev/null
      COMPREPLY=($(compgen -f -- "$word")) ;;
    --cache) COMPREPLY=() ;;
    *)
      COMPREPLY=($(compgen -W '--bus --simulate --log-level --cache --pairs --help --version' -- "$word")) ;;
  esac
}
complete -F _primed primed
