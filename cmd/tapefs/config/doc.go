// Package config reads the configuration file: YAML to values, checked once, so that whoever has a Config need not doubt it.
//
// The steps, and the file that has each:
//
//	places.go     where the file is looked for, and where the state lies by default
//	config.go     Load and Parse
//	keys.go       the keys, one type for each section
//	values.go     sizes, times and shares as people write them; ssh.go the arguments of ssh
//	check.go      what no type says: names, ranges, references
//	errors.go     what is wrong, with line, column, key and what is allowed there
//	defaults.go   what holds where the file says nothing
//	wiring.go     the sections as the packages changer and archiver want them
//	schema.go     the keys as a JSON schema, for editors
//
// Nothing here touches the machine beyond reading the file: whether programs, devices and folders are there is the business of
// "tapefs doctor". Keys are read elsewhere, too. Of archiver and changer the package uses the types of their configurations.
package config
