// Go, with its standard library alone: one answer, then one as it comes.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

type message struct {
	Role    string `json:"role,omitempty"`
	Content string `json:"content,omitempty"`
}

type request struct {
	Model    string    `json:"model"`
	Messages []message `json:"messages"`
	Stream   bool      `json:"stream,omitempty"`
}

type answer struct {
	Choices []struct {
		Message message `json:"message"`
		Delta   message `json:"delta"`
	} `json:"choices"`
}

func ask(question string, stream bool) io.ReadCloser {
	body, err := json.Marshal(request{"fast", []message{{"user", question}}, stream})
	if err != nil {
		log.Fatal(err)
	}
	call, err := http.NewRequest("POST", os.Getenv("OPENAI_BASE_URL")+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		log.Fatal(err)
	}
	call.Header.Set("Authorization", "Bearer "+os.Getenv("OPENAI_API_KEY"))
	call.Header.Set("Content-Type", "application/json")
	reply, err := http.DefaultClient.Do(call)
	if err != nil {
		log.Fatal(err)
	}
	if reply.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(reply.Body)
		log.Fatalf("%s: %s", reply.Status, said)
	}
	return reply.Body
}

func main() {
	whole := ask("What does a penstock do?", false)
	var told answer
	if err := json.NewDecoder(whole).Decode(&told); err != nil {
		log.Fatal(err)
	}
	whole.Close()
	fmt.Println("whole:", told.Choices[0].Message.Content)

	stream := ask("Count: [[say one two three]]", true)
	defer stream.Close()
	fmt.Print("streamed: ")
	for lines := bufio.NewScanner(stream); lines.Scan(); {
		data, found := strings.CutPrefix(lines.Text(), "data: ")
		if !found || data == "[DONE]" {
			continue
		}
		var chunk answer
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			log.Fatal(err)
		}
		if len(chunk.Choices) > 0 {
			fmt.Print(chunk.Choices[0].Delta.Content)
		}
	}
	fmt.Println()
}
