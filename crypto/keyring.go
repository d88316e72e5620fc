package crypto

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"

	"github.com/google/renameio/v2"
)

const (
	keySuffix   = ".key"
	currentName = "current" // holds the fingerprint of the key that seals, and a newline
)

// Keyring holds keys by fingerprint; the current one seals. It is safe for concurrent use.
type Keyring struct {
	mu      sync.Mutex
	keys    map[string]*Key
	paths   map[string]string
	current string // fingerprint; "" when no file says it
}

// LoadKeyring reads all *.key files of a directory. The current key is the one named in the file
// "current" there, else the only one. A directory without keys is no error here, only for Current.
func LoadKeyring(dir string) (*Keyring, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	r := &Keyring{keys: map[string]*Key{}, paths: map[string]string{}}
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), keySuffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		k, err := LoadKey(path)
		if err != nil {
			return nil, err
		}
		if _, twice := r.keys[k.Fingerprint()]; !twice {
			r.keys[k.Fingerprint()], r.paths[k.Fingerprint()] = k, path
		}
	}
	switch text, err := os.ReadFile(filepath.Join(dir, currentName)); {
	case err == nil:
		r.current = strings.TrimSpace(string(text))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("read which key seals: %w", err)
	case len(r.keys) == 1:
		for fingerprint := range r.keys {
			r.current = fingerprint
		}
	}
	return r, nil
}

// Current returns the key that seals. ErrNoKey: there is none, or several and no word on which.
func (r *Keyring) Current() (*Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch k := r.keys[r.current]; {
	case k != nil:
		return k, nil
	case r.current != "":
		return nil, fmt.Errorf("the key that seals, %q: %w", r.current, ErrNoKey)
	case len(r.keys) > 1:
		return nil, fmt.Errorf("%d keys, and no file %q names the one that seals: %w", len(r.keys), currentName, ErrNoKey)
	default:
		return nil, fmt.Errorf("the key ring is empty: %w", ErrNoKey)
	}
}

// Key returns a key by fingerprint, or ErrNoKey.
func (r *Keyring) Key(fingerprint string) (*Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.keys[fingerprint]; k != nil {
		return k, nil
	}
	return nil, fmt.Errorf("key %q: %w", fingerprint, ErrNoKey)
}

// Keys lists all keys in order of fingerprint.
func (r *Keyring) Keys() []*Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys := make([]*Key, 0, len(r.keys))
	for _, k := range r.keys {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool { return keys[i].Fingerprint() < keys[j].Fingerprint() })
	return keys
}

// Add saves a key as FINGERPRINT.key in dir, which is made (0700) when missing, and makes it the
// one that seals. Other keys stay. Adding a key that lies there already only makes it current.
func (r *Keyring) Add(dir string, k *Key) (path string, err error) {
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
		if err := k.Save(path); err != nil {
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

// Path is where a key's file lies; "" when the ring does not have it.
func (r *Keyring) Path(fingerprint string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.paths[fingerprint]
}
