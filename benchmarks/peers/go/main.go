// The standard library alone: the form's file, or the body, copied to the disk in pieces of 64 KiB.
//
// main FOLDER PORT
package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
)

const pieceSize = 64 << 10

type folder string

func main() {
	uploads := folder(os.Args[1])
	http.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	http.HandleFunc("POST /form", uploads.form)
	http.HandleFunc("POST /raw", uploads.raw)
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[2], nil))
}

func (uploads folder) form(answer http.ResponseWriter, request *http.Request) {
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

func (uploads folder) raw(answer http.ResponseWriter, request *http.Request) {
	if err := uploads.store(request.Body); err != nil {
		http.Error(answer, err.Error(), http.StatusInternalServerError)
		return
	}
	answer.WriteHeader(http.StatusCreated)
}

func (uploads folder) store(content io.Reader) error {
	file, err := os.Create(filepath.Join(string(uploads), uuid()))
	if err != nil {
		return err
	}
	// A bare io.Writer: os.File would read from the reader itself, in pieces of its own size.
	_, err = io.CopyBuffer(struct{ io.Writer }{file}, struct{ io.Reader }{content}, make([]byte, pieceSize))
	return errors.Join(err, file.Close())
}

func uuid() string {
	var random [16]byte
	rand.Read(random[:])
	random[6] = random[6]&0x0f | 0x40
	random[8] = random[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", random[:4], random[4:6], random[6:8], random[8:10], random[10:])
}
