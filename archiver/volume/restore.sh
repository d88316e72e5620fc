#!/bin/sh
# Restores the files of a tapefs tape, or of several, without tapefs: README.txt beside this
# file says what the commands below do. Plain POSIX sh, openssl, GNU tar, awk, and small tools.
#
# shellcheck disable=SC2254,SC2012,SC2013  # patterns in variables; ls -ln is what all systems have

usage() {
	cat <<'TEXT'
usage: sh restore.sh [--check] [--set-id] [--parts DIR] KEY TARGET [TAPE-DIR...]

KEY        a key file, or a directory with several (*.key); openssl asks for the passphrase of
           those that are sealed with one
TARGET     the directory that receives the files; made if it is missing
TAPE-DIR   mounted tapes or copies of tapes; without any: where restore.sh lies

--parts DIR  for one drive: pieces of objects that lie on more than one tape are collected in DIR
             until all are there. Run once for each tape, lowest number first, always with
             the same TARGET and DIR. DIR may be removed after the last tape.
--check      compare everything with its sums before it is used, and leave out what is damaged (reads
             it twice), and prove by the key that manifests and catalogs were not forged: what fails
             that is not used, and objects that no proved manifest names are reported. Without it,
             sums are compared while files are unpacked, and damage is reported; SHA256SUMS itself
             can be forged
--set-id     restore set-uid, set-gid and sticky bits, too

Later objects hold newer states of files: give all tapes at once, or the lowest number first.
Of pieces that lie on several of the tapes, the one is taken whose sum is right.
Nothing is written outside of TARGET (and DIR), whatever names and links the objects have.
Options of tar can be given in TAR_OPTIONS, such as --numeric-owner.
Exit code: 0 all restored, 1 failed, 2 wrong usage, 3 restored, but something is missing.
TEXT
}

say() { printf '%s\n' "restore.sh: $*" >&2; }
die() {
	say "$*"
	exit 1
}

parts_dir=
check=
set_id=
while :; do
	case ${1-} in
	--help | -h) usage; exit 0 ;;
	--check) check=1; shift ;;
	--set-id) set_id=1; shift ;;
	--parts) [ $# -ge 2 ] || { usage >&2; exit 2; }; parts_dir=$2; shift 2 ;;
	--parts=*) parts_dir=${1#--parts=}; shift ;;
	--) shift; break ;;
	-*) usage >&2; exit 2 ;;
	*) break ;;
	esac
done
[ $# -ge 2 ] || { usage >&2; exit 2; }
key=$1
target=$2
shift 2
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
[ $# -gt 0 ] || set -- "$here"

LC_ALL=C
export LC_ALL
tmp=$(mktemp -d "${TMPDIR:-/tmp}/tapefs-restore.XXXXXX") || die "no temporary directory"
hidden=$(mktemp -d /dev/shm/tapefs-restore.XXXXXX 2>/dev/null) || hidden=$tmp # memory, for keys
work=
trap 'links_back 2>/dev/null; rm -rf "$tmp" "$hidden" ${work:+"$work"}' EXIT
trap 'exit 1' HUP INT TERM
: >"$tmp/bad"

links_back() { :; } # until there is a target

# A name that begins with - would be taken for an option.
plain_path() { case $1 in -*) path=./$1 ;; *) path=$1 ;; esac; }
plain_path "$key"; key=$path
plain_path "$target"; target=$path

# ---- the tapes: $1, $2, ... from here on

if [ -n "$parts_dir" ]; then
	plain_path "$parts_dir"; parts_dir=$path
	mkdir -p "$parts_dir" || die "cannot make $parts_dir"
	given=$#
	for d in "$parts_dir"/*/; do
		[ -d "$d/tapefs" ] && set -- "$@" "${d%/}"
	done
else
	given=$#
fi
for d; do
	# A tape that was labelled and not written to yet holds nothing: the others are restored.
	[ -d "$d/tapefs" ] || sed -n 1p "$d/README.txt" 2>/dev/null | grep -q '^tapefs-format ' || die "$d: there is no directory tapefs in it: not a tape of tapefs, or not mounted"
done

# tape N DIR...: sets dir to the N-th.
tape() { shift "$1"; plain_path "$1"; dir=$path; }

# volume_of DIR: the UUID in the first line of its README.txt, else "-".
volume_of() {
	volume=$(sed -n '1s/^tapefs-format .* volume=\([0-9a-fA-F-]\{1,64\}\) .*$/\1/p' "$1/README.txt" 2>/dev/null)
	[ -n "$volume" ] || volume=-
}

# ---- keys: $tmp/keys has a line "fingerprint number" for each

# nth_key N: sets keyfile, to the opened one if it is sealed with a passphrase.
nth_key() {
	nth_file "$1" || return
	[ ! -f "$hidden/key.$1" ] || keyfile=$hidden/key.$1
}

nth_file() {
	if [ -d "$key" ]; then
		i=0
		for keyfile in "$key"/*.key; do
			i=$((i + 1))
			[ "$i" -eq "$1" ] && return
		done
		return 1
	fi
	keyfile=$key
}

# add_key N: opens a sealed one.
add_key() {
	nth_file "$1"
	if [ "$(head -c 8 "$keyfile" | tr -d '\000')" = Salted__ ]; then
		say "$keyfile is sealed with a passphrase"
		(umask 077 && openssl enc -d -aes-256-cbc -pbkdf2 -iter 2000000 -md sha256 -in "$keyfile" -out "$hidden/key.$1") ||
			die "$keyfile: wrong passphrase, or the file is damaged; nothing was written"
		keyfile=$hidden/key.$1
	fi
	echo "$(fingerprint "$keyfile") $1" >>"$tmp/keys"
}

fingerprint() { { echo 'tapefs key id v1'; printf '%s\n' "$(cat "$1")"; } | openssl dgst -sha256 -r | cut -c1-16; }

command -v openssl >/dev/null || die "openssl is not installed"
command -v awk >/dev/null || die "awk is not installed"
[ -r "$key" ] || die "$key: cannot be read"
: >"$tmp/keys"
if [ -d "$key" ]; then
	n=0
	for f in "$key"/*.key; do
		n=$((n + 1))
		[ ! -f "$f" ] || add_key "$n"
	done
else
	add_key 1
fi
[ -s "$tmp/keys" ] || die "$key: no file *.key in it"

# key_for FINGERPRINT: sets keyfile.
key_for() {
	n=$(awk -v fp="$1" '$1 == fp { print $2; exit }' "$tmp/keys")
	[ -n "$n" ] && nth_key "$n"
}

decrypt() { openssl enc -d -aes-256-ctr -pbkdf2 -iter 10000 -md sha256 -pass "file:$keyfile" "$@"; }

# ---- proofs: an HMAC-SHA256 over the lines of a .mac file before "mac=" and the sealed file
#
# Its key is HKDF-SHA256 of the key. openssl takes such keys as arguments only, which every user of the machine can see,
# so both are made of plain sums here: HMAC(k, m) = sum(k ^ 5c.. , sum(k ^ 36.., m)).

# bytes_of HEX [MASK LENGTH]: these bytes, each XORed with MASK, filled up with zeros.
bytes_of() {
	left=$1
	count=0
	while [ -n "$left" ] || [ "$count" -lt "${3:-0}" ]; do
		byte=0
		if [ -n "$left" ]; then
			byte=$((0x${left%"${left#??}"}))
			left=${left#??}
		fi
		byte=$((byte ^ ${2:-0}))
		# shellcheck disable=SC2059  # an octal escape
		printf "\\$((byte / 64))$((byte / 8 % 8))$((byte % 8))"
		count=$((count + 1))
	done
}

# hmac KEY: of stdin; both as hex digits. Arguments of functions are no arguments of programs.
hmac() {
	{
		bytes_of "$1" 92 64
		{ bytes_of "$1" 54 64; cat; } | openssl dgst -sha256 -binary
	} | openssl dgst -sha256 -r | cut -c1-64
}

# mac_key FINGERPRINT: sets mac_key.
mac_key() {
	key_for "$1" || return
	if [ ! -s "$hidden/mac.$n" ]; then
		read -r secret <"$keyfile"
		secret=$(bytes_of "$secret" | hmac '')
		(umask 077 && { printf 'tapefs manifest v1'; printf '\001'; } | hmac "$secret" >"$hidden/mac.$n")
		secret=
	fi
	read -r mac_key <"$hidden/mac.$n"
}

# proof_in MAC-FILE: copies it to $tmp/mac, if it can be a proof: a plain file of a few lines of text, however much a forged tape has in
# its place. Otherwise sets why to what is wrong with it.
proof_in() {
	why=
	if [ -L "$1" ] || [ ! -f "$1" ]; then
		why='is no plain file'
	elif ! head -c 4097 <"$1" >"$tmp/mac" 2>/dev/null; then
		why='cannot be read'
	elif [ ! -s "$tmp/mac" ]; then
		why='is empty'
	elif [ "$(wc -c <"$tmp/mac")" -gt 4096 ]; then
		why='is too long for a proof'
	elif [ "$(tr -d '\n -~' <"$tmp/mac" | wc -c)" -gt 0 ]; then
		why='is no text'
	elif [ -L "${1%.mac}.tar.enc" ] || [ ! -f "${1%.mac}.tar.enc" ]; then
		why='has no plain file beside it that it could be the proof of'
	fi
	[ -z "$why" ]
}

# proved FINGERPRINT MAC-FILE: whether the proof in $tmp/mac of the sealed file beside it holds.
proved() {
	mac_key "$1" || return
	want=$(sed -n "s/^mac=\\($h64\\)\$/\\1/p" "$tmp/mac" | head -n 1)
	about=${2##*/}
	case $about in
	manifest-*) about=${about#manifest-}; [ "$(sed -n 's/^volume=//p' "$tmp/mac")-$(printf '%06d' "$(sed -n 's/^seq=\([1-9][0-9]\{0,8\}\)$/\1/p' "$tmp/mac")" 2>/dev/null)" = "${about%.mac}" ] || return ;;
	*) [ "catalog-$(sed -n 's/^time=//p' "$tmp/mac")" = "${about%.mac}" ] || return ;;
	esac
	[ -n "$want" ] && [ "$({ sed '/^mac=/d' "$tmp/mac"; cat "${2%.mac}.tar.enc"; } | hmac "$mac_key")" = "$want" ]
}

# ---- what is on the tapes
#
# $tmp/seen: V VOLUME                      a tape that was given
#            F TAPE VOLUME KEY SIZE NAME   a file that lies there
#            S VOLUME                      what follows stands in one SHA256SUMS file of this volume
#            O KEY OBJECT PARTS SIZE GRID  an object as SHA256SUMS describes it
#            N VOLUME KEY NAME SUM         a file that SHA256SUMS says lies on a volume
#            U KEY OBJECT                  an object that was never finished: its files are in a later one
#            B VOLUME BARCODE              the label of a tape that holds files of objects here
# Everything that comes from a tape is taken only if it is made of the letters we expect.

x8='[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]'
h16='[0-9a-f]\{16\}'
h32='[0-9a-f]\{32\}'
h64='[0-9a-f]\{64\}'
file="tapefs/\\($h16\\)/\\($h32\\.tar\\.enc\\(\\.[0-9]\\{4\\}\\)\\{0,1\\}\\)"
t=0
for d; do
	t=$((t + 1))
	plain_path "$d"; d=$path
	volume_of "$d"
	[ "$t" -gt "$given" ] || echo "V $volume"
	for k in "$d"/tapefs/*/; do
		id=${k%/}
		id=${id##*/}
		case $id in $x8$x8) ;; *) continue ;; esac
		ls -ln "$k" | awk -v t="$t" -v v="$volume" -v id="$id" '
			/^-/ && NF == 9 && length($9) >= 40 && $5 ~ /^[0-9]+$/ && $9 ~ /^[0-9a-f]+\.tar\.enc(\.[0-9][0-9][0-9][0-9])?$/ \
			&& index($9, ".") == 33 { print "F", t, v, id, $5, $9 }'
	done
	for s in "$d"/SHA256SUMS-*; do
		[ -f "$s" ] || continue
		own=$(sed -n '1s/^# tapefs-sums 1 volume=\([0-9a-fA-F-]\{1,64\}\) .*$/\1/p' "$s")
		echo "S ${own:--}"
		sed -n -e "s!^# object tapefs/\\($h16\\)/\\($h32\\)\\.tar\\.enc parts=\\([0-9]\\{1,4\\}\\) size=\\([0-9]\\{1,15\\}\\) part_size=\\([0-9]\\{1,15\\}\\)\$!O \\1 \\2 \\3 \\4 \\5!p" \
			-e "s!^# superseded tapefs/\\($h16\\)/\\($h32\\)\\.tar\\.enc\$!U \\1 \\2!p" \
			-e "s!^\\($h64\\)  $file\$!N ${own:--} \\2 \\3 \\1!p" \
			-e "s!^# elsewhere \\($h64\\)  $file .*volume=\\([0-9a-fA-F-]\\{1,64\\}\\)\$!N \\5 \\2 \\3 \\1!p" "$s"
		sed -n 's!^# elsewhere .* barcode=\([A-Za-z0-9]\{1,32\}\) number=[0-9]\{1,9\} volume=\([0-9a-fA-F-]\{1,64\}\)$!B \2 \1!p' "$s" | sort -u
	done
done >"$tmp/seen"

# $tmp/all, in the order of writing: OBJECT KEY STATE PLAIN-SIZE FILE@TAPE[,TAPE...]...
# STATE: whole, or trial (SHA256SUMS does not know the object: a try will tell), or missing.
# Of several tapes that have a file of the right size, the most trusted one comes first.
# $tmp/sums: KEY FILE SUM, what SHA256SUMS says most surely.
# $tmp/needs: OBJECT TAPE, by its barcode if that is known: where what is missing lies.
: >"$tmp/needs"
awk -v sums="$tmp/sums" -v needs="$tmp/needs" '
	$1 == "S" { s++; own = $2; next }
	$1 == "O" { k = $3 " " $2; parts[k] = $4; size[k] = $5; grid[k] = $6; infile[s, k] = 1; involume[own, k] = 1; next }
	$1 == "V" { given[$2] = 1; next }
	$1 == "U" { superseded[$3 " " $2] = 1; next }
	$1 == "B" { label[$2] = $3; next }
	$1 == "N" { if (!(($3, $4, $2) in placed)) { placed[$3, $4, $2] = 1; lies[$3, $4] = lies[$3, $4] " " $2 } n++; nvol[n] = $2; nobj[n] = substr($4, 1, 32) " " $3; nname[n] = $2 SUBSEP $3 SUBSEP $4; nfile[n] = s; nkey[n] = $3; nfor[n] = $4; nsum[n] = $5; next }
	{ c++; tape[c] = $2; len[c] = $5; name[c] = $6; vol[c] = $3; key[c] = $4 }
	END {
		# A piece that is named before its object is, may be of a run that was interrupted: the object was
		# sealed anew then, and what lies elsewhere under the same name does not fit to it.
		for (i = 1; i <= n; i++) {
			r = (nfile[i], nobj[i]) in infile ? 3 : (nvol[i], nobj[i]) in involume ? 2 : 1
			if (r > named[nname[i]] + 0) named[nname[i]] = r
			rank[i] = r
			if (r > top[nkey[i], nfor[i]] + 0) top[nkey[i], nfor[i]] = r
		}
		for (i = 1; i <= n; i++) if (rank[i] == top[nkey[i], nfor[i]]) print nkey[i], nfor[i], nsum[i] > sums
		# Of files of one name: the right size counts most, then how surely its tape knows it, then length.
		for (i = 1; i <= c; i++) {
			k = substr(name[i], 1, 32) " " key[i]
			p = length(name[i]) > 40 ? substr(name[i], 42) + 0 : 0
			score = len[i] + 0
			score += 1e17 * named[vol[i], key[i], name[i]]
			if (k in parts) {
				one = parts[k] < 2
				want = one ? size[k] : p < parts[k] ? grid[k] : size[k] - (parts[k] - 1) * grid[k]
				right = len[i] + 0 == want + 0 && (one ? p == 0 : p >= 1 && p <= parts[k] + 0)
				score = right ? score + 1 : 0
			} else score++
			if (score > best[k, p] + 0) {
				if ((k, p) in pick) second[k, p] = pick[k, p] " " second[k, p]
				best[k, p] = score; pick[k, p] = i
			} else if (score > 0) second[k, p] = second[k, p] " " i
			if (p > max[k] + 0) max[k] = p
			found[k] = 1
		}
		# What should lie on a given tape is missed, even if nothing of it is there.
		for (i = 1; i <= n; i++) if (nvol[i] in given) found[nobj[i]] = 1
		for (k in found) {
			if ((k in superseded) && !(k in parts)) continue
			if (k in parts) { state = "whole"; first = parts[k] < 2 ? 0 : 1; last = parts[k] < 2 ? 0 : parts[k] + 0 }
			else { state = "trial"; first = max[k] > 0 ? 1 : 0; last = max[k] + 0 }
			list = ""; sum = 0; absent = ""
			for (p = first; p <= last; p++) {
				if (!((k, p) in pick)) {
					state = "missing"; absent = absent " " p
					oid = substr(k, 1, 32)
					m = split(lies[substr(k, 34), oid ".tar.enc" (p ? sprintf(".%04d", p) : "")], volumes, " ")
					for (j = 1; j <= m; j++) if (!(volumes[j] in given)) print oid, (volumes[j] in label ? label[volumes[j]] : "with-volume-" volumes[j]) > needs
					continue
				}
				i = pick[k, p]; sum += len[i]
				list = list " " name[i] "@" tape[i]
				m = split(second[k, p], more, " ")
				for (j = 1; j <= m; j++) if (len[more[j]] == len[i]) list = list "," tape[more[j]]
			}
			if (state == "missing") print k, state, (first ? last : 1), "lacks" absent " has" list
			else if (sum < 16) print k, "missing", 1, "lacks 0 has"
			else printf "%s %s %.0f%s\n", k, state, sum - 16, list
		}
	}' "$tmp/seen" | sort >"$tmp/all"
[ -s "$tmp/all" ] || die "no object on these tapes"

# ---- reading objects

# problem TEXT: said at once, and again at the end.
problem() { say "$*"; echo "$*" >>"$tmp/bad"; }

# sealed KEY-ID FILES TAPE-DIR...: FILES is a list of NAME@TAPE.
sealed() {
	id=$1
	list=$2
	shift 2
	for p in $list; do
		p=${p%%,*}
		tape "${p#*@}" "$@"
		cat "$dir/tapefs/$id/${p%@*}" || [ -n "$quiet" ] || problem "$dir/tapefs/$id/${p%@*}: not read to its end; files in this object may be damaged"
	done
}

# summed KEY-ID FILES TAPE-DIR...: as sealed, and compares the sums on the way.
summed() {
	id=$1
	list=$2
	shift 2
	pieces=0
	for p in $list; do pieces=$((pieces + 1)); done
	piece=0
	for p in $list; do
		piece=$((piece + 1))
		tape "${p#*@}" "$@"
		f=$dir/tapefs/$id/${p%@*}
		[ "$pieces" -eq 1 ] || say "  piece $piece of $pieces, from $dir"
		openssl dgst -sha256 -r <"$tmp/fifo" >"$tmp/sum" &
		{ cat "$f" || problem "$f: not read to its end; files in this object may be damaged"; } | tee "$tmp/fifo"
		wait $!
		right "$id" "${p%@*}" "$(cut -c1-64 "$tmp/sum")" ||
			problem "$f: DAMAGED, its sum is not that of SHA256SUMS; files in this object may be damaged"
	done
}
mkfifo "$tmp/fifo" || die "no pipe can be made in $tmp"

# right KEY-ID NAME SUM: whether SHA256SUMS has this sum, or none at all, for a file; with --check what proved manifests say
# counts more.
right() {
	if [ -s "$tmp/proved" ]; then
		part=0
		case $2 in *.tar.enc.????) part=$(expr "${2##*.}" - 1) ;; esac
		grep -q "^$(echo "$2" | cut -c1-32) $part " "$tmp/proved" && { grep -q -x "$(echo "$2" | cut -c1-32) $part $3" "$tmp/proved"; return; }
	fi
	awk -v id="$1" -v name="$2" -v sum="$3" '
		$1 == id && $2 == name { known = 1; if ($3 == sum) ok = 1 }
		END { exit !ok && known }' "$tmp/sums"
}

# sum_of FILE: also of one that cannot be read to its end.
sum_of() { { openssl dgst -sha256 -r <"$1"; } 2>/dev/null | cut -c1-64; } # its name is not printed: that may be odd

# choose KEY-ID FILES TAPE-DIR...: sets files to one tape for each piece, of several that whose sum is
# right, and damaged to the pieces that are right nowhere. Pieces on one tape only are read with --check.
choose() {
	id=$1
	list=$2
	shift 2
	files=
	damaged=
	for p in $list; do
		name=${p%@*}
		tapes=${p#*@}
		chosen=
		case $tapes,$check in
		*,*,* | *,1) ;;
		*) chosen=$tapes ;;
		esac
		rest=$tapes,
		while [ -z "$chosen" ] && [ -n "$rest" ]; do
			tape "${rest%%,*}" "$@"
			say "comparing the sum of $dir/tapefs/$id/$name"
			if right "$id" "$name" "$(sum_of "$dir/tapefs/$id/$name")"; then
				chosen=${rest%%,*}
			else
				say "$dir/tapefs/$id/$name: its sum is not that of SHA256SUMS"
			fi
			rest=${rest#*,}
		done
		if [ -z "$chosen" ]; then
			damaged="$damaged $name"
			chosen=${tapes%%,*}
		fi
		files="$files $name@$chosen"
	done
	files=${files# }
}

# looks_right KEY-ID FILES TAPE-DIR...: whether the key opens the object: a tar header says "ustar".
quiet=
looks_right() {
	[ "$(quiet=1; sealed "$@" 2>/dev/null | head -c 528 | decrypt 2>/dev/null | dd bs=1 skip=257 count=5 2>/dev/null | tr -d '\000')" = ustar ]
}

# The right key, before anything is written. $tmp/without: fingerprints that no key fits.
: >"$tmp/without"
[ -f "$tmp/sums" ] || : >"$tmp/sums"
good=
for id in $(cut -d' ' -f2 "$tmp/all" | sort -u); do
	if ! key_for "$id"; then
		echo "$id" >>"$tmp/without"
		continue
	fi
	awk -v id="$id" '$2 == id && $3 != "missing"' "$tmp/all" | head -n 5 >"$tmp/first"
	[ -s "$tmp/first" ] || { good=1; continue; }
	fits=
	while read -r _ _ _ _ files <&3; do
		looks_right "$id" "$files" "$@" && { fits=1; break; }
	done 3<"$tmp/first"
	[ -n "$fits" ] || die "wrong key: $keyfile has the right fingerprint, $id, but opens none of the first objects; nothing was written"
	good=1
done
if [ -z "$good" ]; then
	die "wrong key: the tape needs key $(tr '\n' ' ' <"$tmp/without")and this is $(cut -d' ' -f1 "$tmp/keys" | tr '\n' ' '); nothing was written"
fi
while read -r id; do
	problem "no key for fingerprint $id: $(awk -v id="$id" '$2 == id { n++ } END { print n }' "$tmp/all") objects are left out"
done <"$tmp/without"

# With --check: which manifests and catalogs are proved ($tmp/unproved: which are not), and the sums of the proved manifests.
# $tmp/proved: OBJECT PART SUM.
: >"$tmp/unproved"
: >"$tmp/proved"
if [ -n "$check" ]; then
	for d; do
		plain_path "$d"; d=$path
		for m in "$d"/tapefs/*/manifest-*.mac "$d"/tapefs/*/catalog-*.mac; do
			[ -e "$m" ] || [ -L "$m" ] || continue
			id=${m%/*}
			id=${id##*/}
			case $id in $x8$x8) ;; *) continue ;; esac
			key_for "$id" || continue
			say "proving ${m%.mac}"
			if ! proof_in "$m"; then
				problem "$m $why: ${m%.mac}.tar.enc is not proved, and is not used"
				printf '%s\n' "${m%.mac}.tar.enc" >>"$tmp/unproved"
				continue
			fi
			if ! proved "$id" "$m"; then
				problem "${m%.mac}.tar.enc: its proof does not hold: it is damaged or FORGED, and is not used"
				printf '%s\n' "${m%.mac}.tar.enc" >>"$tmp/unproved"
				continue
			fi
			case $m in */manifest-*) ;; *) continue ;; esac
			decrypt -in "${m%.mac}.tar.enc" 2>/dev/null | tar -xOf - manifest.jsonl 2>/dev/null |
				sed -n "s!^{\"type\":\"sum\",\"object\":\"\\($h32\\)\",\"number\":\\([0-9]\\{1,4\\}\\),\"size\":[0-9]*,\"sha256\":\"\\($h64\\)\".*!\\1 \\2 \\3!p" >>"$tmp/proved"
		done
	done
fi
unproved() { grep -q -x -F -e "$1" "$tmp/unproved"; }

inode() { ls -di "$1" | awk '{ print "inode", $1 }'; }

# Missing ones, and trials; $tmp/plan holds what will be restored. With --parts, DIR/restored names
# what an earlier run has restored well.
total=$(($(wc -l <"$tmp/all")))
number=0
latest=
done_before=
if [ -n "$parts_dir" ] && [ -f "$parts_dir/restored" ]; then
	# Only what went into this very directory counts, and only while something is in it.
	if [ -n "$(ls -A "$target" 2>/dev/null)" ] && [ "$(inode "$target")" = "$(head -n 1 "$parts_dir/restored")" ]; then
		done_before=$parts_dir/restored
		latest=$(grep -x "$h32" "$done_before" | sort | tail -n 1)
	else
		rm -rf "$parts_dir/restored" "$parts_dir/events" "$parts_dir/forgotten"
	fi
fi

# needed OBJECT: which tapes hold what is missing of it, as far as those that are here tell.
needed() {
	awk -v oid="$1" '$1 == oid && !seen[$2]++ { list = list (list ? " or " : "") $2 } END { if (list) printf ", which lies on tape %s", list }' "$tmp/needs"
}

while read -r oid id state plain files <&3; do
	number=$((number + 1))
	[ -s "$tmp/without" ] && grep -q "^$id\$" "$tmp/without" && continue
	[ -n "$done_before" ] && grep -q -x "$oid" "$done_before" && continue
	case $state in
	missing)
		case $plain in
		1) problem "object $oid is not whole on these tapes$(needed "$oid"): left out" ;;
		*)
			problem "object $oid: not all of its $plain parts are here (${files% has*}$(needed "$oid")): left out"
			[ -n "$parts_dir" ] && echo "$id ${files#* has}" >>"$tmp/collect"
			;;
		esac
		continue
		;;
	trial)
		say "trying object $number of $total, which no list names"
		key_for "$id"
		if ! sealed "$id" "$files" "$@" | decrypt 2>/dev/null | {
			tar -tf - >/dev/null 2>&1
			result=$?
			cat >/dev/null # what tar did not want to see
			exit "$result"
		}; then
			problem "object $oid is not in SHA256SUMS, and is not whole: left out; if more was written to it, that lies on a tape with a higher number"
			[ -n "$parts_dir" ] && echo "$id $files" >>"$tmp/collect"
			continue
		fi
		say "object $oid is not in SHA256SUMS, but looks whole"
		;;
	esac
	choose "$id" "$files" "$@"
	if [ -s "$tmp/proved" ] && ! grep -q "^$oid " "$tmp/proved"; then
		problem "object $oid: no proved manifest names it; whoever could write to the tape may have made it"
	fi
	if [ -n "$damaged" ]; then
		# A later tape may have what is damaged here.
		if [ -n "$parts_dir" ]; then
			whole=
			for p in $files; do
				case "$damaged " in *" ${p%@*} "*) ;; *) whole="$whole $p" ;; esac
			done
			[ -z "$whole" ] || echo "$id $whole" >>"$tmp/collect"
		fi
		if [ -n "$check" ]; then
			problem "object $oid is damaged: left out"
			continue
		fi
	fi
	echo "$oid $id $plain $files"
done 3<"$tmp/all" >"$tmp/plan"

# ---- files that changed while they were archived (void), or were forgotten, are left out
#
# void.list and forget.list in the manifests: OBJECT PATH, the path with odd bytes as \0ooo.
t=0
for d; do
	t=$((t + 1))
	plain_path "$d"; d=$path
	for m in "$d"/tapefs/*/manifest-*.tar.enc; do
		[ -f "$m" ] && [ -f "${m%.tar.enc}.mac" ] || continue # where a tape was full, half a manifest may lie
		unproved "$m" && continue
		id=${m%/*}
		id=${id##*/}
		case $id in $x8$x8) ;; *) continue ;; esac
		key_for "$id" || continue
		decrypt -in "$m" 2>/dev/null | tar -xOf - void.list >"$tmp/void" 2>/dev/null ||
			problem "$m: cannot be read; files that changed while they were archived may come out wrong"
		cat "$tmp/void"
		# Tapes of older programs have none of these. Their lines cannot be mistaken for each other.
		decrypt -in "$m" 2>/dev/null | tar -xOf - meta.list moved.list forget.list gone.list >"$tmp/lists" 2>/dev/null
		cat "$tmp/lists" >>"$tmp/meta"
		cat "$tmp/lists"
	done
done | sed -n 's!^\([0-9a-f]\{32\}\) \([A-Za-z0-9/._+@%=:\\-]\{1,\}\)$!\1 \2!p' | sort -u >"$tmp/voids"

# $tmp/exclude.OBJECT: the paths as tar reads them from a file. Those that such a file cannot hold (it has one a line, and
# blanks at the end do not count) stay as they are, in $tmp/odd.OBJECT.
awk -v out="$tmp/" '
	BEGIN { for (i = 0; i < 256; i++) char[sprintf("\\0%03o", i)] = sprintf("%c", i) }
	$1 != oid { close(out "exclude." oid); close(out "odd." oid); oid = $1 }
	$2 ~ /\\00(00|12)|\\0(011|013|014|015|040)$/ { print > (out "odd." oid); next }
	{
		left = $2
		text = ""
		while (match(left, /\\0[0-3][0-7][0-7]/)) {
			text = text substr(left, 1, RSTART - 1) char[substr(left, RSTART, 5)]
			left = substr(left, RSTART + 5)
		}
		print text left > (out "exclude." oid)
	}' "$tmp/voids"

gnu=
for tar in tar gtar; do
	"$tar" --version 2>/dev/null | grep -q 'GNU tar' && { gnu=1; break; }
done
if [ -z "$gnu" ]; then
	tar=tar
	say "tar is not GNU tar: objects are unpacked one by one; times of directories and odd names may suffer,"
	say "and files that changed while they were archived, or were forgotten, are not left out"
fi

# ---- files that got another name: their bytes are written once, under the old one
#
# moved.list in the manifests: OBJECT NEW OLD. Before that object is unpacked, and those after it, what is at OLD
# is NEW, too. $tmp/moves has them in order.

letters='A-Za-z0-9/._+@%=:\\-'
touch "$tmp/meta"
sed -n "s!^\\($h32\\) \\([$letters]\\{1,\\}\\) \\([$letters]\\{1,\\}\\)\$!\\1 \\2 \\3!p" "$tmp/meta" | sort -u >"$tmp/moves"

# gone.list in the manifests: - OBJECT CHANGE PATH. Before objects from that name on are unpacked, what is at PATH (with a slash at
# its end: an empty directory) was forgotten. Others may have their bytes from it still, so it is put aside: at PATH below
# $stash, with --parts until DIR goes. $tmp/moves gets them, too: OBJECT gone CHANGE PATH.
sed -n "s!^- \\($h32\\) \\([0-9]\\{1,15\\}\\) \\([$letters]\\{1,\\}\\)\$!\\1 \\2 \\3!p" "$tmp/meta" |
	awk '{ printf "%s gone %015.0f %s\n", $1, $2, $3 }' | sort -u >"$tmp/goners"
sort -u "$tmp/goners" "$tmp/moves" >"$tmp/moves.all"
: >"$tmp/events" # what was done of them; not again, when a tape is given again
if [ -n "$done_before" ] && [ -f "$parts_dir/events" ]; then
	sort -u "$parts_dir/events" | comm -23 "$tmp/moves.all" - >"$tmp/moves"
else
	mv "$tmp/moves.all" "$tmp/moves"
fi

# What was forgotten, and symlinks while something is unpacked, lie aside, in a folder whose name no object can know.
[ -d "$target" ] || mkdir -p "$target" || die "cannot make $target"
case $tmp in /*) ;; *) tmp=$PWD/$tmp ;; esac
top=$(cd "$target" && pwd && echo .) || die "$target: cannot be entered"
top=${top%??}

# links_aside: puts all symlinks below the target aside. tar would follow those that an earlier tar has left, out of the target, too.
cat >"$tmp/aside" <<'TEXT'
when=$1
park=$2
shift 2
for link; do
	link=${link#./}
	case $link in */*) dir=${link%/*} ;; *) dir=. ;; esac
	up=$park
	rest=$dir
	while [ -n "$rest" ]; do # an older link where a directory is now counts for nothing
		up=$up/${rest%%/*}
		case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
		[ ! -L "$up" ] || rm -f "$up"
	done
	mkdir -p "$park/$dir"
	rm -rf "${park:?}/$link"
	touch -r "$dir" "$when"
	mv -f "./$link" "$park/$link"
	touch -r "$when" "$dir"
done
TEXT
links_aside() {
	(cd "$target" && find . -path "./${work##*/}" -prune -o -type l -exec sh "$tmp/aside" "$tmp/when" "$park" {} +) ||
		die "the symlinks in $target could not be put aside"
}

# links_back: puts them back where nothing else has taken their place.
cat >"$tmp/back" <<'TEXT'
when=$1
top=$2
shift 2
for link; do
	link=${link#./}
	[ ! -e "$top/$link" ] && [ ! -L "$top/$link" ] || continue
	case $link in */*) dir=$top/${link%/*} ;; *) dir=$top ;; esac
	mkdir -p "$dir" 2>/dev/null
	touch -r "$dir" "$when"
	mv -f "./$link" "$top/$link"
	touch -r "$when" "$dir"
done
TEXT
links_back() {
	[ -z "$park" ] || [ -L "$park" ] || [ ! -d "$park" ] && return
	(cd "$park" && find . -type l -exec sh "$tmp/back" "$tmp/when" "$top" {} +)
	rm -rf "$park"
}
for work in "$top"/.tapefs-restore.*; do # an earlier run was killed
	[ -d "$work" ] && [ ! -L "$work" ] || continue
	park=$work/links
	links_back
	rm -rf "$work"
done
work=$(mktemp -d "$top/.tapefs-restore.XXXXXX") || die "nothing can be made in $target"
park=$work/links
stash=$work/forgotten
[ -z "$parts_dir" ] || stash=$parts_dir/forgotten/files

# inside PATH [DIR]: whether it lies below the target, or DIR, with no symlink on the way. Sets at.
inside() {
	case /$1/ in *//* | */./* | */../*) return 1 ;; esac
	rest=$1
	at=${2-$target}
	while :; do
		case $rest in
		*/*) at=$at/${rest%%/*}; rest=${rest#*/}; [ -L "$at" ] && return 1 ;;
		*) at=$at/$rest; return 0 ;;
		esac
	done
}

# moved FILE: makes the new names of a list, those of one time together: names may change places, so first all
# are copied, then named.
moved() {
	[ -f "$1" ] || return 0
	for time in $(cut -d' ' -f1 "$1" | sort -u); do
		grep "^$time " "$1" | grep -v "^$time gone " >"$tmp/move" && moved_once
		grep "^$time gone " "$1" | sort -u >"$tmp/gone" && forgotten_once
	done
}

# older_than_before MOMENT: whether an earlier run restored objects that came after it: what they left is newer.
older_than_before() { [ "$(printf '%s\n' "$1" "$latest" | sort | head -n 1)" = "$1" ]; }

# keeping_time COMMAND...: runs it and leaves the time of the directory of $at as it was.
keeping_time() {
	touch -r "${at%/*}" "$tmp/when"
	"$@"
	set -- $?
	touch -r "$tmp/when" "${at%/*}"
	return "$1"
}

forgotten_once() {
	while read -r moment word change named <&3; do
		echo "$moment $word $change $named" >>"$tmp/events"
		path=$(printf '%b.' "$named")
		path=${path%.}
		inside "${path%/}" || continue
		case $path in
		*/) [ -d "$at" ] && [ ! -L "$at" ] && keeping_time rmdir "$at" 2>/dev/null; continue ;;
		esac
		[ -n "$latest" ] && older_than_before "$moment" && continue
		inside "$path" "$park" && [ -L "$at" ] && rm -f "$at"
		inside "$path"
		if [ -L "$at" ]; then
			keeping_time rm -f "$at"
			continue
		fi
		[ -f "$at" ] || continue
		case $path in */*) mkdir -p "$stash/${path%/*}" ;; *) mkdir -p "$stash" ;; esac
		keeping_time mv -f "$at" "$stash/$path" || problem "$path was forgotten, and could not be put aside"
	done 3<"$tmp/gone"
}

moved_once() {
	for step in copy name; do
		while read -r before named listed <&3; do
			new=$(printf '%b.' "$named")
			old=$(printf '%b.' "$listed")
			inside "${old%.}" || continue
			from=$at
			inside "${new%.}" || continue
			if [ $step = name ]; then
				[ -f "$at.tapefs-moved" ] || continue
				if [ ! -d "$at" ] && mv -f "$at.tapefs-moved" "$at"; then
					echo "$before $named $listed" >>"$tmp/events"
				else
					problem "${new%.}: something else is in its place"
				fi
				continue
			fi
			if [ -e "$at" ] && older_than_before "$before"; then
				continue # an earlier run restored something newer
			fi
			# What was forgotten already lies aside.
			if [ -L "$from" ] || [ ! -f "$from" ]; then
				from=$stash/${old%.}
			fi
			if [ -L "$from" ] || [ ! -f "$from" ]; then
				cut -d' ' -f2 "$tmp/voids" | grep -qxF -e "$listed" && continue # both names were forgotten
				problem "${new%.} has the bytes of ${old%.}, which is not restored: left out"
				continue
			fi
			mkdir -p "${at%/*}"
			rm -f "$at.tapefs-moved"
			# Names of one file stay names of one file.
			same=$tmp/copied.$(ls -di "$from" | awk '{ print $1; exit }')
			[ ! -L "$same" ] || [ "$(ls -ldn "$from" | awk '{ print $2; exit }')" -lt 2 ] || ! ln -L "$same" "$at.tapefs-moved" 2>/dev/null || continue
			cp -p --reflink=auto "$from" "$at.tapefs-moved" 2>/dev/null || cp -p "$from" "$at.tapefs-moved" || problem "${new%.} could not be copied from ${old%.}"
			case $at in /*) ln -sf "$at.tapefs-moved" "$same" ;; *) ln -sf "$PWD/$at.tapefs-moved" "$same" ;; esac
		done 3<"$tmp/move"
	done
	rm -f "$tmp"/copied.*
}

# Objects go through one tar, but those with void files through one of their own, and those that are
# older than what an earlier run restored: they must not put older states of files back.
awk -v gnu="$gnu" -v latest="$latest" -v out="$tmp/run." '
	FILENAME != last { last = FILENAME; inputs++ }
	FILENAME ~ /voids$/ { void[$1] = 1; next }
	FILENAME ~ /moves$/ { at[++moves] = $1; move[moves] = $0; next }
	{
		alone = !gnu || ($1 in void) || $1 < latest
		due = done < moves && at[done + 1] "" <= $1 ""
		if (alone || was_alone || due || !n) { if (n) close(f); n++; f = out sprintf("%07d", n) }
		was_alone = alone
		while (done < moves && at[done + 1] "" <= $1 "") print move[++done] > (f ".moved")
		print > f
	}
	END { while (done < moves) print move[++done] > (out "end") }' "$tmp/voids" "$tmp/moves" "$tmp/plan"

total=$(($(wc -l <"$tmp/plan")))
all_bytes=$(awk '{ n += $3 } END { printf "%.0f", n }' "$tmp/plan")

# plain RUN TAPE-DIR...: the tar stream of the objects in a run. Each gives exactly the bytes it
# should, zeros for what cannot be read, so that a bad one does not spoil those after it.
plain() {
	run=$1
	keyfile_id=
	shift
	while read -r oid id size files <&3; do
		read -r number bytes <"$tmp/number"
		number=$((number + 1))
		echo "$number $((bytes + size))" >"$tmp/number"
		say "object $number of $total ($oid, $size bytes); $((bytes / 1048576)) of $((all_bytes / 1048576)) MiB done"
		[ "$id" = "$keyfile_id" ] || key_for "$id"
		keyfile_id=$id
		{
			summed "$id" "$files" "$@" | decrypt || problem "object $oid: openssl failed; files in it may be damaged"
			cat /dev/zero 2>/dev/null
		} | head -c "$(((size + 511) / 512 * 512))" || return
	done 3<"$run"
}

# unpack RUN: the one tar.
unpack() {
	run=$1
	set --
	if [ -n "$set_id" ]; then
		set -- -p
	else
		set -- --no-same-permissions # but with a umask of 0: all of the mode but its first digit
		umask 0
	fi
	if [ -z "$gnu" ]; then
		cd "$target" && "$tar" -x "$@" -f -
		return
	fi
	read -r oid _ <"$run"
	[ ! -f "$tmp/exclude.$oid" ] || set -- "$@" --anchored --no-wildcards "--exclude-from=$tmp/exclude.$oid"
	if [ -f "$tmp/odd.$oid" ]; then
		set -- "$@" --anchored --no-wildcards
		while read -r _ name <&4; do
			name=$(printf '%b.' "$name")
			set -- "$@" "--exclude=${name%.}"
		done 4<"$tmp/odd.$oid"
	fi
	if [ "$(printf '%s\n' "$oid" "$latest" | sort | head -n 1)" = "$oid" ]; then
		say "object $oid is older than what is restored already: newer files stay"
		set -- "$@" --keep-newer-files
	fi
	"$tar" -x -i --delay-directory-restore -C "$target" "$@" -f -
}

echo 0 0 >"$tmp/number"
for run in "$tmp"/run.???????; do
	[ -f "$run" ] || continue
	moved "$run.moved"
	[ "$(ls -A "$target")" = "${work##*/}" ] || links_aside
	plain "$run" "$@" | unpack "$run" || { : >"$tmp/tar"; problem "tar reported errors, see above"; }
done

moved "$tmp/run.end"

# ---- modes, owners and times of directories that changed when no bytes did
#
# meta.list in the manifests: CHANGE MODE UID GID =USER =GROUP TIME PATH. The last line of a path holds; one
# with the mode "-" says that something else took the path, and ends those of it and of what lay in it.
# $tmp/metas: what holds, longer paths first: a directory is closed after what is in it.

sed -n "s!^\\([0-9]\\{1,15\\} [0-7-]\\{1,4\\} [0-9]\\{1,10\\} [0-9]\\{1,10\\} =[$letters]* =[$letters]* [0-9.-]\\{1,40\\} [$letters]\\{1,\\}\\)\$!\\1!p" "$tmp/meta" |
	sort -n -u | awk '
		$2 == "-" { delete last[$8]; ended[$8] = NR; next }
		{ last[$8] = $0; at[$8] = NR }
		END {
			for (p in last) {
				gone = 0
				for (up = p; sub("/[^/]*$", "", up);) if (ended[up] + 0 > at[p]) gone = 1
				if (!gone) print p, last[p]
			}
		}' | sort -r >"$tmp/metas"

# owned COMMAND =NAME NUMBER: the owner by name where this machine knows it, as tar does.
owned() {
	name=$(printf '%b.' "${2#=}")
	name=${name%.}
	case " ${TAR_OPTIONS-} " in *--numeric-owner*) name= ;; esac
	case $name in '' | *:*) ;; *) "$1" -h -- "$name" "$at" 2>/dev/null && return ;; esac
	"$1" -h "$3" "$at"
}

me=$(id -u)

# ---- paths that have their content from others
#
# links.list in links-SEQ.tar.enc: CHANGE OBJECT SIZE SHA256 MODE UID GID =USER =GROUP TIME MEMBER PATH. The last line of a path
# holds, unless meta.list says that something else took the path. With --parts, earlier tapes' lines are remembered.

for d; do
	plain_path "$d"; d=$path
	for m in "$d"/tapefs/*/links-*.tar.enc; do
		[ -f "$m" ] || continue
		id=${m%/*}
		id=${id##*/}
		case $id in $x8$x8) ;; *) continue ;; esac
		key_for "$id" || continue
		decrypt -in "$m" 2>/dev/null | tar -xOf - links.list 2>/dev/null ||
			problem "$m: cannot be read; files that share their content with others may be missing"
	done
done >"$tmp/linklines"
sed -n "s!^\\([0-9]\\{1,15\\} - 0 0 = = - [$letters]\\{1,\\}\\)\$!\\1!p" "$tmp/meta" >>"$tmp/linklines"
if [ -n "$parts_dir" ]; then
	[ ! -f "$parts_dir/links" ] || cat "$parts_dir/links" >>"$tmp/linklines"
	sort -n -u "$tmp/linklines" >"$tmp/links.all" && cp "$tmp/links.all" "$parts_dir/links"
fi
sed -n -e "s!^\\([0-9]\\{1,15\\} - 0 0 = = - [$letters]\\{1,\\}\\)\$!\\1!p" \
	-e "s!^\\([0-9]\\{1,15\\} $h32 [0-9]\\{1,15\\} $h64 [0-7]\\{1,4\\} [0-9]\\{1,10\\} [0-9]\\{1,10\\} =[$letters]* =[$letters]* [0-9.-]\\{1,40\\} [$letters]\\{1,\\} [$letters]\\{1,\\}\\)\$!\\1!p" "$tmp/linklines" |
	sort -n -u | awk '
		$2 == "-" { delete last[$8]; ended[$8] = NR; next }
		{ last[$12] = $0; at[$12] = NR }
		END {
			for (p in last) {
				gone = 0
				for (up = p; sub("/[^/]*$", "", up);) if (ended[up] + 0 > at[p]) gone = 1
				if (!gone) print last[p]
			}
		}' >"$tmp/links"

# member_of OBJECT SUM MEMBER TAPE-DIR...: writes a member's content to $tmp/content. A repacked object has the first 12 digits
# of the one it replaces.
member_of() {
	oid=$1
	want=$2
	wanted=$3
	shift 3
	awk -v like="$(echo "$oid" | cut -c1-12)" 'substr($1, 1, 12) == like && $3 != "missing"' "$tmp/all" >"$tmp/like"
	while read -r _ id _ _ files <&5; do
		key_for "$id" || continue
		choose "$id" "$files" "$@"
		sealed "$id" "$files" "$@" | decrypt 2>/dev/null | "$tar" -xOf - "$wanted" >"$tmp/content" 2>/dev/null
		[ "$(sum_of "$tmp/content")" = "$want" ] && return
	done 5<"$tmp/like"
	return 1
}

while read -r _ oid size sum mode uid gid user group time from to <&4; do
	from=$(printf '%b.' "$from")
	from=${from%.}
	to=$(printf '%b.' "$to")
	inside "${to%.}" || continue
	to=$at
	if [ ! -f "$to" ] || [ -L "$to" ] || [ "$(sum_of "$to")" != "$sum" ]; then
		if inside "$from" && [ -f "$at" ] && [ ! -L "$at" ] && [ "$(sum_of "$at")" = "$sum" ]; then
			have=$at
		elif inside "$from" && [ -f "$stash/$from" ] && [ ! -L "$stash/$from" ] && [ "$(sum_of "$stash/$from")" = "$sum" ]; then
			have=$stash/$from
		elif member_of "$oid" "$sum" "$from" "$@"; then
			have=$tmp/content
		else
			problem "$to: its content is not on these tapes: left out"
			continue
		fi
		dir=${to%/*}
		if ! { mkdir -p "$dir" && touch -r "$dir" "$tmp/when" && rm -rf "$to" && cp "$have" "$to"; }; then
			problem "$to: it could not be written"
			continue
		fi
		[ "$(sum_of "$to")" = "$sum" ] || problem "$to: it could not be written whole"
		rm -f "$tmp/content"
	else
		dir=${to%/*}
		touch -r "$dir" "$tmp/when"
	fi
	at=$to
	if [ "$me" = 0 ]; then
		owned chown "$user" "$uid"
		owned chgrp "$group" "$gid"
	fi
	[ -n "$set_id" ] && [ "$me" = 0 ] || mode=0${mode#?}
	chmod "$mode" "$at" || problem "$at: its mode could not be set"
	touch -d "@$time" "$at" || problem "$at: its time could not be set"
	touch -r "$tmp/when" "$dir"
done 4<"$tmp/links"

links_back
while read -r _ _ mode uid gid user group time path <&3; do
	path=$(printf '%b.' "$path")
	inside "${path%.}" || continue
	[ -e "$at" ] || [ -L "$at" ] || continue
	if [ "$me" = 0 ]; then
		owned chown "$user" "$uid"
		owned chgrp "$group" "$gid"
	fi
	[ -n "$set_id" ] && [ "$me" = 0 ] || mode=0${mode#?} # set-id bits are for another owner, or not wanted
	[ -L "$at" ] && continue
	chmod "$mode" "$at" || problem "$at: its mode could not be set"
	[ "$time" = - ] || touch -d "@$time" "$at" || problem "$at: its time could not be set"
done 3<"$tmp/metas"

rm -rf "$work"

# ---- pieces of objects for the next tape

# collect FILES TAPE-DIR...: copies pieces from a real tape into the folder of its volume.
collect() {
	list=$1
	shift
	for p in $list; do
		p=${p%%,*}
		[ "${p#*@}" -le "$given" ] || continue
		tape "${p#*@}" "$@"
		volume_of "$dir"
		to=$parts_dir/$volume
		mkdir -p "$to/tapefs/$id" || return
		cp "$dir/README.txt" "$dir"/SHA256SUMS-* "$to/" 2>/dev/null
		say "collecting ${p%@*}"
		cp "$dir/tapefs/$id/${p%@*}" "$to/tapefs/$id/.${p%@*}" && mv "$to/tapefs/$id/.${p%@*}" "$to/tapefs/$id/${p%@*}" || return
	done
}

if [ -n "$parts_dir" ]; then
	if [ -f "$tmp/collect" ]; then
		while read -r id files <&3; do
			collect "$files" "$@" || problem "$parts_dir: pieces could not be copied there"
		done 3<"$tmp/collect"
	fi
	cat "$tmp/events" >>"$parts_dir/events"
	# What is restored well is not restored again, and its pieces there are not needed any more.
	[ -f "$tmp/tar" ] || while read -r oid id _ files <&3; do
		grep -q "$oid" "$tmp/bad" && continue
		[ -f "$parts_dir/restored" ] || inode "$target" >"$parts_dir/restored"
		echo "$oid" >>"$parts_dir/restored"
		for p in $files; do
			[ "${p#*@}" -gt "$given" ] || continue
			tape "${p#*@}" "$@"
			rm -f "$dir/tapefs/$id/${p%@*}"
		done
	done 3<"$tmp/plan"
fi

read -r restored bytes <"$tmp/number"
if [ -s "$tmp/bad" ]; then
	say "$restored of $total objects were read; NOT EVERYTHING IS RESTORED:"
	cat "$tmp/bad" >&2
	if [ -s "$tmp/needs" ]; then
		tapes=$(cut -d' ' -f2 "$tmp/needs" | sort -u | tr '\n' ' ')
		if [ -n "$parts_dir" ]; then
			say "INSERT TAPE ${tapes}next, and run this again with the same TARGET and --parts $parts_dir"
		else
			say "TAPE ${tapes}IS NEEDED, TOO: give all tapes at once, or see --parts in --help if there is one drive"
		fi
	fi
	[ "$restored" -gt 0 ] || [ "$total" -eq 0 ] || exit 1
	exit 3
fi
say "done: $restored objects restored"
