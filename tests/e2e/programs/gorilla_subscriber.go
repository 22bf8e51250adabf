// A subscriber in Go: gorilla's default dialer, one JSON document per frame.
//
//	gorilla_subscriber URL [HEADER VALUE]...
//
// Prints every frame as a JSON string on a line of its own. Exits with 1 and a message at anything
// unexpected: a binary frame, two documents in a frame, an unknown key.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"

	"github.com/gorilla/websocket"
)

type envelope struct {
	Event        string          `json:"event"`
	Data         json.RawMessage `json:"data"`
	InstanceData struct {
		BaseURL  string `json:"baseUrl"`
		Instance string `json:"instance"`
		Token    string `json:"token"`
	} `json:"instanceData"`
}

func main() {
	log.SetFlags(0)
	header := http.Header{}
	for i := 2; i+1 < len(os.Args); i += 2 {
		header.Set(os.Args[i], os.Args[i+1])
	}
	connection, _, err := websocket.DefaultDialer.Dial(os.Args[1], header)
	if err != nil {
		log.Fatal(err)
	}
	for {
		kind, message, err := connection.ReadMessage()
		if err != nil {
			log.Fatal(err)
		}
		if kind != websocket.TextMessage {
			log.Fatal("not a text frame")
		}
		if err := check(message); err != nil {
			log.Fatal(err)
		}
		line, _ := json.Marshal(string(message))
		fmt.Println(string(line))
	}
}

func check(message []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(message))
	decoder.DisallowUnknownFields()
	var frame envelope
	if err := decoder.Decode(&frame); err != nil {
		return err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return fmt.Errorf("more than one document in a frame")
	}
	if frame.Event == "" || frame.Data == nil || frame.InstanceData.Token == "" {
		return fmt.Errorf("an incomplete frame")
	}
	return nil
}
