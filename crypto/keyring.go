package crypto

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/renameio/v2"
)

const (
	keySuffix   = ".key"
	currentName = "current" // holds the fingerprint of the key that seals, and a newline
)

var sealedKeyName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([0-9a-f]{16})\.key$`) })

// Ask gives the passphrase of a key file. The second time for a key and later ones mean that the one before was wrong.
type Ask func(fingerprint string, attempt int) ([]byte, error)

// attempts to give a right passphrase for a key.
const attempts = 3

// Keyring holds keys by fingerprint; the current one seals. Key files that are sealed with a passphrase are
// opened when their key is first asked for. It is safe for concurrent use.
type Keyring struct {
	mu      sync.Mutex
	keys    map[string]*Key
	paths   map[string]string // also of sealed ones
	current string            // fingerprint; "" when no file says it
	sealed  map[string]*sealedKey
	ask     Ask
	known   [][]byte // passphrases that opened a key
	foreign map[string]foreignKey
}

// foreignKey is the passphrase of an archive that was imported, and its file.
type foreignKey struct {
	passphrase []byte
	path       string
}

// sealedKey is a key file that is not open yet.
type sealedKey struct {
	text []byte
	err  error // why it could not be opened: nobody is asked again
}

// LoadKeyring reads all *.key files of a directory. The current key is the one named in the file
// "current" there, else the only one. A directory without keys is no error here, only for Current.
func LoadKeyring(dir string) (*Keyring, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	r := &Keyring{keys: map[string]*Key{}, paths: map[string]string{}, sealed: map[string]*sealedKey{}, foreign: map[string]foreignKey{}}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), foreignSuffix) && !e.IsDir() {
			if err := r.loadForeign(filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
		}
		if e.IsDir() || !strings.HasSuffix(e.Name(), keySuffix) {
			continue
		}
		if err := r.load(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	switch text, err := os.ReadFile(filepath.Join(dir, currentName)); {
	case err == nil:
		r.current = strings.TrimSpace(string(text))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read which key seals: %w", err)
	case len(r.paths) == 1:
		for fingerprint := range r.paths {
			r.current = fingerprint
		}
	}
	return r, nil
}

// load adds a key file. Of several with one key, the first counts, but a plain one more than a sealed one.
func (r *Keyring) load(path string) error {
	text, err := ReadKeyFile(path)
	if err != nil {
		return err
	}
	if IsSealedKey(text) {
		name := sealedKeyName().FindStringSubmatch(filepath.Base(path))
		switch {
		case len(text) != sealedKeySize:
			return fmt.Errorf("key %s: %w, sealed: want %d bytes, found %d: the file is damaged", path, ErrKeyFile, sealedKeySize, len(text))
		case name == nil:
			return fmt.Errorf("key %s: %w: a sealed key file must be named FINGERPRINT.key", path, ErrKeyFile)
		case r.paths[name[1]] == "":
			r.sealed[name[1]], r.paths[name[1]] = &sealedKey{text: text}, path
		}
		return nil
	}
	k, err := ParseKey(text)
	if err != nil {
		return fmt.Errorf("key %s: %w", path, err)
	}
	fingerprint := k.Fingerprint()
	if r.keys[fingerprint] == nil {
		r.keys[fingerprint], r.paths[fingerprint] = k, path
		delete(r.sealed, fingerprint)
	}
	return nil
}

// Format prints how many keys there are for every verb, never a passphrase.
func (r *Keyring) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "crypto.Keyring(%d keys)", len(r.Fingerprints()))
}

// OnSealed says who is asked for passphrases. Without it, sealed keys give ErrSealedKey.
func (r *Keyring) OnSealed(ask Ask) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ask = ask
}

// Current returns the key that seals. ErrNoKey: there is none, or several and no word on which.
func (r *Keyring) Current() (*Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch k, err := r.key(r.current); {
	case r.current != "" && errors.Is(err, ErrNoKey):
		return nil, fmt.Errorf("the key that seals, %q: %w", r.current, ErrNoKey)
	case r.current != "":
		return k, err
	case len(r.paths) > 1:
		return nil, fmt.Errorf("%d keys, and no file %q names the one that seals: %w", len(r.paths), currentName, ErrNoKey)
	default:
		return nil, fmt.Errorf("the key ring is empty: %w", ErrNoKey)
	}
}

// CurrentID is the fingerprint of the key that seals, "" when nothing says which that is. Nobody is asked for a passphrase.
func (r *Keyring) CurrentID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.paths[r.current] == "" {
		return ""
	}
	return r.current
}

// Key returns a key by fingerprint, or ErrNoKey. A sealed one that cannot be opened gives ErrSealedKey, ErrPassphrase or ErrKeyFile.
func (r *Keyring) Key(fingerprint string) (*Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.key(fingerprint)
}

// OpenAll opens all sealed keys now, before work that cannot wait for a passphrase.
func (r *Keyring) OpenAll() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, fingerprint := range slices.Sorted(maps.Keys(r.sealed)) {
		if _, err := r.key(fingerprint); err != nil {
			return err
		}
	}
	return nil
}

func (r *Keyring) key(fingerprint string) (*Key, error) {
	if k := r.keys[fingerprint]; k != nil {
		return k, nil
	}
	s := r.sealed[fingerprint]
	if s == nil {
		return nil, fmt.Errorf("key %q: %w", fingerprint, ErrNoKey)
	}
	if s.err != nil {
		return nil, s.err
	}
	k, err := r.open(fingerprint, s.text)
	if err != nil {
		s.err = fmt.Errorf("open key %s: %w", r.paths[fingerprint], err)
		return nil, s.err
	}
	r.keys[fingerprint] = k
	delete(r.sealed, fingerprint)
	return k, nil
}

// open tries the passphrases that opened other keys, then asks.
func (r *Keyring) open(fingerprint string, text []byte) (*Key, error) {
	try := func(passphrase []byte) (*Key, error) {
		k, err := OpenSealedKey(text, passphrase)
		if err == nil && k.Fingerprint() != fingerprint {
			err = fmt.Errorf("%w: its name says another key than it holds, %s", ErrKeyFile, k.Fingerprint())
		}
		return k, err
	}
	for _, passphrase := range r.known {
		if k, err := try(passphrase); !errors.Is(err, ErrPassphrase) {
			return k, err
		}
	}
	if r.ask == nil {
		return nil, ErrSealedKey
	}
	var err error
	for attempt := 1; attempt <= attempts; attempt++ {
		passphrase, askErr := r.ask(fingerprint, attempt)
		if askErr != nil {
			// Who is not asked twice says only that: what was wrong is more.
			return nil, errors.Join(err, askErr)
		}
		var k *Key
		if k, err = try(passphrase); err == nil {
			r.known = append(r.known, passphrase)
			return k, nil
		}
		if !errors.Is(err, ErrPassphrase) {
			return nil, err
		}
	}
	return nil, err
}

// IsSealed tells whether a key's file is sealed and was not opened yet.
func (r *Keyring) IsSealed(fingerprint string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sealed[fingerprint] != nil
}

// Give opens keys whose text another process of ours read already.
func (r *Keyring) Give(keys ...*Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		if r.sealed[k.Fingerprint()] != nil {
			r.keys[k.Fingerprint()] = k
			delete(r.sealed, k.Fingerprint())
		}
	}
}

// Fingerprints lists all keys, sealed ones included, in order.
func (r *Keyring) Fingerprints() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.paths))
}

// Add saves a key as FINGERPRINT.key in dir, which is made (0700) when missing, and makes it the
// one that seals. Other keys stay. Adding a key that lies there already only makes it current.
func (r *Keyring) Add(dir string, k *Key) (path string, err error) { return r.add(dir, k, k.Save) }

// AddSealed is Add, with a file that is sealed with a passphrase.
func (r *Keyring) AddSealed(dir string, k *Key, passphrase []byte) (path string, err error) {
	return r.add(dir, k, func(path string) error { return k.SaveSealed(path, passphrase) })
}

func (r *Keyring) add(dir string, k *Key, save func(path string) error) (path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fingerprint := k.Fingerprint()
	if fingerprint == "" {
		return "", fmt.Errorf("add key: %w", ErrNoKey)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("add key: %w", err)
	}
	path = r.paths[fingerprint]
	if path == "" {
		path = filepath.Join(dir, fingerprint+keySuffix)
		if err := save(path); err != nil {
			return "", err
		}
	}
	err = renameio.WriteFile(filepath.Join(dir, currentName), []byte(fingerprint+"\n"), 0o600)
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return "", fmt.Errorf("name the key that seals: %w", err)
	}
	if r.keys == nil {
		r.keys, r.paths = map[string]*Key{}, map[string]string{}
	}
	r.keys[fingerprint], r.paths[fingerprint], r.current = k, path, fingerprint
	return path, nil
}

// Has opens a key, or looks whether there is a passphrase of an imported archive with this fingerprint; the errors are those of Key.
func (r *Keyring) Has(fingerprint string) error {
	if _, err := r.Foreign(fingerprint); err == nil {
		return nil
	}
	_, err := r.Key(fingerprint)
	return err
}

// Path is where a key's file lies; "" when the ring does not have it.
func (r *Keyring) Path(fingerprint string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := r.foreign[fingerprint]; ok {
		return f.path
	}
	return r.paths[fingerprint]
}
