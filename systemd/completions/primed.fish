# fish completion for primed(8).
complete -c primed -f
complete -c primed -l bus -x -a 'system session' -d 'The bus to serve on'
complete -c primed -l simulate -r -F -a "(primectl scenario list 2>/dev/null | string replace -r '  +' \t)" -d 'Serve a machine in a file'
complete -c primed -l log-level -x -a 'emerg alert crit err warning notice info debug' -d 'What to log'
complete -c primed -l cache -x -d 'How many buffers to remember'
complete -c primed -l pairs -r -F -d 'Own rows of the pair table'
complete -c primed -l help -d 'Say how to use it'
complete -c primed -l version -d 'Print the version'
