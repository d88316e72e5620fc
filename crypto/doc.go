// Package crypto holds the keys and the container that tapes carry: what
// `openssl enc -aes-256-ctr -pbkdf2 -iter 10000 -md sha256` writes, byte for byte,
// sealed and opened by Go's own AES, so that any offset opens at once. FORMAT.md
// beside this file describes it, and all else that lies on a tape, for somebody who
// has nothing but the tape. The package imports nothing else of tapefs.
package crypto
