package crypto

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

var (
	// ErrPassphrase: the passphrase does not open the sealed key file.
	ErrPassphrase = errors.New("wrong passphrase")
	// ErrSealedKey: the key file is sealed with a passphrase, and nobody gave it.
	ErrSealedKey = errors.New("the key file is sealed with a passphrase")
)

const (
	// SealedIterations of PBKDF2 stand between a stolen key file and who guesses passphrases: about a second each.
	SealedIterations = 2_000_000

	keyTextSize   = keyDigits + 1                                            // digits and a newline
	sealedKeySize = HeaderSize + (keyTextSize/aes.BlockSize+1)*aes.BlockSize // 96 bytes
	sealedLabel   = "tapefs sealed key v1\n"
	saltDrawn     = 6   // bytes of the salt that are random; the others are a sum of them
	passphraseMax = 500 // bytes; openssl takes 511 from a terminal
	passphraseMin = 8
)

// sealedIterations is SealedIterations, but in tests that need no openssl.
var sealedIterations = SealedIterations

// CheckPassphrase refuses what openssl could not be given on a terminal, and what is soon guessed.
func CheckPassphrase(p []byte) error {
	switch {
	case len(p) < passphraseMin:
		return fmt.Errorf("the passphrase has %d bytes, fewer than %d", len(p), passphraseMin)
	case len(p) > passphraseMax:
		return fmt.Errorf("the passphrase has %d bytes, more than %d", len(p), passphraseMax)
	case bytes.ContainsAny(p, "\n\r\x00"):
		return errors.New("the passphrase has a line end or a NUL in it")
	}
	return nil
}

// IsSealedKey tells the text of a sealed key file from that of a plain one.
func IsSealedKey(text []byte) bool { return bytes.HasPrefix(text, []byte(magic)) }

// Sealed is the key file's text sealed with a passphrase, as openssl enc -aes-256-cbc -pbkdf2
// -iter 2000000 -md sha256 would: FORMAT.md has the bytes. It takes about a second.
func (k Key) Sealed(passphrase []byte) ([]byte, error) {
	s := k.open()
	if s == nil {
		return nil, fmt.Errorf("seal key: %w", ErrNoKey)
	}
	if err := CheckPassphrase(passphrase); err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	salt := make([]byte, SaltSize)
	if _, err := rand.Read(salt[:saltDrawn]); err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	copy(salt[saltDrawn:], saltSum(salt))
	block, iv, err := derive(string(passphrase), salt, sealedIterations)
	if err != nil {
		return nil, fmt.Errorf("seal key: %w", err)
	}
	plain := append(append(make([]byte, 0, sealedKeySize), s.text[:]...), '\n')
	padding := sealedKeySize - HeaderSize - len(plain)
	plain = append(plain, bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher.NewCBCEncrypter(block, iv[:]).CryptBlocks(plain, plain)
	return append(append([]byte(magic), salt...), plain...), nil
}

// saltSum is what follows the random bytes of a salt, so that damage to it is not taken for a wrong passphrase.
func saltSum(salt []byte) []byte {
	sum := sha256.Sum256(append([]byte(sealedLabel), salt[:saltDrawn]...))
	return sum[:SaltSize-saltDrawn]
}

// OpenSealedKey opens what Sealed or the openssl program made. ErrPassphrase: the passphrase is wrong;
// ErrKeyFile: the file is damaged. It takes about a second.
func OpenSealedKey(text, passphrase []byte) (*Key, error) {
	if !IsSealedKey(text) || len(text) != sealedKeySize {
		return nil, fmt.Errorf("%w, sealed: want %d bytes, found %d: the file is damaged", ErrKeyFile, sealedKeySize, len(text))
	}
	salt := text[len(magic):HeaderSize]
	block, iv, err := derive(string(passphrase), salt, sealedIterations)
	if err != nil {
		return nil, err
	}
	plain := bytes.Clone(text[HeaderSize:])
	cipher.NewCBCDecrypter(block, iv[:]).CryptBlocks(plain, plain)
	if rest, err := unpad(plain); err == nil {
		if k, err := ParseKey(rest); err == nil {
			return k, nil
		}
	}
	switch {
	case someBlockOpened(plain):
		return nil, fmt.Errorf("%w, sealed: the passphrase is right, but the file is damaged", ErrKeyFile)
	case !bytes.Equal(salt[saltDrawn:], saltSum(salt)):
		return nil, fmt.Errorf("%w, or the file is damaged", ErrPassphrase)
	}
	return nil, ErrPassphrase
}

// someBlockOpened: a 16-byte block reads as a key file's. By chance, one in 10^19 does. CBC confines damage
// to two blocks, so that others show that the passphrase was right.
func someBlockOpened(plain []byte) bool {
	last := len(plain) - aes.BlockSize
	for at := 0; at < last; at += aes.BlockSize {
		if len(bytes.Trim(plain[at:at+aes.BlockSize], "0123456789abcdef")) == 0 {
			return true
		}
	}
	return plain[last] == '\n' && len(bytes.Trim(plain[last+1:], "\x0f")) == 0
}

// SaveSealed writes a sealed key file as Save writes a plain one.
func (k Key) SaveSealed(path string, passphrase []byte) error {
	text, err := k.Sealed(passphrase)
	if err != nil {
		return err
	}
	if again, err := OpenSealedKey(text, passphrase); err != nil || again.Fingerprint() != k.Fingerprint() {
		return fmt.Errorf("seal key: it does not open again: %w", err)
	}
	return saveNew(path, text)
}

// ReplaceSealed puts a sealed key file in the place of the key's plain one.
func (k Key) ReplaceSealed(path string, passphrase []byte) error {
	return k.replace(path, func(next string) error { return k.SaveSealed(next, passphrase) })
}

// ReplacePlain puts the plain key file in the place of a sealed one.
func (k Key) ReplacePlain(path string) error { return k.replace(path, k.Save) }

// replace puts what save writes in the place of a key file. The old file is there until the new one is safe.
func (k Key) replace(path string, save func(string) error) error {
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replace key: %w", err)
	}
	if err := save(next); err != nil {
		return err
	}
	err := os.Rename(next, path)
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("replace key: %w", err)
	}
	return nil
}
