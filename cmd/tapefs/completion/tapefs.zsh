#compdef tapefs
# Completion of tapefs for zsh. In ~/.zshrc, after compinit:  source <(tapefs completion zsh)
_tapefs() {
	local -a answer plain open
	local line
	answer=("${(@f)$("${words[1]}" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
	case ${answer[1]} in
	files) _files ;;
	paths)
		for line in "${(@)answer[2,-1]}"; do
			if [[ $line == */ ]]; then open+=("$line"); else plain+=("$line"); fi
		done
		(( $#open )) && compadd -S '' -- "${(@)open}"
		(( $#plain )) && compadd -- "${(@)plain}"
		;;
	*) (( $#answer > 1 )) && compadd -- "${(@)answer[2,-1]}" ;;
	esac
}
compdef _tapefs tapefs
