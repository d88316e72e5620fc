# Completion of tapefs for bash. In ~/.bashrc:  source <(tapefs completion bash)
_tapefs() {
	local line kind candidates=()
	{
		IFS= read -r kind
		while IFS= read -r line; do candidates+=("$line"); done
	} < <("${COMP_WORDS[0]}" __complete bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
	COMPREPLY=()
	case $kind in
	files)
		compopt -o default
		return
		;;
	paths) compopt -o filenames -o nospace ;;
	esac
	COMPREPLY=("${candidates[@]}")
	if [[ $kind == paths && ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} != */ ]]; then compopt +o nospace; fi
}
complete -F _tapefs tapefs
