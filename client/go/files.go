package finetune

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const largestFile = 1 << 20

func readFile(what, path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the %s file: %w", what, err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, largestFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the %s file: %w", what, err)
	}
	if len(data) > largestFile {
		return nil, fmt.Errorf("the %s file %s is larger than a MiB", what, path)
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, fmt.Errorf("the %s file %s is empty", what, path)
	}
	return data, nil
}

// watchedFiles are files that are read again when they change; what was good stays until something good comes. They are looked
// at once a second at most. Safe for concurrent use.
type watchedFiles[T any] struct {
	paths map[string]string
	parse func(map[string][]byte) (T, error)

	mu      sync.Mutex
	looked  time.Time
	data    map[string][]byte
	current T
	version int
}

func watchFiles[T any](paths map[string]string, parse func(map[string][]byte) (T, error)) (*watchedFiles[T], error) {
	w := &watchedFiles[T]{paths: paths, parse: parse, looked: time.Now()}
	data, err := w.read()
	if err != nil {
		return nil, err
	}
	w.data = data
	w.current, err = parse(data)
	return w, err
}

func (w *watchedFiles[T]) read() (map[string][]byte, error) {
	data := map[string][]byte{}
	for what, path := range w.paths {
		bytes, err := readFile(what, path)
		if err != nil {
			return nil, err
		}
		data[what] = bytes
	}
	return data, nil
}

// value is what the files say, and a number that changes with it.
func (w *watchedFiles[T]) value() (T, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.looked) < time.Second {
		return w.current, w.version
	}
	w.looked = time.Now()
	// Half written, or removed for a moment: the next look will tell.
	if data, err := w.read(); err == nil && !sameFiles(data, w.data) {
		if parsed, err := w.parse(data); err == nil {
			w.data, w.current = data, parsed
			w.version++
		}
	}
	return w.current, w.version
}

func sameFiles(a, b map[string][]byte) bool {
	for what := range a {
		if !bytes.Equal(a[what], b[what]) {
			return false
		}
	}
	return true
}

const (
	caFile          = "TLS CA"
	certificateFile = "TLS certificate"
	keyFile         = "TLS key"
	tokenFile       = "token"
)

func parseTLS(serverName string) func(map[string][]byte) (*tls.Config, error) {
	return func(files map[string][]byte) (*tls.Config, error) {
		config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: serverName}
		if pem, ok := files[caFile]; ok {
			config.RootCAs = x509.NewCertPool()
			if !config.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("the %s file holds no certificate in PEM", caFile)
			}
		}
		if pem, ok := files[certificateFile]; ok {
			pair, err := tls.X509KeyPair(pem, files[keyFile])
			if err != nil {
				return nil, fmt.Errorf("the %s and the %s do not fit: %w", certificateFile, keyFile, err)
			}
			config.Certificates = []tls.Certificate{pair}
		}
		return config, nil
	}
}

func parseToken(files map[string][]byte) (string, error) {
	token := strings.TrimSpace(string(files[tokenFile]))
	if strings.HasPrefix(strings.ToLower(token), "bearer ") {
		return "", fmt.Errorf("the token file must hold the token alone, without 'Bearer' before it")
	}
	if strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", fmt.Errorf("the token file must hold the token alone, as one word of plain text")
	}
	return token, nil
}
