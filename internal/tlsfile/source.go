package tlsfile

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// A Source is where a password comes from, beside the URL itself: one field is set at most. It is read again for each
// connection, so that a password can be changed without a restart.
type Source struct {
	File string // the parameter password_file
	Env  string // the parameter password_env: the name of a variable of the environment
}

// Given reports whether there is one.
func (s Source) Given() bool { return s.File != "" || s.Env != "" }

// Check finds what can never work; inURL is the password in the URL, which excludes the others.
func (s Source) Check(inURL string) error {
	given := 0
	for _, one := range []string{inURL, s.File, s.Env} {
		if one != "" {
			given++
		}
	}
	if given > 1 {
		return errors.New("the password is given twice: give it in the URL, by password_file or by password_env")
	}
	if !s.Given() {
		return nil
	}
	_, err := s.Read()
	return err
}

// Read reads the password. A file's last newline is none of it.
func (s Source) Read() (string, error) {
	if s.Env != "" {
		if password := os.Getenv(s.Env); password != "" {
			return password, nil
		}
		return "", fmt.Errorf("password_env: the environment has no %s", s.Env)
	}
	text, err := os.ReadFile(s.File)
	if err != nil {
		return "", fmt.Errorf("password_file: %w", err)
	}
	if password := strings.TrimRight(string(text), "\r\n"); password != "" {
		return password, nil
	}
	return "", errors.New("password_file: the file is empty")
}
