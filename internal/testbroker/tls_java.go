package testbroker

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"slices"
)

// javaStore is the file that forJava writes: what Java calls a key store.
func (f *TLSFiles) javaStore() string { return f.ServerCert + ".store" }

// forJava writes the server's key and certificate in the form that Java reads: one file, with the key as PKCS #8.
func (f *TLSFiles) forJava() error {
	cert, err := os.ReadFile(f.ServerCert)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(f.ServerKey)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return errors.New("testbroker: the server's key is not PEM")
	}
	key, err := x509.ParseECPrivateKey(block.Bytes)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	store := slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), cert)
	return os.WriteFile(f.javaStore(), store, 0o600)
}
