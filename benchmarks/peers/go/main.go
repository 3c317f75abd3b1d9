// The standard library alone: the form's file, or the body, copied to the disk in pieces of 64 KiB; or the same with a
// SHA-256, computed and written by one goroutine while another receives.
//
// main FOLDER PORT
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
)

const (
	pieceSize = 64 << 10
	blockSize = 1 << 20
	blocks    = 4
)

// A way from the network to a file.
type way func(file io.Writer, content io.Reader) error

type intake struct {
	folder string
	way    way
}

func main() {
	folder := os.Args[1]
	http.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	for prefix, way := range map[string]way{"": copied, "/digested": digested} {
		uploads := intake{folder, way}
		http.HandleFunc("POST "+prefix+"/form", uploads.form)
		http.HandleFunc("POST "+prefix+"/raw", uploads.raw)
	}
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[2], nil))
}

func (uploads intake) form(answer http.ResponseWriter, request *http.Request) {
	parts, err := request.MultipartReader()
	if err != nil {
		http.Error(answer, err.Error(), http.StatusBadRequest)
		return
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			answer.WriteHeader(http.StatusCreated)
			return
		}
		if err == nil {
			err = uploads.store(part)
		}
		if err != nil {
			http.Error(answer, err.Error(), http.StatusInternalServerError)
			return
		}
	}
}

func (uploads intake) raw(answer http.ResponseWriter, request *http.Request) {
	if err := uploads.store(request.Body); err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	answer.WriteHeader(http.StatusCreated)
}

func (uploads intake) store(content io.Reader) error {
	file, err := os.Create(filepath.Join(uploads.folder, uuid()))
	if err != nil {
		return err
	}
	return errors.Join(uploads.way(file, content), file.Close())
}

func copied(file io.Writer, content io.Reader) error {
	// A bare io.Writer: os.File would read from the reader itself, in pieces of its own size.
	_, err := io.CopyBuffer(struct{ io.Writer }{file}, struct{ io.Reader }{content}, make([]byte, pieceSize))
	return err
}

func digested(file io.Writer, content io.Reader) error {
	free, full := make(chan []byte, blocks), make(chan []byte, blocks)
	for range blocks {
		free <- make([]byte, blockSize)
	}
	done := make(chan error, 1)
	go func() { done <- digest(file, full, free) }()
	received := receive(content, free, full)
	close(full)
	return errors.Join(received, <-done)
}

func receive(content io.Reader, free <-chan []byte, full chan<- []byte) error {
	for {
		block := (<-free)[:blockSize]
		size, err := io.ReadFull(content, block)
		full <- block[:size]
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func digest(file io.Writer, full <-chan []byte, free chan<- []byte) error {
	sum := sha256.New()
	var failed error
	for block := range full {
		sum.Write(block)
		_, err := file.Write(block)
		failed = errors.Join(failed, err)
		free <- block
	}
	sum.Sum(nil)
	return failed
}

func uuid() string {
	var random [16]byte
	rand.Read(random[:])
	random[6] = random[6]&0x0f | 0x40
	random[8] = random[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", random[:4], random[4:6], random[6:8], random[8:10], random[10:])
}
