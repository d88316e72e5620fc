// Package crypto seals and opens objects in the format of openssl enc, and keeps
// keys. FORMAT.md beside it has the byte tables. It imports nothing else of tapefs.
package crypto
