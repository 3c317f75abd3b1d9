// The standard library alone: the form's file, or the body, copied to the disk as it comes, 64 KiB at most (4 KiB through
// mime/multipart); or in blocks, which one goroutine digests and writes while another receives the next ones.
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
	"sync"
)

const (
	pieceSize = 64 << 10
	blockSize = 1 << 20
	ahead     = 4
)

var pool = sync.Pool{New: func() any { return new([blockSize]byte) }}

// From the network to a file.
type transfer func(file io.Writer, content io.Reader) error

type intake struct {
	folder   string
	transfer transfer
}

func main() {
	folder := os.Args[1]
	http.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	for prefix, chosen := range map[string]transfer{"": copied, "/digested": digested} {
		uploads := intake{folder, chosen}
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
	return errors.Join(uploads.transfer(file, content), file.Close())
}

func copied(file io.Writer, content io.Reader) error {
	// A bare io.Writer: os.File would read from the reader itself, in pieces of its own size.
	_, err := io.CopyBuffer(struct{ io.Writer }{file}, struct{ io.Reader }{content}, make([]byte, pieceSize))
	return err
}

func digested(file io.Writer, content io.Reader) error {
	filled := make(chan []byte, ahead)
	done := make(chan error, 1)
	go func() { done <- digest(file, filled) }()
	received := receive(content, filled)
	close(filled)
	return errors.Join(received, <-done)
}

func receive(content io.Reader, filled chan<- []byte) error {
	for {
		block := pool.Get().(*[blockSize]byte)
		size, err := fill(block[:], content)
		filled <- block[:size]
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Like io.ReadFull, but the end is io.EOF: io.ErrUnexpectedEOF is a client that broke off.
func fill(block []byte, content io.Reader) (size int, err error) {
	for size < len(block) && err == nil {
		var read int
		read, err = content.Read(block[size:])
		size += read
	}
	return size, err
}

// After a failure, takes the rest and leaves it.
func digest(file io.Writer, filled <-chan []byte) (failed error) {
	sum := sha256.New()
	for block := range filled {
		if failed == nil {
			sum.Write(block)
			_, failed = file.Write(block)
		}
		pool.Put((*[blockSize]byte)(block[:blockSize]))
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
