// An app to be changed under load: it answers at once, slowly, with what it was sent, with a stream of events, and over a
// web socket.
//
// On SIGTERM it finishes what it has begun, or, with ON_SIGTERM=exit, exits at once. With START_DELAY_MS it takes its
// time before it listens.
package main

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	text, err := os.ReadFile("/version")
	if err != nil {
		log.Fatal(err)
	}
	version := strings.TrimSpace(string(text))
	delay, _ := strconv.Atoi(os.Getenv("START_DELAY_MS"))
	time.Sleep(time.Duration(delay) * time.Millisecond)

	http.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s\n", version)
	})
	http.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		milliseconds, _ := strconv.Atoi(r.FormValue("ms"))
		time.Sleep(time.Duration(milliseconds) * time.Millisecond)
		fmt.Fprintf(w, "slow %s\n", version)
	})
	// One waits for the other.
	released := make(chan struct{})
	http.HandleFunc("GET /hold", func(w http.ResponseWriter, r *http.Request) {
		<-released
		fmt.Fprintf(w, "held %s\n", version)
	})
	http.HandleFunc("POST /release", func(w http.ResponseWriter, r *http.Request) {
		close(released)
	})
	http.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Write(body)
	})
	http.HandleFunc("POST /upload", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		count, err := io.Copy(sum, r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, "%d bytes %x %s\n", count, sum.Sum(nil), version)
	})
	http.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for number := 1; ; number++ {
			if _, err := fmt.Fprintf(w, "data: %d %d\n\n", number, time.Now().UnixMilli()); err != nil {
				return
			}
			http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	})
	http.HandleFunc("GET /ws", echoFrames)

	server := &http.Server{Addr: ":" + os.Getenv("PORT")}
	stopped := make(chan struct{})
	go func() {
		terminated := make(chan os.Signal, 1)
		signal.Notify(terminated, syscall.SIGTERM)
		<-terminated
		if os.Getenv("ON_SIGTERM") == "exit" {
			os.Exit(0)
		}
		server.Shutdown(context.Background())
		close(stopped)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-stopped
}

// Sends every short frame of a web socket back (RFC 6455).
func echoFrames(w http.ResponseWriter, r *http.Request) {
	accept := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	connection, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer connection.Close()
	fmt.Fprintf(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(accept[:]))
	for {
		// Two bytes of head, then the mask, which a client always sends.
		head := make([]byte, 6)
		if _, err := io.ReadFull(buffered, head); err != nil {
			return
		}
		text := make([]byte, head[1]&0x7f)
		if _, err := io.ReadFull(buffered, text); err != nil {
			return
		}
		for index := range text {
			text[index] ^= head[2+index%4]
		}
		connection.Write(append([]byte{head[0], byte(len(text))}, text...))
	}
}
