package crypto

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// foreignSuffix ends the names of files with passphrases of imported archives.
const foreignSuffix = ".passphrase"

// foreignMax is the length of such a passphrase, bytes: openssl reads no more from its command line or a file.
const foreignMax = 1023

// ForeignFingerprint names the passphrase of an imported archive, as the fingerprint does a key: FORMAT.md has the command.
func ForeignFingerprint(passphrase []byte) string {
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%s\n", keyIDLabel, passphrase)
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// LoadForeign reads a passphrase of an imported archive from a file: its first line. Errors are those of ReadKeyFile, and ErrKeyFile.
func LoadForeign(path string) ([]byte, error) {
	text, err := readSecret(path, foreignMax+2)
	if err != nil {
		return nil, err
	}
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSuffix(line, []byte("\r"))
	if len(line) == 0 || len(line) > foreignMax || len(bytes.TrimSpace(rest)) > 0 || bytes.IndexByte(line, 0) >= 0 {
		return nil, fmt.Errorf("passphrase %s: %w: want one line of 1 to %d bytes", path, ErrKeyFile, foreignMax)
	}
	return line, nil
}

func (r *Keyring) loadForeign(path string) error {
	passphrase, err := LoadForeign(path)
	if err != nil {
		return err
	}
	r.foreign[ForeignFingerprint(passphrase)] = foreignKey{passphrase, path}
	return nil
}

// Foreign returns the passphrase of an imported archive by fingerprint, or ErrNoKey.
func (r *Keyring) Foreign(fingerprint string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := r.foreign[fingerprint]; ok {
		return f.passphrase, nil
	}
	return nil, fmt.Errorf("passphrase %q of an imported archive: %w", fingerprint, ErrNoKey)
}

// AddForeign saves the passphrase of an imported archive in dir, unless it is there, and returns its fingerprint.
func (r *Keyring) AddForeign(dir string, passphrase []byte) (fingerprint, path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fingerprint = ForeignFingerprint(passphrase)
	if f, ok := r.foreign[fingerprint]; ok {
		return fingerprint, f.path, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", "", fmt.Errorf("add passphrase: %w", err)
	}
	path = filepath.Join(dir, fingerprint+foreignSuffix)
	if err := saveNew(path, append(bytes.Clone(passphrase), '\n')); err != nil {
		return "", "", err
	}
	r.foreign[fingerprint] = foreignKey{bytes.Clone(passphrase), path}
	return fingerprint, path, nil
}
