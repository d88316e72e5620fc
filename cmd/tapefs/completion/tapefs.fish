# Completion of tapefs for fish:  tapefs completion fish >~/.config/fish/completions/tapefs.fish
function __tapefs_words
    set -l before (commandline -opc)
    set -l now (commandline -ct | string unescape)
    set -l answer ($before[1] __complete fish $before[2..-1] "$now" 2>/dev/null)
    if test "$answer[1]" = files
        __fish_complete_path "$now"
    else if test (count $answer) -gt 1
        printf '%s\n' $answer[2..-1]
    end
end
complete -c tapefs -f -a '(__tapefs_words)'
